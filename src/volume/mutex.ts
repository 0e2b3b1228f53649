// One at a time, first come first served.
export class Mutex {
  #tail: Promise<void> = Promise.resolve();
  #isHeld = false;

  get isHeld(): boolean {
    return this.#isHeld;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#tail;
    let release = (): void => {};
    this.#tail = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    this.#isHeld = true;
    try {
      return await work();
    } finally {
      this.#isHeld = false;
      release();
    }
  }
}
