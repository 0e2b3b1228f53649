// How much of an exhaustive test runs. `npm test` takes a share of the cases, spread evenly;
// `npm run test:thorough` (MIRRORVOL_THOROUGH=1) takes them all.

export const isThorough = process.env["MIRRORVOL_THOROUGH"] === "1";

/**
 * All cases in a thorough run, else about `count` of them, evenly spread; the first and the last are always among
 * them.
 */
export function share<T>(cases: readonly T[], count: number): readonly T[] {
  if (isThorough || cases.length <= count) return cases;
  if (count === 1) return [cases[0]!];
  return Array.from({ length: count }, (_, i) => cases[Math.round((i * (cases.length - 1)) / (count - 1))]!);
}
