// What `mirrorvol inspect log` shows: each file of one copy as it lies there. It reads only, trusts nothing,
// and does not need the volume's superblock: entries are found sector by sector, a valid one is passed over
// as a whole.

import {
  ENTRY_KIND_SEAL,
  ENTRY_KIND_TRIM,
  ENTRY_KIND_WRITE,
  HALF_HEADER_BYTES,
  LOG_ENTRIES_OFFSET,
  LOG_HALF_COUNT,
  SECTOR_BYTES,
} from "../../assembly/format.ts";
import { type Disk, readDisk, type Storage } from "../io/disk.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { halfPath } from "./copies.ts";
import {
  type Checksum,
  type EntryHeader,
  isPayloadThere,
  isPrevious,
  paddedBytes,
  readHeader,
  readOwnChecksum,
} from "./entry_codec.ts";
import { decodeHalfHeader, type HalfHeader } from "./half_header.ts";
import { WINDOW_BYTES } from "./recovery.ts";

export interface InspectedEntry {
  readonly offset: number;
  readonly sequence: number;
  readonly kind: string;
  readonly lba: number;
  readonly blockCount: number;
  readonly payloadBytes: number;
  readonly generation: number;
  readonly generationId: string;
  readonly durableThrough: number;
}

export interface InspectedHalf {
  readonly path: string;
  readonly fileBytes: number;
  readonly header: {
    readonly volumeId: string;
    readonly copy: number;
    readonly copyCount: number;
    readonly slot: number;
    readonly inUse: boolean;
    readonly number: number;
    readonly startSequence: number;
    readonly startChain: string;
    readonly generation: number;
    readonly generationId: string;
  } | null;
  /** By place in the file, those of older uses included. */
  readonly entries: readonly InspectedEntry[];
  readonly faults: readonly string[];
}

const KINDS: Record<number, string> = {
  [ENTRY_KIND_WRITE]: "write",
  [ENTRY_KIND_TRIM]: "trim",
  [ENTRY_KIND_SEAL]: "seal",
};

/** Every file of the copy with that prefix; a file that cannot be opened shows as a fault. */
export async function inspectLog(kernel: Kernel, storage: Storage, prefix: string): Promise<InspectedHalf[]> {
  const halves: InspectedHalf[] = [];
  const scratch = await kernel.arena.lease(WINDOW_BYTES);
  try {
    for (let slot = 0; slot < LOG_HALF_COUNT; slot += 1) {
      halves.push(await inspectPath(kernel, storage, halfPath(prefix, slot), scratch));
    }
  } finally {
    kernel.arena.free(scratch);
  }
  return halves;
}

async function inspectPath(kernel: Kernel, storage: Storage, path: string, scratch: Uint8Array) {
  let disk: Disk;
  try {
    disk = await storage.open(path, { readOnly: true });
  } catch (error) {
    return { path, fileBytes: 0, header: null, entries: [], faults: [(error as Error).message] };
  }
  try {
    const inspection = new HalfInspection(kernel, disk, scratch);
    return await inspection.run();
  } finally {
    await disk.close();
  }
}

class HalfInspection {
  readonly #kernel: Kernel;
  readonly #disk: Disk;
  readonly #scratch: Uint8Array;
  readonly #entries: InspectedEntry[] = [];
  readonly #faults: string[] = [];
  /** Where the entry after the last one would start, and the checksum it would name. */
  #expectedOffset = LOG_ENTRIES_OFFSET;
  readonly #chain: Checksum = { low: 0, high: 0 };

  constructor(kernel: Kernel, disk: Disk, scratch: Uint8Array) {
    this.#kernel = kernel;
    this.#disk = disk;
    this.#scratch = scratch;
  }

  async run(): Promise<InspectedHalf> {
    const header = await this.#readHalfHeader();
    await this.#scan();
    return {
      path: this.#disk.path,
      fileBytes: this.#disk.bytes,
      header: header && describeHeader(header),
      entries: this.#entries,
      faults: this.#faults,
    };
  }

