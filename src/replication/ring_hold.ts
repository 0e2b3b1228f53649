// What the log's ring must keep for connections that look at its bytes without a copy.
//
// A link that was closed may hold on to what was given to it for seconds, while the next one is sending already.
// So each forwarder says for itself through which entry it has let go, and the ring keeps what any of them needs.

import type { ReplicatedVolume } from "./port.ts";

export class RingHold {
  readonly #volume: Pick<ReplicatedVolume, "setForwarded">;
  /** By forwarder: everything behind this entry is needed. */
  readonly #holds = new Map<object, number>();

  constructor(volume: Pick<ReplicatedVolume, "setForwarded">) {
    this.#volume = volume;
  }

  /** The owner needs what follows the entry. */
  keepAfter(owner: object, sequence: number): void {
    this.#holds.set(owner, sequence);
    this.#tell();
  }

  /** The owner needs nothing any more. */
  letGo(owner: object): void {
    if (this.#holds.delete(owner)) this.#tell();
  }

  #tell(): void {
    let oldest = Number.POSITIVE_INFINITY;
    for (const sequence of this.#holds.values()) oldest = Math.min(oldest, sequence);
    this.#volume.setForwarded(oldest);
  }
}
