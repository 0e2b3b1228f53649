// Raw units of some neighbouring rows in the arena: what reconstruction and row checks work on.
//
// The memory holds the members one behind the other, each with its units of all rows of the window, so that
// neighbouring units of a member are one disk read; behind them m spare blocks, for what is computed:
//
//     place 0: rows of the window | place 1: rows | ... | place n-1: rows | spare 0 .. spare m-1
//
// Nothing in here is trusted: the units are as the disks gave them.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { DiskOperation } from "../io/disk.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { countOf, type RowLayout } from "./geometry.ts";
import { MEMBER_MISSING, type Members } from "./members.ts";

/** One row of a window. Its units are bitmaps of unit numbers (not slots). */
export class WindowRow {
  readonly stripe: number;
  /** To be read by the next `read`. */
  wanted = 0;
  /** Read, and in memory. */
  have = 0;
  /** Could not be read. */
  unreadable = 0;
  /** On members that are not there. */
  missing = 0;

  constructor(stripe: number) {
    this.stripe = stripe;
  }
}

/** How many blocks of memory a window needs. */
export function windowBlocks(layout: RowLayout, stripes: number): number {
  return layout.unitCount * stripes + layout.m;
}

export class RowWindow<T extends WindowRow> {
  readonly layout: RowLayout;
  /** In ascending order. */
  readonly rows: readonly T[];
  readonly #stripes: number;
  readonly #memory: Uint8Array;
  readonly #dataOffset: number;

  constructor(layout: RowLayout, rows: readonly T[], memory: Uint8Array, dataOffset: number) {
    this.layout = layout;
    this.rows = rows;
    this.#stripes = rows.at(-1)!.stripe - rows[0]!.stripe + 1;
    this.#memory = memory;
    this.#dataOffset = dataOffset;
  }

  /** Reads the wanted units of all rows, the members in parallel. */
  async read(members: Members): Promise<void> {
    const { slots } = this.layout;
    await Promise.all(slots.map((slot, place) => this.#readPlace(members, slot, place)));
    for (const row of this.rows) row.wanted = 0;
  }

  async #readPlace(members: Members, slot: number, place: number): Promise<void> {
    const rows = this.rows.filter((row) => row.wanted & this.#bitOf(row, place));
    if (rows.length === 0) return;
    const results = await members.read(
      slot,
      rows.map((row) => this.#operationFor(row, place)),
    );
    for (const [index, row] of rows.entries()) {
      const error = results[index]!;
      const bit = this.#bitOf(row, place);
      if (error === null) row.have |= bit;
      else if (error === MEMBER_MISSING) row.missing |= bit;
      else row.unreadable |= bit;
    }
  }

  /**
   * Computes the units of `lost` (at most m of the row) from the others, into the spares; what was read is
   * left as it is. Gives the address of each unit, lost or not, in the WebAssembly memory.
   */
  restore(kernel: Kernel, row: T, lost: number): readonly number[] {
    const { k, m } = this.layout;
    const addresses = this.#addressesOf(row, lost);
    kernel.reconstruct(addresses, k, m, lost, BLOCK_BYTES);
    return addresses;
  }

  /** As restore, but lost parity behind the last parity unit that is needed or there is left alone. */
  restoreData(kernel: Kernel, row: T, lost: number): readonly number[] {
    const { k, unitCount } = this.layout;
    let used = unitCount;
    while (used > k && lost & (1 << (used - 1))) used--;
    const addresses = this.#addressesOf(row, lost);
    kernel.reconstruct(addresses, k, used - k, lost & ((1 << used) - 1), BLOCK_BYTES);
    return addresses;
  }

  #addressesOf(row: T, lost: number): number[] {
    const addresses: number[] = [];
    let spare = 0;
    for (let unit = 0; unit < this.layout.unitCount; unit++) {
      addresses.push(lost & (1 << unit) ? this.#spareAddress(spare++) : this.addressOf(row, unit));
    }
    return addresses;
  }

  /** The block at an address of this window. */
  blockAt(address: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, address, BLOCK_BYTES);
  }

  /** Where a unit lies as it was read. */
  addressOf(row: T, unit: number): number {
    return this.#memory.byteOffset + this.#startOf(row, this.layout.placeOf(row.stripe, unit));
  }

  #spareAddress(index: number): number {
    return this.#memory.byteOffset + (this.layout.unitCount * this.#stripes + index) * BLOCK_BYTES;
  }

  #operationFor(row: T, place: number): DiskOperation {
    const start = this.#startOf(row, place);
    const buffer = this.#memory.subarray(start, start + BLOCK_BYTES);
    return { kind: "read", offset: this.#dataOffset + row.stripe * BLOCK_BYTES, buffer };
  }

  #startOf(row: T, place: number): number {
    return (place * this.#stripes + row.stripe - this.rows[0]!.stripe) * BLOCK_BYTES;
  }

  #bitOf(row: T, place: number): number {
    return 1 << this.layout.unitAt(row.stripe, place);
  }
}

/** The lowest `count` units of a bitmap, or all of them when it has fewer. */
export function lowestUnits(bitmap: number, count: number): number {
  while (countOf(bitmap) > count) bitmap &= ~(1 << (31 - Math.clz32(bitmap)));
  return bitmap;
}
