// Those who wait for a sequence to become durable, by sequence.

interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

export class Waiters {
  /** Sorted by sequence: new ones mostly come last. */
  readonly #waiting: Waiter[] = [];

  wait(sequence: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      if (signal === undefined) return this.#insert({ sequence, resolve, reject });
      const abort = () => {
        const index = this.#waiting.indexOf(waiter);
        if (index >= 0) this.#waiting.splice(index, 1);
        reject(signal.reason);
      };
      const end = () => signal.removeEventListener("abort", abort);
      const waiter: Waiter = {
        sequence,
        resolve: () => {
          end();
          resolve();
        },
        reject: (reason) => {
          end();
          reject(reason);
        },
      };
      signal.addEventListener("abort", abort, { once: true });
      this.#insert(waiter);
    });
  }

  resolveThrough(sequence: number): void {
    let count = 0;
    while (count < this.#waiting.length && this.#waiting[count]!.sequence <= sequence) count += 1;
    if (count === 0) return;
    for (const waiter of this.#waiting.splice(0, count)) waiter.resolve();
  }

  rejectAll(reason: unknown): void {
    for (const waiter of this.#waiting.splice(0)) waiter.reject(reason);
  }

  #insert(waiter: Waiter): void {
    let index = this.#waiting.length;
    while (index > 0 && this.#waiting[index - 1]!.sequence > waiter.sequence) index -= 1;
    if (index === this.#waiting.length) this.#waiting.push(waiter);
    else this.#waiting.splice(index, 0, waiter);
  }
}
