// Work that reads the volume's disks and may outlive whoever wanted it: a client, a session with a mirror. Whoever
// closes the volume waits for its end: a disk that is closed under a read looks like one that has failed.

export class UnderWay {
  readonly #works = new Set<Promise<unknown>>();

  /** The same promise; its rejection stays the caller's. */
  add<T>(work: Promise<T>): Promise<T> {
    this.#works.add(work);
    const end = () => void this.#works.delete(work);
    work.then(end, end);
    return work;
  }

  async ended(): Promise<void> {
    while (this.#works.size > 0) await Promise.allSettled(this.#works);
  }
}
