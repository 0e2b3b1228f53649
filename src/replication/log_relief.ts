// While a source goes on alone it keeps the log for its mirror, as long as there is room. When the last free half
// is in use, that is given up: the mirror then gets an image. During image rounds the same holds for the first
// ones; from then on writes wait instead, so that the rounds come to an end.

import type { ReplicatedVolume } from "./port.ts";

/** From this round on the log is kept whatever it costs. */
const LAST_ROUND = 4;

export class LogRelief {
  readonly #volume: ReplicatedVolume;

  constructor(volume: ReplicatedVolume) {
    this.#volume = volume;
  }

  /** Every half is in use: somebody may wait for one. */
  get isLogFull(): boolean {
    return this.#volume.log.status().every((half) => !half.free);
  }

  /** The mirror takes over an image, and nobody waits for that: how long it takes is its own affair. */
  isEarly(round: number): boolean {
    return round > 0 && round < LAST_ROUND;
  }

  /** `round` is that of the image that is being sent, 0 if none is. */
  check(round: number): void {
    if (round < LAST_ROUND && this.isLogFull) this.#volume.setLogRetention(Number.POSITIVE_INFINITY);
  }
}
