// Finding rows: all of a result's rows that are of this case, with these parameters and this metric.

import type { Result } from "../support/results.ts";
import type { Params, Row } from "../support/rows.ts";

export interface Wanted {
  readonly suite: string;
  readonly case: string;
  readonly metric: string;
  readonly params: Params;
}

export function matches(row: Row, { params, ...fields }: Wanted): boolean {
  const isSame = row.suite === fields.suite && row.case === fields.case && row.metric === fields.metric;
  // What is not asked for may be anything, except that rows of one CP state stand for none but themselves.
  const isOfState = "cp" in params || row.params["cp"] === undefined;
  return isSame && isOfState && Object.entries(params).every(([key, value]) => row.params[key] === value);
}

/** Null when it was not measured. */
export function valueIn(rows: readonly Row[], wanted: Wanted): number | null {
  return rows.find((row) => matches(row, wanted))?.value ?? null;
}

/** Within one run only. */
export function ratioOf(rows: readonly Row[], a: Wanted, b: Wanted): number | null {
  const [over, under] = [valueIn(rows, a), valueIn(rows, b)];
  return over === null || under === null || under === 0 ? null : over / under;
}

/** Results of one suite; Node's first, since everything but the kernels is measured in Node only. */
export function resultsOf(results: readonly Result[], suite: string): Result[] {
  const order = ({ machine }: Result) => (machine.runtime.startsWith("node") ? 0 : 1);
  return results.filter(({ rows }) => rows[0]?.suite === suite).sort((a, b) => order(a) - order(b));
}
