// Working memory of reads and repairs, in blocks of the arena.
//
// A read must never wait for arena memory: the runs that hold it may belong to a commit that waits for this
// very read. So larger pieces are taken only if they can be had at once, and a reserve, large enough for one
// row, is set aside when the group opens. Whoever finds the arena full takes turns on the reserve: slower,
// but it always gets on.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Arena } from "../kernel/arena.ts";
import { assert } from "../kernel/errors.ts";

export class Scratch {
  readonly #arena: Arena;
  readonly #reserve: Uint8Array;
  /** Settles when the reserve is free. */
  #turn: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(arena: Arena, reserveBlocks: number) {
    this.#arena = arena;
    this.#reserve = arena.allocate(reserveBlocks * BLOCK_BYTES);
  }

  /** Memory for `blocks` blocks, or null when the arena has none in one piece now. */
  tryAllocate(blocks: number): Uint8Array | null {
    const bytes = blocks * BLOCK_BYTES;
    if (this.#arena.freeBytes < bytes) return null;
    try {
      return this.#arena.allocate(bytes);
    } catch (error) {
      if ((error as { code?: string }).code === "ERR_ARENA_FULL") return null;
      throw error;
    }
  }

  free(memory: Uint8Array): void {
    this.#arena.free(memory);
  }

  /** Runs `work` alone on the reserve, first come first served. */
  withReserve<T>(work: (memory: Uint8Array) => Promise<T>): Promise<T> {
    assert(!this.#isClosed, "raid: the group is closed");
    const result = this.#turn.then(() => work(this.#reserve));
    this.#turn = result.catch(() => {});
    return result;
  }

  /** Gives the reserve back when its last user is done. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#turn;
    this.#arena.free(this.#reserve);
  }
}
