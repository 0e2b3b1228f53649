// Who is put under load: a target, and what has to be done between loads so that nobody works while another
// one is measured.

import type { Target } from "../support/load.ts";
import type { Params } from "../support/rows.ts";
import type { Interval } from "../support/samples.ts";

export interface Subject {
  readonly who: string;
  readonly params: Params;
  readonly target: Target;
  /** When consistency points ran so far; null for those that have none. */
  readonly cps: (() => readonly Interval[]) | null;
  /** Until nothing of the load is left to do. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

export const nothingToDo = async () => {};
