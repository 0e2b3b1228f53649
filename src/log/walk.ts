// The walk along the chain: from the applied position on, entry by entry, each taken from any copy that has
// it, and written to the copies that do not.
//
// An entry is taken only where it must lie, with the sequence that comes next, and when it names the checksum
// of the entry before it. So nothing of an older use of a file, and nothing that was cut off and replaced,
// can be taken; nor an entry of a generation that had ended before it (lineage.ts). Headers of halves are not
// needed to walk: the chain says more than they do.

import { ENTRY_KIND_SEAL, LOG_ENTRIES_OFFSET, LOG_HALF_COUNT, SECTOR_BYTES } from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { halfPath, type LogCopies } from "./copies.ts";
import {
  bigintOf,
  type Checksum,
  checksumOf,
  type EntryHeader,
  isOwnChecksum,
  isPayloadThere,
  isPrevious,
  paddedBytes,
  readHeader,
  readOwnChecksum,
  SEAL_BYTES,
} from "./entry_codec.ts";
import type { FileWindow } from "./file_window.ts";
import { LogHalf } from "./half.ts";
import type { Lineage } from "./lineage.ts";
import type { Generation, LogPosition } from "./types.ts";

export interface WalkOptions {
  readonly kernel: Kernel;
  readonly copies: LogCopies;
  readonly windows: readonly FileWindow[];
  readonly applied: LogPosition;
  readonly lineage: Lineage;
}

export class ChainWalk {
  /** Entries that were written to a copy that lacked them, a copy at a time. */
  repaired = 0;
  /** No copy that could be read to the end says that there is nothing behind the last entry. */
  isEndUnreadable = false;
  readonly generations = new Map<string, Generation>();
  readonly #kernel: Kernel;
  readonly #copies: LogCopies;
  readonly #windows: readonly FileWindow[];
  readonly #lineage: Lineage;
  readonly #chain: Checksum;
  #sequence: number;

  constructor({ kernel, copies, windows, applied, lineage }: WalkOptions) {
    this.#kernel = kernel;
    this.#copies = copies;
    this.#windows = windows;
    this.#lineage = lineage;
    this.#chain = checksumOf(applied.chain);
    this.#sequence = applied.sequence;
  }

  get tail(): LogPosition {
    return { sequence: this.#sequence, chain: bigintOf(this.#chain) };
  }

  /** The halves from that one on, as far as the chain goes. Begins the next one if the last is sealed. */
  async run(firstNumber: number): Promise<LogHalf[]> {
    const halves: LogHalf[] = [];
    for (let number = firstNumber; halves.length < LOG_HALF_COUNT; number += 1) {
      const half = new LogHalf(number, this.tail);
      halves.push(half);
      await this.#walkHalf(half);
      if (!half.isSealed) break;
    }
    return halves;
  }

  /** Whether some copy has, at the start of that file, the entry that comes next. */
  async startsIn(slot: number): Promise<boolean> {
    for (const window of this.#current) {
      if ((await this.#check(window, slot, LOG_ENTRIES_OFFSET)) !== null) return true;
    }
    return false;
  }

  get #current(): FileWindow[] {
    return this.#windows.filter((window) => window.copy.state === "current");
  }

  async #walkHalf(half: LogHalf): Promise<void> {
    while (!half.isSealed) {
      if (half.isMarkDue) half.mark(bigintOf(this.#chain));
      const header = await this.#step(half.slot, half.endOffset);
      if (header === null) return;
      half.add(paddedBytes(header.payloadBytes), header.kind === ENTRY_KIND_SEAL);
    }
  }

  /** The next entry, in every current copy when this returns; null where the chain ends. */
  async #step(slot: number, offset: number): Promise<EntryHeader | null> {
    let good: FileWindow | null = null;
    let header: EntryHeader | null = null;
    const bad: FileWindow[] = [];
    for (const window of this.#current) {
      const found = await this.#check(window, slot, offset);
      if (found === null) bad.push(window);
      else if (good === null) [good, header] = [window, found];
      else this.#refuseDifference(good, window, slot, offset);
    }
    if (good === null || header === null) {
      this.isEndUnreadable = bad.every((window) => this.#isUnreadable(window, slot, offset));
      return null;
    }
    await this.#repair(good, bad, slot, offset, paddedBytes(header.payloadBytes));
    readOwnChecksum(this.#kernel.view, good.at(offset), this.#chain);
    this.#sequence = header.sequence;
    this.#note(header);
    return header;
  }

  async #check(window: FileWindow, slot: number, offset: number): Promise<EntryHeader | null> {
    await window.seek(slot, offset, SECTOR_BYTES);
    const header = readHeader(this.#kernel, window.at(offset), window.roomAt(slot, offset));
    if (header === null || header.sequence !== this.#sequence + 1) return null;
    if (header.sequence > this.#lineage.endOf(header.generation)) return null;
    if (!isPrevious(this.#kernel.view, window.at(offset), this.#chain)) return null;
    const bytes = paddedBytes(header.payloadBytes);
    const reserved = header.kind === ENTRY_KIND_SEAL ? 0 : SEAL_BYTES;
    if (offset + bytes + reserved > this.#copies.halfBytes) return null;
    await window.seek(slot, offset, bytes);
    const isThere = isPayloadThere(this.#kernel, window.at(offset), header, window.roomAt(slot, offset));
    return isThere ? header : null;
  }

  /** Whether the copy's part in the missing entry could not be read: a crash does not do that to a disk. */
  #isUnreadable(window: FileWindow, slot: number, offset: number): boolean {
    const header = readHeader(this.#kernel, window.at(offset), window.roomAt(slot, offset));
    const bytes = header === null ? SECTOR_BYTES : paddedBytes(header.payloadBytes);
    return window.isUnreadable(slot, offset, bytes);
  }

  /** Two valid entries with the same predecessor: the copies were written apart. */
  #refuseDifference(good: FileWindow, other: FileWindow, slot: number, offset: number): void {
    const own: Checksum = { low: 0, high: 0 };
    readOwnChecksum(this.#kernel.view, good.at(offset), own);
    if (isOwnChecksum(this.#kernel.view, other.at(offset), own)) return;
    const [left, right] = [good, other].map((window) => halfPath(window.copy.prefix, slot));
    const text = `log: ${left} and ${right} hold different entries ${this.#sequence + 1}`;
    throw new MirrorvolError("ERR_LOG_DIVERGED", text);
  }

  async #repair(good: FileWindow, bad: FileWindow[], slot: number, offset: number, bytes: number) {
    for (const { copy } of bad) {
      await this.#copies.write(copy, slot, [{ kind: "write", offset, buffer: good.bytes(offset, bytes) }]);
      this.repaired += 1;
    }
  }

  #note(header: EntryHeader): void {
    const key = `${header.generation}:${header.generationId}`;
    if (this.generations.has(key)) return;
    this.generations.set(key, { number: header.generation, id: header.generationId });
  }
}
