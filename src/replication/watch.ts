// Notices when something that waits makes no progress for a time. One timer, set again when it fires: progress
// is a number that is written, so it costs nothing.

import type { Clock, Timer } from "../io/world.ts";

export interface WatchOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly isWaiting: () => boolean;
  /** Called again after each further timeoutMs without progress. */
  readonly onExpired: () => void;
}

export class Watch {
  readonly #options: WatchOptions;
  #progressMs: number;
  #timer: Timer | null = null;
  #isStopped = true;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#progressMs = options.clock.nowMs();
  }

  start(): void {
    this.#isStopped = false;
    this.progress();
    this.#arm(this.#options.timeoutMs);
  }

  progress(): void {
    this.#progressMs = this.#options.clock.nowMs();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #arm(delayMs: number): void {
    if (!this.#isStopped) this.#timer = this.#options.clock.setTimer(delayMs, () => this.#fire());
  }

  #fire(): void {
    const { clock, timeoutMs, isWaiting, onExpired } = this.#options;
    if (!isWaiting()) this.progress();
    const leftMs = this.#progressMs + timeoutMs - clock.nowMs();
    if (leftMs > 0) return this.#arm(leftMs);
    this.progress();
    this.#arm(timeoutMs);
    onExpired();
  }
}
