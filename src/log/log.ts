// The log: every write, trim and marker of a volume, in order, in preallocated files on several devices.
//
//     append (source) / adopt (mirror)
//        -> encoded once in the ring (ring.ts), chained to its predecessor
//        -> batches to every copy, one sync each (writer.ts) -> onDurable, whenDurable
//     entries, read, chainAt <- the files (reader.ts)
//     open <- recovery (recovery.ts)
//
// Invariants:
//   - sequences are dense, an entry's place in the files is determined by the entries before it;
//   - a half ends with a seal, and the next one begins only when its file is free;
//   - what `durable` covers is on every current copy; what recovery cuts off was never covered by it.
//
// Whose turn it is when `append` returns null: if `needsSeal`, append a seal as soon as `canSeal`; otherwise
// wait for `onSpace`. The owner calls `releaseThrough` when nothing sends an entry's bytes any more, and
// `freeThrough` when the image that includes a seal is durable wherever it must be.

import {
  BLOCK_BYTES,
  ENTRY_HEADER_BYTES,
  ENTRY_KIND_SEAL,
  ENTRY_PAYLOAD_MAX,
} from "../../assembly/format.ts";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import { LogCopies } from "./copies.ts";
import { EntryEncoder } from "./encoder.ts";
import {
  bigintOf,
  type Checksum,
  ENTRY_BYTES_MAX,
  paddedBytes,
  payloadBytesOf,
  readOwnChecksum,
} from "./entry_codec.ts";
import { HalfRow, type LogHalf } from "./half.ts";
import { packLocation } from "./location.ts";
import { LogReader } from "./reader.ts";
import { type Recovered, recoverLog } from "./recovery.ts";
import { resetFiles } from "./reset.ts";
import { Ring } from "./ring.ts";
import type {
  AppendedEntry,
  CopyState,
  EntryView,
  Generation,
  HalfStatus,
  LogOptions,
  LogPosition,
  LogStart,
  Recovery,
} from "./types.ts";
import { LogWriter } from "./writer.ts";

export { type CreateLogOptions, createLog, HALF_BYTES_MIN } from "./create.ts";
export type * from "./types.ts";

const RING_BYTES = 8 * 1024 * 1024;
export const RING_BYTES_MIN = 2 * ENTRY_BYTES_MAX;

/** Where the next entry goes. */
interface Place {
  readonly half: LogHalf;
  readonly ringOffset: number;
  readonly bytes: number;
}

export class Log {
  readonly #options: LogOptions;
  readonly #copies: LogCopies;
  readonly #halves: HalfRow;
  readonly #ringView: Uint8Array;
  readonly #ring: Ring;
  readonly #writer: LogWriter;
  readonly #reader: LogReader;
  readonly #encoder: EntryEncoder;
  #recovery: Recovery;
  /** What the mirror is known to have synced; entries say how far it is behind. Infinity: there is none that counts. */
  mirrorDurable = Number.POSITIVE_INFINITY;
  /** An append was refused since the last onSpace. */
  #isSpaceWanted = false;
  #resetting: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  /**
   * Recovers what the trusted copies hold behind `applied`. A trusted copy that is missing or fails is
   * reported through onCopyFailed before this returns.
   */
  static async open(options: LogOptions & LogStart): Promise<Log> {
    const trusted = options.trustedCopies ?? options.prefixes.map(() => true);
    assert(trusted.length === options.prefixes.length, "log: one trust flag for each copy");
    const ringBytes = options.ringBytes ?? RING_BYTES;
    assert(ringBytes >= RING_BYTES_MIN, `log: a ring of ${ringBytes} bytes, at least ${RING_BYTES_MIN}`);
    const copies = await LogCopies.open(options, trusted);
    try {
      const recovered = await recoverLog(options.kernel, copies, options);
      await copies.reportMissing();
      return new Log(options, copies, recovered, await options.kernel.arena.lease(ringBytes));
    } catch (error) {
      await copies.close();
      throw error;
    }
  }

