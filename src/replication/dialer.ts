// Connects to the mirror, and again and again: after 50 ms at first, then twice as long each time up to a bound,
// each delay shortened at random by up to a half, so that a hundred sources do not come back in one moment.

import type { Connection } from "../io/transport.ts";
import type { Timer, World } from "../io/world.ts";

export interface DialerOptions {
  readonly world: World;
  readonly url: string;
  readonly maxDelayMs: number;
  readonly onConnected: (connection: Connection) => void;
  readonly onFailed: (reason: string) => void;
}

const FIRST_DELAY_MS = 50;

export class Dialer {
  readonly options: DialerOptions;
  readonly #abort = new AbortController();
  #delayMs: number;
  #timer: Timer | null = null;

  constructor(options: DialerOptions) {
    this.options = options;
    this.#delayMs = this.#firstDelayMs;
  }

  dial(): void {
    void this.#dial();
  }

  dialLater(): void {
    if (this.#abort.signal.aborted) return;
    this.#timer?.cancel();
    const delayMs = this.#delayMs * (1 - this.#random() / 2);
    this.#delayMs = Math.min(this.#delayMs * 2, this.options.maxDelayMs);
    this.#timer = this.options.world.clock.setTimer(delayMs, () => this.dial());
  }

  /** The connection was of use: the next loss is retried soon. */
  succeeded(): void {
    this.#delayMs = this.#firstDelayMs;
  }

  /** It is of no use now: retry seldom. */
  slowDown(): void {
    this.#delayMs = this.options.maxDelayMs;
  }

  close(): void {
    this.#abort.abort();
    this.#timer?.cancel();
  }

  async #dial(): Promise<void> {
    const { world, url, onConnected, onFailed } = this.options;
    const { signal } = this.#abort;
    try {
      const connection = await world.transport.connect(url, { signal });
      if (signal.aborted) connection.close("closing");
      else onConnected(connection);
    } catch (error) {
      if (signal.aborted) return;
      onFailed(error instanceof Error ? error.message : String(error));
      this.dialLater();
    }
  }

  get #firstDelayMs(): number {
    return Math.min(FIRST_DELAY_MS, this.options.maxDelayMs);
  }

  /** 0 to 1. */
  #random(): number {
    return this.options.world.random.bytes(1)[0]! / 256;
  }
}
