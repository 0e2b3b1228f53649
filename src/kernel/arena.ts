// The arena: the fixed WebAssembly memory, carved into pieces of whole 4 KiB pages.
//
// Invariants:
//   - the free ranges are sorted by offset, disjoint, never adjacent (neighbours are joined at once);
//   - every piece handed out starts at a multiple of 4096 and its room is a multiple of 4096, so it can be
//     given to O_DIRECT as it is;
//   - nobody overtakes in the queue of leases: a small one waits behind a large one, so none starves.
//
// Allocation is first fit over the free ranges. Pieces are large and few (segments of a log, stripes, staged
// entries), so a sorted array is quicker than anything clever.

import { assert, MirrorvolError } from "./errors.ts";

const PAGE_BYTES = 4096;

interface Range {
  offset: number;
  bytes: number;
}

interface Waiter {
  bytes: number;
  give: (view: Uint8Array) => void;
}

export class Arena {
  readonly #buffer: ArrayBufferLike;
  readonly #capacityBytes: number;
  /** Sorted by offset. */
  readonly #free: Range[];
  /** Offset to room, for every piece handed out. */
  readonly #used = new Map<number, number>();
  readonly #waiters: Waiter[] = [];
  #freeBytes: number;

  /** Takes over `buffer` from `start` (a multiple of 4096) to its end. */
  constructor(buffer: ArrayBufferLike, start: number) {
    assert(start % PAGE_BYTES === 0, `arena: start ${start} is not a multiple of ${PAGE_BYTES}`);
    const bytes = Math.floor((buffer.byteLength - start) / PAGE_BYTES) * PAGE_BYTES;
    assert(bytes >= 0, `arena: start ${start} lies beyond the memory`);
    this.#buffer = buffer;
    this.#capacityBytes = bytes;
    this.#freeBytes = bytes;
    this.#free = bytes > 0 ? [{ offset: start, bytes }] : [];
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** A piece of `bytes` bytes, its content undefined. Leases that wait do not hold it up. */
  allocate(bytes: number): Uint8Array {
    const view = this.#take(bytes);
    if (view !== undefined) return view;
    const largest = this.#free.reduce((most, range) => Math.max(most, range.bytes), 0);
    const state = `${this.#freeBytes} of ${this.#capacityBytes} are free, ${largest} in one piece`;
    throw new MirrorvolError("ERR_ARENA_FULL", `arena: no room for ${bytes} bytes: ${state}`);
  }

  /** Gives back exactly what allocate or lease handed out, and serves the leases that wait for it. */
  free(view: Uint8Array): void {
    assert(view.buffer === this.#buffer, "arena: the view is of another memory");
    const bytes = this.#used.get(view.byteOffset);
    assert(bytes !== undefined, `arena: nothing is allocated at ${view.byteOffset}`);
    this.#used.delete(view.byteOffset);
    this.#giveBack(view.byteOffset, bytes);
    this.#serve();
  }

  /** Waits, first come first served, until the piece can be had. */
  async lease(bytes: number, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted();
    if (bytes > this.#capacityBytes) {
      const message = `arena: ${bytes} bytes can never be had, the arena has ${this.#capacityBytes}`;
      throw new MirrorvolError("ERR_ARENA_FULL", message);
    }
    const view = this.#waiters.length === 0 ? this.#take(bytes) : undefined;
    return view ?? this.#wait(bytes, signal);
  }

  #wait(bytes: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        bytes,
        give: (view) => {
          signal?.removeEventListener("abort", abort);
          resolve(view);
        },
      };
      const abort = () => {
        const index = this.#waiters.indexOf(waiter);
        if (index >= 0) this.#waiters.splice(index, 1);
        reject(signal?.reason);
        this.#serve();
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  #serve(): void {
    for (let waiter = this.#waiters[0]; waiter !== undefined; waiter = this.#waiters[0]) {
      const view = this.#take(waiter.bytes);
      if (view === undefined) return;
      this.#waiters.shift();
      waiter.give(view);
    }
  }

  #take(bytes: number): Uint8Array | undefined {
    assert(Number.isSafeInteger(bytes) && bytes > 0, `arena: ${bytes} is no size`);
    const room = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
    const index = this.#free.findIndex((range) => range.bytes >= room);
    if (index < 0) return undefined;
    const range = this.#free[index]!;
    const offset = range.offset;
    range.offset += room;
    range.bytes -= room;
    if (range.bytes === 0) this.#free.splice(index, 1);
    this.#used.set(offset, room);
    this.#freeBytes -= room;
    return new Uint8Array(this.#buffer, offset, bytes);
  }

  #giveBack(offset: number, bytes: number): void {
    const after = this.#free.findIndex((range) => range.offset > offset);
    const index = after < 0 ? this.#free.length : after;
    this.#free.splice(index, 0, { offset, bytes });
    this.#freeBytes += bytes;
    this.#join(index);
    if (index > 0) this.#join(index - 1);
  }

  /** Joins range `index` with its right neighbour if they touch. */
  #join(index: number): void {
    const left = this.#free[index]!;
    const right = this.#free[index + 1];
    if (right === undefined || left.offset + left.bytes !== right.offset) return;
    left.bytes += right.bytes;
    this.#free.splice(index + 1, 1);
  }
}