  async #readHalfHeader(): Promise<HalfHeader | null> {
    const bytes = this.#scratch.subarray(0, HALF_HEADER_BYTES);
    if (!(await this.#read(0, bytes))) return null;
    const header = decodeHalfHeader(this.#kernel, bytes);
    if (typeof header !== "string") return header;
    this.#faults.push(`header: ${header}`);
    return null;
  }

  async #scan(): Promise<void> {
    let from = LOG_ENTRIES_OFFSET;
    while (from + SECTOR_BYTES <= this.#disk.bytes) {
      const piece = this.#scratch.subarray(0, Math.min(this.#scratch.length, this.#disk.bytes - from));
      // A piece that cannot be read is a fault, and the rest is looked at all the same.
      from += (await this.#read(from, piece)) ? this.#scanPiece(piece, from) : piece.length;
    }
  }

  /** Returns how much of the piece is done: an entry that goes beyond it starts the next one. */
  #scanPiece(piece: Uint8Array, from: number): number {
    let at = 0;
    while (at + SECTOR_BYTES <= piece.length) {
      const room = piece.length - at;
      const header = readHeader(this.#kernel, piece.byteOffset + at, room);
      const bytes = header === null ? SECTOR_BYTES : paddedBytes(header.payloadBytes);
      if (header !== null && bytes > room && at > 0) return at;
      at += header === null ? SECTOR_BYTES : this.#visit(header, piece.byteOffset + at, room, from + at);
    }
    return piece.length;
  }

  #visit(header: EntryHeader, at: number, room: number, offset: number): number {
    const isWhole = isPayloadThere(this.#kernel, at, header, room);
    if (!isWhole) this.#faults.push(`entry ${header.sequence} at ${offset}: the payload's checksum is wrong`);
    this.#noteBreak(header, at, offset);
    readOwnChecksum(this.#kernel.view, at, this.#chain);
    this.#entries.push(describeEntry(header, offset));
    const bytes = paddedBytes(header.payloadBytes);
    this.#expectedOffset = offset + bytes;
    return isWhole ? bytes : SECTOR_BYTES;
  }

  /** Entries of an older use behind the newest ones are no fault; a neighbour that does not chain may be. */
  #noteBreak(header: EntryHeader, at: number, offset: number): void {
    const last = this.#entries.at(-1);
    if (last === undefined || header.sequence !== last.sequence + 1) return;
    const isNext = offset === this.#expectedOffset && isPrevious(this.#kernel.view, at, this.#chain);
    if (!isNext)
      this.#faults.push(`entry ${header.sequence} at ${offset}: it does not follow the one before`);
  }

  async #read(offset: number, into: Uint8Array): Promise<boolean> {
    try {
      await readDisk(this.#disk, offset, into);
      return true;
    } catch (error) {
      this.#faults.push(`${into.length} bytes at ${offset}: ${(error as Error).message}`);
      return false;
    }
  }
}

function describeHeader(header: HalfHeader): InspectedHalf["header"] {
  return {
    volumeId: Array.from(header.volumeId, (byte) => byte.toString(16).padStart(2, "0")).join(""),
    copy: header.copy,
    copyCount: header.copyCount,
    slot: header.slot,
    inUse: header.startSequence > 0,
    number: header.number,
    startSequence: header.startSequence,
    startChain: hex64(header.startChain),
    generation: header.generation.number,
    generationId: hex64(header.generation.id),
  };
}

function describeEntry(header: EntryHeader, offset: number): InspectedEntry {
  return {
    offset,
    sequence: header.sequence,
    kind: KINDS[header.kind] ?? `kind ${header.kind}`,
    lba: header.lba,
    blockCount: header.blockCount,
    payloadBytes: header.payloadBytes,
    generation: header.generation,
    generationId: hex64(header.generationId),
    durableThrough: header.durableThrough,
  };
}

function hex64(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}
