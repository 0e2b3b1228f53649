// One simulated file: what is durable, what was written since, and what a power failure makes of it.
//
//   durable    what survives any crash
//   overlay    pages written since the last sync, as a running system sees them
//   unsynced   the writes behind the overlay, oldest first; a crash decides about each sector of each
//
// A sync makes durable the writes that had *completed* when it was called: those that were still on their way
// stay unsynced, which is all that a real fdatasync promises. Writes are applied and completed in order, so
// that is always a prefix of the list.
//
// A crash goes through the unsynced writes in order and keeps or drops each 512-byte sector of each by
// itself. So an older write may survive where a newer one to the same sector does not.

import { SECTOR_BYTES } from "../../assembly/format.ts";
import { allocate, forEachPage, PAGE_BYTES, SparseImage } from "./memory_image.ts";
import { SeededRandom } from "./memory_random.ts";

export interface UnsyncedWrite {
  readonly path: string;
  /** Counts the writes of this file, from 1. */
  readonly order: number;
  readonly offset: number;
  readonly data: Uint8Array;
}

/** What happens to one unsynced write; the function is asked for each sector, counted within the write. */
export type WriteFate = "drop" | "keep" | ((sector: number) => boolean);
export type CrashPolicy = (write: UnsyncedWrite) => WriteFate;

/** A third of the writes is lost, a third is kept, of the rest each sector falls as it may. */
export function seededCrash(seed: number): CrashPolicy {
  const random = new SeededRandom(seed);
  return () => {
    const lot = random.below(3);
    if (lot === 0) return "drop";
    return lot === 1 ? "keep" : () => random.chance(0.5);
  };
}

export class MemoryFile {
  readonly path: string;
  readonly bytes: number;
  /** The handle that holds the lock. */
  lockedBy: object | null = null;
  /** The newest write that was reported as done, through whichever handle. */
  completedThrough = 0;
  #durable: SparseImage;
  #overlay = new SparseImage();
  #unsynced: UnsyncedWrite[] = [];
  #writeCount = 0;

  constructor(path: string, bytes: number, durable = new SparseImage()) {
    this.path = path;
    this.bytes = bytes;
    this.#durable = durable;
  }

  get unsynced(): readonly UnsyncedWrite[] {
    return this.#unsynced;
  }

  read(offset: number, into: Uint8Array): void {
    forEachPage(offset, into, (index, within, piece) => {
      const page = this.#overlay.page(index) ?? this.#durable.page(index);
      if (page === undefined) piece.fill(0);
      else piece.set(page.subarray(within, within + piece.length));
    });
  }

  /** Returns the write's order, for `sync`. */
  write(offset: number, from: Uint8Array): number {
    const data = allocate(from.length);
    data.set(from);
    forEachPage(offset, data, (index, within, piece) => {
      this.#overlay.put(index, within, piece, this.#durable.page(index));
    });
    this.#writeCount += 1;
    this.#unsynced.push({ path: this.path, order: this.#writeCount, offset, data });
    return this.#writeCount;
  }

  /** Writes only the sectors that the fate keeps: what a power failure in the middle of a write does. */
  writeTorn(offset: number, from: Uint8Array, fate: WriteFate): void {
    forEachKeptRun({ path: this.path, order: 0, offset, data: from }, fate, (at, piece) => {
      this.write(at, piece);
    });
  }

  /** Makes every write up to the given order durable. */
  sync(through: number): void {
    const remaining = this.#unsynced.findIndex((write) => write.order > through);
    const count = remaining < 0 ? this.#unsynced.length : remaining;
    for (const write of this.#unsynced.splice(0, count)) this.#durable.write(write.offset, write.data);
    if (this.#unsynced.length === 0) this.#overlay.clear();
  }

  /** Where something durable was ever written, in pages. */
  usedRanges(): { readonly offset: number; readonly bytes: number }[] {
    return this.#durable.pages.map((index) => {
      const offset = index * PAGE_BYTES;
      return { offset, bytes: Math.min(PAGE_BYTES, this.bytes - offset) };
    });
  }

  /** Changes what is stored behind everybody's back, durably. */
  poke(offset: number, data: Uint8Array): void {
    this.#durable.write(offset, data);
    forEachPage(offset, data, (index, within, piece) => {
      this.#overlay.page(index)?.set(piece, within);
    });
    for (const write of this.#unsynced) overlay(write.data, offset - write.offset, data);
  }

  /** The file as it is found after a power failure. This one is left as it was. */
  afterCrash(policy: CrashPolicy): MemoryFile {
    const image = this.#durable.fork();
    for (const write of this.#unsynced) {
      forEachKeptRun(write, policy(write), (offset, piece) => image.write(offset, piece));
    }
    return new MemoryFile(this.path, this.bytes, image);
  }
}

/** Copies `data`, which starts at `start` of `target` (negative too), as far as both overlap. */
function overlay(target: Uint8Array, start: number, data: Uint8Array): void {
  const from = Math.max(0, start);
  const to = Math.min(target.length, start + data.length);
  if (from < to) target.set(data.subarray(from - start, to - start), from);
}

/** The kept sectors of a write, neighbours joined. Sectors are the disk's, so an odd write has odd ends. */
function forEachKeptRun(
  write: UnsyncedWrite,
  fate: WriteFate,
  visit: (offset: number, piece: Uint8Array) => void,
): void {
  if (fate === "drop" || write.data.length === 0) return;
  if (fate === "keep") {
    visit(write.offset, write.data);
    return;
  }
  const end = write.offset + write.data.length;
  const firstSector = Math.floor(write.offset / SECTOR_BYTES);
  const sectorCount = Math.ceil(end / SECTOR_BYTES) - firstSector;
  let start = -1;
  for (let sector = 0; sector <= sectorCount; sector += 1) {
    const at = Math.min(end, Math.max(write.offset, (firstSector + sector) * SECTOR_BYTES));
    const isKept = sector < sectorCount && fate(sector);
    if (isKept && start < 0) start = at;
    if (!isKept && start >= 0) {
      visit(start, write.data.subarray(start - write.offset, at - write.offset));
      start = -1;
    }
  }
}
