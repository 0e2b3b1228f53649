// What every suite yields: rows. A row is one figure; peers and floors are cases of their own, so a ratio is
// two rows of one file. Rows of different runs are not to be compared.

export type ParamValue = string | number | boolean;
export type Params = Readonly<Record<string, ParamValue>>;

export interface Row {
  readonly suite: string;
  /** Who did the work: "mirrorvol", a peer, or a floor. */
  readonly case: string;
  /** Under which circumstances. */
  readonly params: Params;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
}

const KEYS = ["suite", "case", "params", "metric", "value", "unit"];

export type Figure = readonly [metric: string, value: number, unit: string];

/** Collects the rows of one run, and shows each as it comes. */
export class Recorder {
  readonly rows: Row[] = [];
  readonly isQuick: boolean;
  readonly #suite: string;
  readonly #common: Params;
  readonly #show: (line: string) => void;

  constructor(suite: string, common: Params, isQuick: boolean, show: (line: string) => void) {
    this.#suite = suite;
    this.#common = common;
    this.isQuick = isQuick;
    this.#show = show;
  }

  add(who: string, params: Params, metric: string, value: number, unit: string): void {
    this.addAll(who, params, [[metric, value, unit]]);
  }

  /** Several figures of one case, shown as one line. */
  addAll(who: string, params: Params, figures: readonly Figure[]): void {
    const common = { suite: this.#suite, case: who, params: { ...this.#common, ...params } };
    for (const [metric, value, unit] of figures) {
      const row = { ...common, metric, value, unit };
      const fault = faultOf(row);
      if (fault !== null) throw new Error(`${this.#suite}: ${who}: ${metric}: ${fault}`);
      this.rows.push(row);
    }
    const circumstances = Object.values(params).join(", ");
    const shown = figures.map(([metric, value, unit]) => `${metric} ${format(value)} ${unit}`);
    this.#show(`${who.padEnd(22)} ${circumstances.padEnd(50)} ${shown.join(", ")}`);
  }

  /** What could not be measured here, and why. */
  skip(who: string, reason: string): void {
    this.#show(`${who.padEnd(30)} skipped: ${reason}`);
  }
}

/** Why this is no row, or null. */
export function faultOf(row: unknown): string | null {
  if (typeof row !== "object" || row === null) return "no object";
  const fields = row as Record<string, unknown>;
  const odd = Object.keys(fields).find((key) => !KEYS.includes(key));
  if (odd !== undefined) return `unknown key ${odd}`;
  for (const key of ["suite", "case", "metric", "unit"]) {
    if (typeof fields[key] !== "string" || fields[key] === "") return `${key} is no text`;
  }
  if (typeof fields["value"] !== "number" || !Number.isFinite(fields["value"])) return "value is no number";
  const { params } = fields;
  if (typeof params !== "object" || params === null || Array.isArray(params)) return "params is no object";
  const isPlain = (value: unknown) => ["string", "number", "boolean"].includes(typeof value);
  return Object.values(params).every(isPlain) ? null : "a parameter is neither text, number nor truth value";
}

/** Three digits that matter. */
export function format(value: number): string {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en-US", { maximumFractionDigits: Math.min(digits, 4) });
}