  private constructor(
    options: LogOptions & LogStart,
    copies: LogCopies,
    recovered: Recovered,
    ringView: Uint8Array,
  ) {
    const { tail, stale, recovery } = recovered;
    this.#recovery = recovery;
    this.#options = options;
    this.#copies = copies;
    this.#halves = new HalfRow(copies.halfBytes, recovered.halves);
    this.#ringView = ringView;
    this.#ring = new Ring(ringView.length - (ringView.length % paddedBytes(0)));
    this.#encoder = new EntryEncoder(options.kernel, tail, options.generation);
    this.#writer = new LogWriter({
      copies,
      halves: this.#halves,
      ring: this.#ring,
      ringView,
      durable: tail.sequence,
      stale,
      requiredThrough: recovery.requiredThrough,
      onDurable: options.onDurable,
      onFreed: () => this.#offerSpace(),
      onFailed: options.onFailed,
    });
    this.#reader = new LogReader({
      kernel: options.kernel,
      copies,
      halves: this.#halves,
      durable: () => this.#writer.durable,
      onFreed: () => this.#offerSpace(),
    });
  }

  /** What was found when the log was opened. What was given up since, or lay before a reset, is required no more. */
  get recovery(): Recovery {
    return this.#recovery;
  }

  /** The last entry that was appended. */
  get tail(): LogPosition {
    return this.#encoder.tail;
  }

  get durable(): number {
    return this.#writer.durable;
  }

  /** Room for entries in one half: each takes its header and payload, rounded up to sectors. */
  get halfPayloadBytes(): number {
    return this.#halves.roomBytes;
  }

  /** The largest payload that an entry can have here, in whole blocks: it must fit an empty half. */
  get entryPayloadMax(): number {
    const room = this.#halves.roomBytes - ENTRY_HEADER_BYTES;
    return Math.min(ENTRY_PAYLOAD_MAX, room - (room % BLOCK_BYTES));
  }

  /** The oldest entry that is held; tail + 1 when there is none. */
  get firstSequence(): number {
    return this.#halves.first.firstSequence;
  }

  /** Used for new entries. */
  get generation(): Generation {
    return this.#encoder.generation;
  }

  set generation(generation: Generation) {
    assert(generation.number >= this.generation.number, "log: a generation never goes back");
    this.#encoder.generation = generation;
  }

  get copies(): readonly { readonly path: string; readonly state: CopyState }[] {
    return this.#copies.all.map(({ prefix, state }) => ({ path: prefix, state }));
  }

  /** True when an entry with that payload does not fit the current half any more. */
  needsSeal(payloadBytes: number): boolean {
    return !this.#halves.last.isSealed && !this.#halves.hasRoom(paddedBytes(payloadBytes));
  }

  /** Whether a seal can be appended: the half behind it is free. */
  get canSeal(): boolean {
    return this.#beginNextHalf() && this.#halves.isNextFree;
  }

  /**
   * Encodes an entry into the ring and sends it on its way; the payload is copied once. Null when the ring or
   * the half has no room now.
   */
  append(
    kind: number,
    lba: number,
    blockCount: number,
    payload: readonly Uint8Array[] | null,
  ): AppendedEntry | null {
    this.#assertUsable();
    const payloadBytes = payload === null ? 0 : payloadBytesOf(payload);
    assert(payloadBytes <= this.entryPayloadMax, `log: a payload of ${payloadBytes} bytes is too large`);
    const place = this.#findPlace(kind, payloadBytes);
    if (place === null) return null;
    const at = this.#ringView.byteOffset + place.ringOffset;
    const content = { kind, lba, blockCount, payload, payloadBytes };
    const { durable } = this.#writer;
    const lag = Math.max(0, durable - this.mirrorDurable);
    this.#encoder.encode(at, content, durable, lag);
    return this.#accept(place, kind, payloadBytes, true);
  }

  /**
   * Takes one whole encoded entry from a peer, checks all of it, and goes on as `append` does. Throws
   * ERR_ENTRY_* for one that does not come next; null when there is no room now.
   */
  adopt(entry: Uint8Array): AppendedEntry | null {
    this.#assertUsable();
    const payloadBytes = entry.length - ENTRY_HEADER_BYTES;
    const isEntry = payloadBytes >= 0 && payloadBytes <= ENTRY_PAYLOAD_MAX;
    if (!isEntry)
      throw new MirrorvolError("ERR_ENTRY_FORMAT", `log entry: ${entry.length} bytes are no entry`);
    // The ring has room for the entry first of all: it is checked where it will stay.
    const ringOffset = this.#ring.find(paddedBytes(payloadBytes));
    if (ringOffset < 0) return this.#refuse();
    const at = this.#ringView.byteOffset + ringOffset;
    this.#options.kernel.bytes.set(entry, at);
    const header = this.#encoder.checkNext(at, entry.length);
    const place = this.#findPlace(header.kind, payloadBytes);
    return place === null ? null : this.#accept(place, header.kind, payloadBytes, false);
  }

  /** Rejects with ERR_LOG_FAILED when no copy is left, ERR_LOG_CLOSED when the log was closed before. */
  whenDurable(sequence: number, signal?: AbortSignal): Promise<void> {
    const isTooLate = this.#closing !== null && sequence > this.#encoder.sequence;
    return isTooLate ? Promise.reject(closedError()) : this.#writer.whenDurable(sequence, signal);
  }

  /**
   * Makes the tail the end, whatever recovery says was durable behind it: a later recovery finds nothing missing.
   * Nothing may be appended meanwhile.
   */
  async giveUpLost(): Promise<void> {
    this.#assertUsable();
    await this.#writer.giveUpLost();
    this.#requireNothingBehind(this.tail.sequence);
  }

  releaseThrough(sequence: number): void {
    this.#writer.releaseThrough(sequence);
  }

  /** Halves whose seal is at or before that entry may be used again. */
  freeThrough(sequence: number): void {
    assert(sequence <= this.#writer.durable, `log: ${sequence} is freed, ${this.#writer.durable} is durable`);
    if (this.#halves.freeThrough(sequence)) this.#offerSpace();
  }

  /**
   * Reads payload back from the files; the location is an entry's, plus the index of a block. `verify` sees
   * each copy's bytes until it accepts some; a copy with others is healed. Throws ERR_LOG_CORRUPT if none do.
   */
  readonly read: LogReader["read"] = (...all) => this.#reader.read(...all);

  /** The same for many blocks at once; resolves with those that cannot be had, and why. */
  readonly readBlocks: LogReader["readBlocks"] = (...all) => this.#reader.readBlocks(...all);

  /** Durable entries from that one on, verified; ends at the durable tail. ERR_LOG_RANGE if it is not held. */
  entries(fromSequence: number): AsyncIterable<EntryView> {
    return this.#reader.entries(fromSequence);
  }

  /** The checksum of that entry's header, or of the position before the first; null when it is not held. */
  async chainAt(sequence: number): Promise<bigint | null> {
    if (sequence === this.#encoder.sequence) return this.#encoder.chain;
    const entry = this.#writer.find(sequence);
    if (entry === null) return this.#reader.chainAt(sequence);
    const own: Checksum = { low: 0, high: 0 };
    readOwnChecksum(this.#options.kernel.view, entry.view.byteOffset, own);
    return bigintOf(own);
  }

  /**
   * Forgets every entry, durably: the next one is position.sequence + 1 with that chain, in a fresh half. Call
   * it before the image at `position` is committed; a crash in between leaves an empty log, never a wrong one.
   */
  async reset(position: LogPosition, generation: Generation): Promise<void> {
    this.#assertUsable();
    this.#resetting = this.#reset(position, generation);
    try {
      await this.#resetting;
    } finally {
      this.#resetting = null;
    }
    this.#offerSpace();
  }

  status(): HalfStatus[] {
    return this.#halves.status();
  }

  /** Writes what was appended, then closes the files. Nobody may use entries' views after it. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #reset(position: LogPosition, generation: Generation): Promise<void> {
    await this.#writer.drain();
    assert(!this.#halves.isAnyPinned, "log: a reset while somebody reads");
    const half = await resetFiles(this.#copies, this.#halves.last.number + 1, position, generation);
    this.#halves.replace(half);
    this.#writer.restart(position.sequence);
    this.#encoder.goTo(position);
    this.generation = generation;
    this.#requireNothingBehind(position.sequence);
  }

  #requireNothingBehind(sequence: number): void {
    this.#recovery = { ...this.#recovery, requiredThrough: sequence };
  }

  async #close(): Promise<void> {
    await this.#resetting?.catch(() => {});
    await this.#writer.drain();
    this.#writer.rejectWaiters(closedError());
    await this.#copies.close();
    this.#options.kernel.arena.free(this.#ringView);
  }

  #assertUsable(): void {
    if (this.#writer.failure !== null) throw this.#writer.failure;
    if (this.#closing !== null) throw closedError();
    assert(this.#resetting === null, "log: it is being reset");
  }

  #findPlace(kind: number, payloadBytes: number): Place | null {
    if (!this.#beginNextHalf()) return this.#refuse();
    const bytes = paddedBytes(payloadBytes);
    const hasRoom = kind === ENTRY_KIND_SEAL ? this.#halves.isNextFree : this.#halves.hasRoom(bytes);
    const ringOffset = hasRoom ? this.#ring.find(bytes) : -1;
    return ringOffset < 0 ? this.#refuse() : { half: this.#halves.last, ringOffset, bytes };
  }

  #refuse(): null {
    this.#isSpaceWanted = true;
    return null;
  }

  /** False while the last half is sealed and the one behind it is not free. */
  #beginNextHalf(): boolean {
    if (!this.#halves.last.isSealed) return true;
    if (!this.#halves.isNextFree) return false;
    this.#halves.begin(this.tail);
    return true;
  }

  #accept(place: Place, kind: number, payloadBytes: number, isOwn: boolean): AppendedEntry {
    const { half, ringOffset, bytes } = place;
    const entryBytes = ENTRY_HEADER_BYTES + payloadBytes;
    this.#ringView.fill(0, ringOffset + entryBytes, ringOffset + bytes);
    if (half.isMarkDue) half.mark(this.#encoder.chain);
    const fileOffset = half.endOffset;
    const entry = {
      sequence: this.#encoder.sequence + 1,
      location: packLocation(half.number, fileOffset),
      view: this.#ringView.subarray(ringOffset, ringOffset + entryBytes),
      half,
      fileOffset,
      ringOffset,
      paddedBytes: bytes,
      takenBytes: this.#ring.take(ringOffset, bytes),
      isOwn,
      generation: this.generation,
    };
    this.#encoder.advance(entry.view.byteOffset);
    half.add(bytes, kind === ENTRY_KIND_SEAL);
    this.#beginNextHalf();
    this.#writer.add(entry);
    return entry;
  }

  #offerSpace(): void {
    if (!this.#isSpaceWanted) return;
    this.#isSpaceWanted = false;
    this.#options.onSpace();
  }
}

function closedError(): MirrorvolError {
  return new MirrorvolError("ERR_LOG_CLOSED", "log: it is closed");
}
