// A Clock whose time only a test moves. Timers fire in the order of their times (equal times: as they were
// set), within `advance`, and `nowMs` reads the timer's own time while it fires.

import type { Clock, Timer } from "../../src/io/world.ts";

interface Pending {
  readonly atMs: number;
  readonly callback: () => void;
}

/** Microtask turns given to the program between two timers, so that what one starts is seen by the next. */
const TURNS = 64;

export class ManualClock implements Clock {
  #nowMs = 0;
  /** In the order they were set. */
  #timers = new Set<Pending>();

  nowMs(): number {
    return this.#nowMs;
  }

  get timerCount(): number {
    return this.#timers.size;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timer: Pending = { atMs: this.#nowMs + Math.max(0, delayMs), callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  /** Moves time forward; after each timer the program gets some turns of microtasks. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (let timer = this.#next(endMs); timer !== undefined; timer = this.#next(endMs)) {
      this.#nowMs = Math.max(this.#nowMs, timer.atMs);
      this.#timers.delete(timer);
      timer.callback();
      await settle();
    }
    this.#nowMs = endMs;
  }

  #next(endMs: number): Pending | undefined {
    let next: Pending | undefined;
    for (const timer of this.#timers) {
      if (timer.atMs <= endMs && (next === undefined || timer.atMs < next.atMs)) next = timer;
    }
    return next;
  }
}

/** Lets everything that needs no more than microtasks go on. */
export async function settle(turns = TURNS): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
}
