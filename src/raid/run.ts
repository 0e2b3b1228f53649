// A run: whole rows of one segment, filled block by block in the arena and written with one write per member.
//
// The arena lease holds the members one behind the other, each with its units of all rows in order, so that
// what goes to a member is one piece (k = 2, m = 1, 3 rows; * is parity):
//
//     place 0: row 0  row 1  row 2*  |  place 1: row 0  row 1*  row 2  |  place 2: row 0*  row 1  row 2
//
// Blocks are handed out row by row, unit by unit; block i is data unit i mod k of row floor(i / k).
//
// Invariants:
//   - only rows of this run are written, only on the members of its geometry (never on spares), whole rows
//     only; a short last row is padded with zero blocks;
//   - parity is computed here, from the blocks the caller put (which the caller has verified) and the padding;
//   - the write counts only if every member took it. Otherwise its rows are short of the parity they should
//     have: the run rejects, and the owner starts again elsewhere with another geometry;
//   - the lease goes back only when no disk reads from it any more.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Disk } from "../io/disk.ts";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { pvbnOf, type RowLayout } from "./geometry.ts";
import type { Members } from "./members.ts";

/** What a group gives to its run. */
export interface RunParts {
  readonly kernel: Kernel;
  readonly members: Members;
  readonly layout: RowLayout;
  readonly firstStripe: number;
  readonly rows: number;
  /** Byte offset of the first stripe on every member. */
  readonly offset: number;
  /** The disk of each place; a run does not go to one that came later into the same slot. */
  readonly disks: readonly Disk[];
  /** layout.unitCount * rows blocks of the arena. */
  readonly memory: Uint8Array;
  /** Called once, when the memory is free again. */
  readonly onReleased: () => void;
}

export class Run {
  /** Data units in all rows. */
  readonly capacity: number;
  readonly #parts: RunParts;
  #count = 0;
  #state: "filling" | "writing" | "written" = "filling";
  #isReleased = false;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.capacity = parts.rows * parts.layout.k;
  }

  /** Blocks handed out so far. */
  get count(): number {
    return this.#count;
  }

  /** The place of the next block. The caller fills all of `block`, at the latest before write. */
  next(): { pvbn: number; block: Uint8Array } {
    assert(this.#state === "filling" && !this.#isReleased, "raid: the run takes no more blocks");
    assert(this.#count < this.capacity, `raid: the run is full with ${this.capacity} blocks`);
    const index = this.#count++;
    return { pvbn: this.pvbnAt(index), block: this.#blockAt(index) };
  }

  pvbnAt(index: number): number {
    const { layout, firstStripe } = this.#parts;
    assert(index >= 0 && index < this.capacity, `raid: no block ${index} in a run of ${this.capacity}`);
    const stripe = firstStripe + Math.floor(index / layout.k);
    return pvbnOf(stripe, layout.slotOfUnit(stripe, index % layout.k));
  }

  /**
   * Writes the rows used so far, once; resolves with their number. It is not durable until a sync. Rejects
   * with ERR_MEMBER_FAILED when a member did not take it; that member is dropped by then.
   */
  async write(): Promise<number> {
    assert(this.#state === "filling" && !this.#isReleased, "raid: a run is written once");
    this.#state = "writing";
    const rows = Math.ceil(this.#count / this.#parts.layout.k);
    try {
      this.#complete(rows);
      if (rows > 0) await this.#writeRows(rows);
      return rows;
    } finally {
      this.#state = "written";
      if (this.#isReleased) this.#parts.onReleased();
    }
  }

  /** Gives the memory back, as soon as no write uses it. Idempotent. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.#state !== "writing") this.#parts.onReleased();
  }

  /** Pads the last row and computes the parity of all. */
  #complete(rows: number): void {
    const { kernel, layout } = this.#parts;
    for (let index = this.#count; index < rows * layout.k; index++) this.#blockAt(index).fill(0);
    const addresses = new Uint32Array(layout.unitCount);
    for (let row = 0; row < rows; row++) {
      for (let unit = 0; unit < layout.unitCount; unit++) addresses[unit] = this.#addressOf(row, unit);
      kernel.encodeParity(addresses, layout.k, layout.m, BLOCK_BYTES);
    }
  }

  async #writeRows(rows: number): Promise<void> {
    const { layout } = this.#parts;
    const errors = await Promise.all(layout.slots.map((_, place) => this.#writeMember(place, rows)));
    const place = errors.findIndex((error) => error !== null);
    if (place < 0) return;
    const slot = layout.slots[place]!;
    const message = `raid: member ${slot} failed under a run of ${rows} rows at stripe ${this.#parts.firstStripe}`;
    throw new MirrorvolError("ERR_MEMBER_FAILED", message, { cause: errors[place] });
  }

  async #writeMember(place: number, rows: number): Promise<Error | null> {
    const { members, layout, disks, memory, offset } = this.#parts;
    const slot = layout.slots[place]!;
    const disk = disks[place]!;
    if (members.diskAt(slot) !== disk) return new Error("the member was dropped before the write");
    const start = place * this.#parts.rows * BLOCK_BYTES;
    const buffer = memory.subarray(start, start + rows * BLOCK_BYTES);
    const [error] = await disk.submit([{ kind: "write", offset, buffer }]);
    if (error) members.dropDisk(slot, disk, error);
    if (members.diskAt(slot) !== disk) return error ?? new Error("the member was dropped during the write");
    return null;
  }

  #blockAt(index: number): Uint8Array {
    const { layout, memory } = this.#parts;
    const at = this.#addressOf(Math.floor(index / layout.k), index % layout.k) - memory.byteOffset;
    return memory.subarray(at, at + BLOCK_BYTES);
  }

  /** Address in the WebAssembly memory. */
  #addressOf(row: number, unit: number): number {
    const { layout, firstStripe, rows, memory } = this.#parts;
    return memory.byteOffset + (layout.placeOf(firstStripe + row, unit) * rows + row) * BLOCK_BYTES;
  }
}
