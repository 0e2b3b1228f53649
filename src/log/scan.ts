// The scan: what lies in the files outside the chain, found sector by sector.
//
// Two things are looked for (rule 4 of the failure rules):
//   - evidence: the highest sequence that was durable, as any entry or half header of ours claims. A half's
//     header is written when the half before it is durable to its seal, so it claims that seal;
//   - stale entries and headers: valid, with sequences beyond the tail. They were never durable (or are
//     waiting for what lies before them to be brought back), and must be erased before new entries with the
//     same sequences are written: a rewritten predecessor could be the same to the last bit.
//
// Payload is never taken for entries: the chain's part of a half is left out, and the payload of a valid
// entry is skipped. A torn entry may still show a piece of a client's data that is a log of its own (a volume
// within a volume), so evidence counts only in a generation of ours, and only for what that one covers.

import { ENTRY_MAGIC, ENTRY_MAGIC_AT, LOG_ENTRIES_OFFSET, SECTOR_BYTES } from "../../assembly/format.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { LogCopies, LogCopy } from "./copies.ts";
import { type EntryHeader, isPayloadThere, paddedBytes, readHeader } from "./entry_codec.ts";
import type { FileWindow } from "./file_window.ts";
import type { LogHalf } from "./half.ts";
import { UNUSED } from "./half_header.ts";
import type { Lineage } from "./lineage.ts";
import type { Generation, LogStart } from "./types.ts";

/** A sector to erase in one copy; at offset 0 it is a half's header. */
export interface StalePlace {
  readonly copy: LogCopy;
  readonly slot: number;
  readonly offset: number;
}

export interface ScanResult {
  /** Highest sequence that something claims was durable; 0 if nothing does. */
  readonly durableThrough: number;
  readonly stale: StalePlace[];
}

export interface ScanOptions {
  readonly kernel: Kernel;
  readonly copies: LogCopies;
  readonly tailSequence: number;
  /** Its generation is the newest that there can be. */
  readonly start: LogStart;
  /** Those that the log is known to hold. */
  readonly known: ReadonlyMap<string, Generation>;
  readonly lineage: Lineage;
}

export class LogScan {
  readonly #kernel: Kernel;
  readonly #copies: LogCopies;
  readonly #tailSequence: number;
  readonly #generation: Generation;
  readonly #isMirror: boolean;
  readonly #known: ReadonlyMap<string, Generation>;
  readonly #lineage: Lineage;
  readonly #stale: StalePlace[] = [];
  #durableThrough = 0;

  constructor({ kernel, copies, tailSequence, start, known, lineage }: ScanOptions) {
    this.#kernel = kernel;
    this.#copies = copies;
    this.#tailSequence = tailSequence;
    this.#generation = start.generation;
    this.#isMirror = start.isMirror ?? false;
    this.#known = known;
    this.#lineage = lineage;
  }

  async run(windows: readonly FileWindow[], halves: readonly LogHalf[]): Promise<ScanResult> {
    for (const window of windows) {
      if (window.copy.state !== "current") continue;
      for (let slot = 0; slot < window.copy.disks.length; slot += 1) {
        const half = halves.find((each) => each.slot === slot);
        this.#lookAtHeader(window.copy, slot, half);
        await this.#scanFile(window, slot, half?.endOffset ?? LOG_ENTRIES_OFFSET);
      }
    }
    return { durableThrough: this.#durableThrough, stale: this.#stale };
  }

  #lookAtHeader(copy: LogCopy, slot: number, half: LogHalf | undefined): void {
    const header = copy.headers[slot];
    if (header === null || header === undefined || header.startSequence === 0) return;
    const isLive =
      half !== undefined &&
      half.firstSequence === header.startSequence &&
      half.before.chain === header.startChain;
    if (isLive || header.startSequence <= this.#tailSequence) return;
    // In a half that holds entries of the chain it has been replaced already.
    if (half === undefined || half.isEmpty) this.#stale.push({ copy, slot, offset: 0 });
    this.#claim(header.generation, header.startSequence - 1);
  }

  async #scanFile(window: FileWindow, slot: number, from: number): Promise<void> {
    const { view } = this.#kernel;
    let offset = from;
    while (offset < this.#copies.halfBytes) {
      await window.seek(slot, offset, SECTOR_BYTES);
      const end = offset + window.roomAt(slot, offset);
      // Most sectors are no headers: they are passed over without leaving this loop.
      while (offset < end && view.getUint32(window.at(offset) + ENTRY_MAGIC_AT, true) !== ENTRY_MAGIC) {
        offset += SECTOR_BYTES;
      }
      if (offset < end) offset += await this.#lookAtEntry(window, slot, offset);
    }
  }

  /** Returns how far to go on: a sector, or the whole entry if its payload is valid too. */
  async #lookAtEntry(window: FileWindow, slot: number, offset: number): Promise<number> {
    const header = readHeader(this.#kernel, window.at(offset), window.roomAt(slot, offset));
    if (header === null) return SECTOR_BYTES;
    this.#visit(header, { copy: window.copy, slot, offset });
    const bytes = paddedBytes(header.payloadBytes);
    await window.seek(slot, offset, bytes);
    const isWhole = isPayloadThere(this.#kernel, window.at(offset), header, window.roomAt(slot, offset));
    return isWhole ? bytes : SECTOR_BYTES;
  }

  #visit(header: EntryHeader, place: StalePlace): void {
    if (header.sequence > this.#tailSequence) this.#stale.push(place);
    // What the source had synced is no promise of the mirror's disk; what the mirror had confirmed is.
    const durableThrough = header.durableThrough - (this.#isMirror ? header.mirrorLag : 0);
    this.#claim({ number: header.generation, id: header.generationId }, durableThrough);
  }

  #claim(by: Generation, sequence: number): void {
    if (!this.#isOurs(by)) return;
    const covered = Math.min(sequence, this.#lineage.endOf(by.number));
    this.#durableThrough = Math.max(this.#durableThrough, covered);
  }

  #isOurs(generation: Generation): boolean {
    const { number, id } = this.#generation;
    if (generation.number === number) return generation.id === id;
    return generation.number < number && this.#known.has(`${generation.number}:${generation.id}`);
  }
}

const ZERO_SECTOR = new Uint8Array(SECTOR_BYTES);
const OPERATIONS_MAX = 256;

/** Erases stale sectors, durably. */
export async function eraseStale(copies: LogCopies, stale: readonly StalePlace[]): Promise<void> {
  for (const copy of copies.current) {
    for (let slot = 0; slot < copy.disks.length; slot += 1) {
      const places = stale.filter((place) => place.copy === copy && place.slot === slot);
      await eraseIn(copies, copy, slot, places);
    }
  }
  if (stale.length > 0) await copies.syncAll();
}

async function eraseIn(copies: LogCopies, copy: LogCopy, slot: number, places: readonly StalePlace[]) {
  for (let done = 0; done < places.length && copy.state === "current"; done += OPERATIONS_MAX) {
    const operations = places.slice(done, done + OPERATIONS_MAX).map(({ offset }) => ({
      kind: "write" as const,
      offset,
      buffer: offset === 0 ? copies.encodeHeader(copy, slot, UNUSED) : ZERO_SECTOR,
    }));
    await copies.write(copy, slot, operations);
  }
}
