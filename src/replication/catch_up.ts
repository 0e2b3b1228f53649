// When a mirror that is being sent entries counts as in sync again.
//
//   alone, far behind      nothing: writes do not wait for it
//   alone, nearly there    writes wait for it again, so that it can get there; the tail of now is the target
//   alone, the log full    the same: writes wait for room as it is, and would keep it far behind for ever
//   target reached         it is asked to record that it is in sync, once
//
// A source that was not alone has its target from the beginning: everything that it had when they met.

export interface CatchUpView {
  readonly tail: number;
  readonly mirrorDurable: number;
  /** Entries are sent as they are appended. */
  readonly isLive: boolean;
  /** Writes wait until the mirror lets go of a log half. */
  readonly isLogFull: boolean;
}

export type CatchUpStep = "nothing" | "wait for it" | "ask it";

/** So little behind counts as nearly there. */
const LAG_ENTRIES_MAX = 256;

export class CatchUp {
  #target: number | null = null;
  #isAsked = false;

  /** The mirror is in sync when it has everything up to here; null: not to be said yet. */
  begin(target: number | null): void {
    this.#target = target;
    this.#isAsked = false;
  }

  get target(): number {
    return this.#target ?? 0;
  }

  /** The mirror answers what it was asked. */
  isAnswer(through: number): boolean {
    return this.#isAsked && through === this.#target;
  }

  /** What to do now; call it again after each step until there is nothing to do. */
  next({ tail, mirrorDurable, isLive, isLogFull }: CatchUpView): CatchUpStep {
    if (this.#isAsked) return "nothing";
    if (this.#target === null) {
      const isNear = isLive && tail - mirrorDurable <= LAG_ENTRIES_MAX;
      if (!isNear && !isLogFull) return "nothing";
      this.#target = tail;
      return "wait for it";
    }
    if (mirrorDurable < this.#target) return "nothing";
    this.#isAsked = true;
    return "ask it";
  }
}
