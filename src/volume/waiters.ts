// Those who wait for something to change; woken all at once, they look again. Who names a deadline may be told an error
// instead, when whoever owns the clock finds that it has passed.

import { offAbort, onAbort } from "./aborts.ts";

interface Waiter {
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Waiters {
  #waiting = new Set<Waiter>();

  wait(signal?: AbortSignal, deadlineMs = Number.POSITIVE_INFINITY): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const end = () => signal && offAbort(signal, abort);
      const waiter: Waiter = {
        deadlineMs,
        resolve: () => {
          end();
          resolve();
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      const abort = () => {
        this.#waiting.delete(waiter);
        reject(signal?.reason);
      };
      this.#waiting.add(waiter);
      if (signal) onAbort(signal, abort);
    });
  }

  wakeAll(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const { resolve } of waiting) resolve();
  }

  /** Rejects those whose deadline has passed; returns the next deadline. */
  expire(nowMs: number, error: unknown): number {
    let next = Number.POSITIVE_INFINITY;
    for (const waiter of this.#waiting) {
      if (waiter.deadlineMs > nowMs) next = Math.min(next, waiter.deadlineMs);
      else {
        this.#waiting.delete(waiter);
        waiter.reject(error);
      }
    }
    return next;
  }
}
