// What the engine gets from outside, by constructor: storage, network, time, randomness. The real one is
// node_world.ts; a simulated one can own every fault and every tick.
import type { Storage } from "./disk.ts";
import type { Streams } from "./stream.ts";
import type { Transport } from "./transport.ts";

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds; never decides anything about safety. */
  nowMs(): number;
  setTimer(delayMs: number, callback: () => void): Timer;
}

export interface Random {
  bytes(length: number): Uint8Array;
}

export interface Authenticator {
  /** HMAC-SHA-256, 32 bytes. */
  hmac(secret: Uint8Array, data: Uint8Array): Uint8Array;
}

export interface World {
  readonly storage: Storage;
  readonly transport: Transport;
  readonly streams: Streams;
  readonly clock: Clock;
  readonly random: Random;
  readonly authenticator: Authenticator;
}
