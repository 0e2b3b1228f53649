// Which entries of older generations still count. A newer generation goes on from a position of the older one, its
// start; what the older one wrote behind it was left behind when the owner took the newer history.
//
//   1 x@0, 2 y@70      entries of generation 1 count up to 70; those behind it are no part of this log, and what
//                      they say was durable behind 70 is missed by nobody
//
// They are met when an image of the newer generation was taken over and the crash came before the log was reset.

export interface GenerationStart {
  readonly number: number;
  /** The last entry before it. */
  readonly startSequence: number;
}

export class Lineage {
  readonly #starts: readonly GenerationStart[];

  /** Oldest first. Of a long history the beginning may be missing. */
  constructor(starts: readonly GenerationStart[]) {
    this.#starts = starts;
  }

  /** The last sequence that a generation's entries may have; Infinity for the newest. */
  endOf(number: number): number {
    const next = this.#starts.find((each) => each.number > number);
    return next?.startSequence ?? Number.POSITIVE_INFINITY;
  }
}
