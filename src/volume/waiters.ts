// Those who wait for something to change; woken all at once, they look again.
export class Waiters {
  #wakes = new Set<() => void>();

  wait(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const wake = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      const abort = () => {
        this.#wakes.delete(wake);
        reject(signal?.reason);
      };
      this.#wakes.add(wake);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  wakeAll(): void {
    const wakes = this.#wakes;
    this.#wakes = new Set();
    for (const wake of wakes) wake();
  }
}
