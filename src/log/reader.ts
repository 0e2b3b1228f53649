// Reading a log back from its files while it is written.
//
// Invariants:
//   - only what is durable is read, and every byte is verified before it is handed out;
//   - what one copy has lost comes from another one and is written back to the first;
//   - a half is pinned while it is read: its file is not used again before that.

import { ENTRY_HEADER_BYTES } from "../../assembly/format.ts";
import { readDisk } from "../io/disk.ts";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { LogCopies, LogCopy } from "./copies.ts";
import {
  bigintOf,
  type Checksum,
  checksumOf,
  type EntryHeader,
  isPayloadThere,
  isPrevious,
  paddedBytes,
  readHeader,
  readOwnChecksum,
} from "./entry_codec.ts";
import type { HalfRow, LogHalf } from "./half.ts";
import { offsetOfLocation, packLocation } from "./location.ts";
import { WINDOW_BYTES } from "./recovery.ts";
import type { EntryView } from "./types.ts";

export interface ReaderOptions {
  readonly kernel: Kernel;
  readonly copies: LogCopies;
  readonly halves: HalfRow;
  readonly durable: () => number;
  /** A file became free because nobody reads from it any more. */
  readonly onFreed: () => void;
}

/** A block that no copy has. */
export interface LostBlock {
  readonly index: number;
  readonly error: unknown;
}

/** How an iteration stands: the entry that comes next. */
interface Cursor {
  sequence: number;
  offset: number;
  readonly chain: Checksum;
}

