// A view is what the report puts in one place of docs/PERFORMANCE.md, and the charts that it shows there.

import type { Result } from "../support/results.ts";

export interface View {
  /** Of the place: `<!-- figures: NAME -->` to `<!-- end -->`. */
  readonly name: string;
  readonly markdown: string;
  readonly charts: readonly (readonly [file: string, svg: string])[];
}

export function commandOf({ command, machine, isQuick }: Result): string {
  return `\`${command}\` (${machine.runtime}${isQuick ? ", rough figures" : ""}).`;
}

export function ratioText(over: number | null, under: number | null): string {
  return over === null || under === null ? "" : (over / under).toFixed(2);
}
