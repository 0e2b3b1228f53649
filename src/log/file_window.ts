// A piece of one file of a copy in the kernel's memory, moved over the file while a recovery goes through it.
//
// What cannot be read is remembered, read around sector by sector, and reads as zeros: no checksum fits those,
// so it counts as "not there" until somebody asks whether it could be read (`isUnreadable`).

import { SECTOR_BYTES } from "../../assembly/format.ts";
import { readDisk } from "../io/disk.ts";
import { assert } from "../kernel/errors.ts";
import type { LogCopy } from "./copies.ts";

interface Unreadable {
  readonly slot: number;
  readonly from: number;
  readonly to: number;
}

export class FileWindow {
  readonly copy: LogCopy;
  readonly #view: Uint8Array;
  readonly #halfBytes: number;
  #slot = -1;
  #from = 0;
  #to = 0;
  readonly #unreadable: Unreadable[] = [];

  /** The view must hold more than two of the largest entries. */
  constructor(copy: LogCopy, view: Uint8Array, halfBytes: number) {
    this.copy = copy;
    this.#view = view;
    this.#halfBytes = halfBytes;
  }

  /** How many bytes of the file are in memory from `offset` on. */
  roomAt(slot: number, offset: number): number {
    return slot === this.#slot && offset >= this.#from ? Math.max(0, this.#to - offset) : 0;
  }

  /** Where in memory the byte at `offset` lies. Only when there is room at it. */
  at(offset: number): number {
    return this.#view.byteOffset + offset - this.#from;
  }

  bytes(offset: number, length: number): Uint8Array {
    return this.#view.subarray(offset - this.#from, offset - this.#from + length);
  }

  /** Sees to it that `bytes` bytes from `offset` on are in memory, or as many as the file has. */
  async seek(slot: number, offset: number, bytes: number): Promise<void> {
    const wanted = Math.min(bytes, this.#halfBytes - offset);
    if (wanted > 0 && this.roomAt(slot, offset) < wanted) await this.#load(slot, offset);
  }

  /** The next look reads from the file again. */
  forget(): void {
    this.#slot = -1;
  }

  isUnreadable(slot: number, offset: number, bytes: number): boolean {
    const touches = (piece: Unreadable) => piece.from < offset + bytes && offset < piece.to;
    return this.#unreadable.some((piece) => piece.slot === slot && touches(piece));
  }

  async #load(slot: number, offset: number): Promise<void> {
    const length = Math.min(this.#view.length, this.#halfBytes - offset);
    assert(length > 0, `log: nothing lies at ${offset}`);
    const disk = this.copy.disks[slot]!;
    this.#slot = slot;
    this.#from = offset;
    this.#to = offset + length;
    try {
      await readDisk(disk, offset, this.#view.subarray(0, length));
    } catch {
      await this.#loadAround(slot);
    }
  }

  async #loadAround(slot: number): Promise<void> {
    for (let from = this.#from; from < this.#to; from += SECTOR_BYTES) {
      const piece = this.bytes(from, Math.min(SECTOR_BYTES, this.#to - from));
      try {
        await readDisk(this.copy.disks[slot]!, from, piece);
      } catch {
        piece.fill(0);
        this.#unreadable.push({ slot, from, to: from + piece.length });
      }
    }
  }
}