export class LogReader {
  readonly #options: ReaderOptions;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  async read(
    location: number,
    bytes: number,
    out: Uint8Array,
    verify: (bytes: Uint8Array) => boolean,
  ): Promise<void> {
    const half = this.#options.halves.withLocation(location);
    if (half === undefined)
      throw new MirrorvolError("ERR_LOG_RANGE", `log: ${location} is in no half in use`);
    const offset = offsetOfLocation(location);
    assert(offset + bytes <= half.endOffset, `log: ${bytes} bytes at ${location} were never written`);
    await this.#pinned(half, () => this.#readVerified(half, offset, out.subarray(0, bytes), verify));
  }

  /**
   * Reads blocks of payload, many at once; `isRight` is asked about each. Resolves with those that no copy has, and
   * why; the others are in their buffers.
   */
  async readBlocks(
    locations: readonly number[],
    outs: readonly Uint8Array[],
    isRight: (index: number, block: Uint8Array) => boolean,
  ): Promise<LostBlock[]> {
    const failed = await this.#readFirst(locations, outs, isRight);
    const lost: LostBlock[] = [];
    for (const index of failed) {
      const out = outs[index]!;
      await this.read(locations[index]!, out.length, out, (block) => isRight(index, block)).catch((error) =>
        lost.push({ index, error }),
      );
    }
    return lost;
  }

  /** From one copy of each half, as a batch; returns those that are to be looked for elsewhere. */
  async #readFirst(
    locations: readonly number[],
    outs: readonly Uint8Array[],
    isRight: (index: number, block: Uint8Array) => boolean,
  ): Promise<number[]> {
    const [copy] = this.#options.copies.current;
    if (copy === undefined) return [...locations.keys()];
    const failed: number[] = [];
    const byHalf = new Map<LogHalf, number[]>();
    for (const [index, location] of locations.entries()) {
      const half = this.#options.halves.withLocation(location);
      if (half === undefined) failed.push(index);
      else if (byHalf.has(half)) byHalf.get(half)!.push(index);
      else byHalf.set(half, [index]);
    }
    const readHalf = async (half: LogHalf, indexes: readonly number[]) => {
      const batch = indexes.map((index) => {
        const offset = offsetOfLocation(locations[index]!);
        const buffer = outs[index]!;
        assert(offset + buffer.length <= half.endOffset, `log: nothing was written at ${locations[index]}`);
        return { kind: "read", offset, buffer } as const;
      });
      const errors = await copy.disks[half.slot]!.submit(batch);
      for (const [at, index] of indexes.entries()) {
        if (errors[at] !== null || !isRight(index, outs[index]!)) failed.push(index);
      }
    };
    // All are pinned before anything is waited for.
    await Promise.all([...byHalf].map(([half, some]) => this.#pinned(half, () => readHalf(half, some))));
    return failed;
  }

  /** Durable entries in order; ends where the durable tail is when it gets there. */
  async *entries(fromSequence: number): AsyncGenerator<EntryView, void, undefined> {
    const { arena } = this.#options.kernel;
    let sequence = fromSequence;
    if (sequence > this.#options.durable()) return;
    const scratch = await arena.lease(WINDOW_BYTES);
    try {
      while (sequence <= this.#options.durable()) {
        const half = this.#options.halves.withSequence(sequence);
        if (half === undefined) throw notHeld(sequence);
        this.#options.halves.pin(half);
        try {
          sequence = yield* this.#entriesOf(half, sequence, scratch);
        } finally {
          this.#unpin(half);
        }
      }
    } finally {
      arena.free(scratch);
    }
  }

  /** The checksum of that durable entry, or null if it is not held. */
  async chainAt(sequence: number): Promise<bigint | null> {
    const { halves } = this.#options;
    if (sequence === halves.first.before.sequence) return halves.first.before.chain;
    const half = halves.withSequence(sequence);
    if (half === undefined || sequence > this.#options.durable()) return null;
    const next = halves.all.find((each) => each.before.sequence === sequence);
    if (next !== undefined) return next.before.chain;
    for await (const { bytes } of this.entries(sequence)) {
      const own: Checksum = { low: 0, high: 0 };
      readOwnChecksum(this.#options.kernel.view, bytes.byteOffset, own);
      return bigintOf(own);
    }
    return null;
  }

  /** Returns the sequence that comes next. */
  async *#entriesOf(half: LogHalf, from: number, scratch: Uint8Array): AsyncGenerator<EntryView, number> {
    const mark = half.markBefore(from);
    const cursor: Cursor = { sequence: mark.sequence, offset: mark.offset, chain: checksumOf(mark.chain) };
    while (cursor.sequence <= this.#through(half)) {
      const piece = await this.#load(half, cursor, scratch);
      const start = cursor.offset;
      // What does not lie in this piece as a whole, or is wrong in it, is at the start of the next one.
      for (;;) {
        const at = cursor.offset - start;
        const isBeyond = at >= piece.length || cursor.sequence > this.#through(half);
        const header = isBeyond ? null : this.#check(piece.subarray(at), cursor);
        if (header === null) break;
        const view = entryView(half, cursor.offset, header, piece.subarray(at));
        this.#advance(cursor, view.bytes, header);
        if (view.sequence >= from) yield view;
      }
    }
    return cursor.sequence;
  }

  /** The last entry of the half that may be read now. */
  #through(half: LogHalf): number {
    return Math.min(half.lastSequence, this.#options.durable());
  }

  /** Reads a piece of the half that starts at the cursor, from a copy whose first entry there is valid. */
  async #load(half: LogHalf, cursor: Cursor, scratch: Uint8Array): Promise<Uint8Array> {
    const piece = scratch.subarray(0, Math.min(scratch.length, half.endOffset - cursor.offset));
    const spoiled: LogCopy[] = [];
    for (const copy of this.#options.copies.current) {
      const isRead = await tryRead(copy, half.slot, cursor.offset, piece);
      const header = isRead ? this.#check(piece, cursor) : null;
      if (header === null) spoiled.push(copy);
      else {
        const bytes = piece.subarray(0, paddedBytes(header.payloadBytes));
        await this.#heal(spoiled, half.slot, cursor.offset, bytes);
        return piece;
      }
    }
    const text = `log: no copy holds entry ${cursor.sequence} any more, at ${cursor.offset} of file ${half.slot}`;
    throw new MirrorvolError("ERR_LOG_CORRUPT", text);
  }

  #check(piece: Uint8Array, cursor: Cursor): EntryHeader | null {
    const { kernel } = this.#options;
    const header = readHeader(kernel, piece.byteOffset, piece.length);
    if (header === null || header.sequence !== cursor.sequence) return null;
    if (!isPrevious(kernel.view, piece.byteOffset, cursor.chain)) return null;
    const isThere = isPayloadThere(kernel, piece.byteOffset, header, piece.length);
    return isThere ? header : null;
  }

  #advance(cursor: Cursor, entry: Uint8Array, header: EntryHeader): void {
    readOwnChecksum(this.#options.kernel.view, entry.byteOffset, cursor.chain);
    cursor.sequence += 1;
    cursor.offset += paddedBytes(header.payloadBytes);
  }

  async #readVerified(
    half: LogHalf,
    offset: number,
    out: Uint8Array,
    verify: (bytes: Uint8Array) => boolean,
  ): Promise<void> {
    const spoiled: LogCopy[] = [];
    for (const copy of this.#options.copies.current) {
      const isRead = await tryRead(copy, half.slot, offset, out);
      if (isRead && verify(out)) return this.#heal(spoiled, half.slot, offset, out);
      spoiled.push(copy);
    }
    const text = `log: no copy holds valid bytes at ${offset} of file ${half.slot}`;
    throw new MirrorvolError("ERR_LOG_CORRUPT", text);
  }

  async #heal(spoiled: readonly LogCopy[], slot: number, offset: number, bytes: Uint8Array): Promise<void> {
    for (const copy of spoiled)
      await this.#options.copies.heal(copy, slot, { kind: "write", offset, buffer: bytes });
  }

  async #pinned(half: LogHalf, work: () => Promise<void>): Promise<void> {
    this.#options.halves.pin(half);
    try {
      await work();
    } finally {
      this.#unpin(half);
    }
  }

  #unpin(half: LogHalf): void {
    if (this.#options.halves.unpin(half)) this.#options.onFreed();
  }
}

function entryView(half: LogHalf, offset: number, header: EntryHeader, from: Uint8Array): EntryView {
  const bytes = from.subarray(0, ENTRY_HEADER_BYTES + header.payloadBytes);
  return {
    sequence: header.sequence,
    kind: header.kind,
    lba: header.lba,
    blockCount: header.blockCount,
    generation: header.generation,
    generationId: header.generationId,
    durableThrough: header.durableThrough,
    location: packLocation(half.number, offset),
    bytes,
    payload: bytes.subarray(ENTRY_HEADER_BYTES),
  };
}

async function tryRead(copy: LogCopy, slot: number, offset: number, into: Uint8Array): Promise<boolean> {
  try {
    await readDisk(copy.disks[slot]!, offset, into);
    return true;
  } catch {
    return false;
  }
}

function notHeld(sequence: number): MirrorvolError {
  return new MirrorvolError("ERR_LOG_RANGE", `log: entry ${sequence} is not held any more`);
}
