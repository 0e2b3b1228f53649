// The ring: entries lie here from their encoding until they are durable and released.
//
// Invariants:
//   - an entry is contiguous; one that does not fit before the end starts again at 0, and what it skips
//     belongs to it, so freeing needs no more than its size;
//   - entries are freed in the order in which they were placed;
//   - start === oldest means empty when nothing is used, and full otherwise.
//
//     0        start      oldest       ringBytes
//     |########|..........|############|          used in the order oldest to end, 0 to start

import { assert } from "../kernel/errors.ts";

export class Ring {
  readonly bytes: number;
  #start = 0;
  #oldest = 0;
  #usedBytes = 0;

  constructor(bytes: number) {
    this.bytes = bytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Where `bytes` contiguous bytes could go, or -1. Nothing is taken yet. */
  find(bytes: number): number {
    if (this.#usedBytes === 0) return bytes <= this.bytes ? 0 : -1;
    const isWrapped = this.#start <= this.#oldest;
    if (isWrapped) return bytes <= this.#oldest - this.#start ? this.#start : -1;
    if (bytes <= this.bytes - this.#start) return this.#start;
    return bytes <= this.#oldest ? 0 : -1;
  }

  /** Takes what `find` named; returns the bytes to give back later, what was skipped included. */
  take(at: number, bytes: number): number {
    if (this.#usedBytes === 0) this.#start = this.#oldest = at;
    const skipped = at === this.#start ? 0 : this.bytes - this.#start;
    assert(at === this.#start || at === 0, `ring: ${at} is not the place`);
    this.#start = (at + bytes) % this.bytes;
    this.#usedBytes += skipped + bytes;
    return skipped + bytes;
  }

  /** Gives back the oldest entry. */
  free(takenBytes: number): void {
    assert(takenBytes <= this.#usedBytes, "ring: more is given back than was taken");
    this.#usedBytes -= takenBytes;
    this.#oldest = (this.#oldest + takenBytes) % this.bytes;
  }
}
