// Seeded randomness for simulations: the same seed gives the same run, on every runtime.
//
// The generator is sfc32: small, fast, good enough to choose faults with, and no use at all for secrets.

import type { Random } from "../../src/io/world.ts";

export class SeededRandom implements Random {
  readonly #state: Uint32Array;

  constructor(seed: number) {
    this.#state = Uint32Array.of(0x9e3779b9, seed >>> 0, Math.floor(seed / 0x100000000) >>> 0, 1);
    for (let round = 0; round < 12; round += 1) this.word();
  }

  /** 32 random bits, as a number from 0 to 0xffffffff. */
  word(): number {
    const state = this.#state;
    const result = (state[0]! + state[1]! + state[3]!) >>> 0;
    state[3] = state[3]! + 1;
    state[0] = state[1]! ^ (state[1]! >>> 9);
    state[1] = state[2]! + (state[2]! << 3);
    state[2] = ((state[2]! << 21) | (state[2]! >>> 11)) + result;
    return result;
  }

  /** A whole number from 0 to limit - 1. */
  below(limit: number): number {
    return Math.floor((this.word() / 0x100000000) * limit);
  }

  /** True with the given probability, 0 to 1. */
  chance(probability: number): boolean {
    return this.word() < probability * 0x100000000;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.word() >>> 24);
  }
}
