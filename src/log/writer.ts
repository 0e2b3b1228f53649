// Group commit: entries gather in the ring while a batch is on its way to the copies, and go out together.
//
// Invariants:
//   - one batch at a time; it starts two microtasks after the first append that finds none in flight, so entries
//     appended in the same turn go together and nothing waits for company. (Two: whoever sends them to a mirror does so
//     after one. That way is the longer one, and asking a thread to write can cost tens of microseconds.);
//   - a batch stays within one half. So a half's header, which goes out with the half's first batch, is
//     written only when the half before it is durable to its seal: recovery counts on that;
//   - `durable` moves when every current copy has synced the batch and lost copies are recorded;
//   - an entry leaves the ring when it is durable and released; only then its bytes may change;
//   - while a recovery left stale entries (see scan.ts), a batch does not go beyond what had been durable
//     once; the stale ones are erased before anything newer is written over or beside them.

import type { DiskOperation } from "../io/disk.ts";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import type { LogCopies, LogCopy } from "./copies.ts";
import type { HalfRow, LogHalf } from "./half.ts";
import type { Ring } from "./ring.ts";
import { eraseStale, type StalePlace } from "./scan.ts";
import type { AppendedEntry, Generation } from "./types.ts";
import { Waiters } from "./waiters.ts";

export interface RingEntry extends AppendedEntry {
  readonly half: LogHalf;
  /** Where it starts in its file and in the ring, and how long it is there with its padding. */
  readonly fileOffset: number;
  readonly ringOffset: number;
  readonly paddedBytes: number;
  /** What the ring gets back. */
  readonly takenBytes: number;
  /** Not an entry that a peer had before us: it begins a branch if something is missing before it. */
  readonly isOwn: boolean;
  readonly generation: Generation;
}

export interface WriterOptions {
  readonly copies: LogCopies;
  readonly halves: HalfRow;
  readonly ring: Ring;
  readonly ringView: Uint8Array;
  readonly durable: number;
  readonly stale: readonly StalePlace[];
  readonly requiredThrough: number;
  readonly onDurable: (sequence: number) => void;
  /** Ring space was freed. */
  readonly onFreed: () => void;
  readonly onFailed: (error: Error) => void;
}

/** Removed entries stay at the front of the queue until there are so many. */
const COMPACT_AT = 1024;

export class LogWriter {
  readonly #options: WriterOptions;
  /** By sequence, without gaps; those before `#oldest` have left the ring. */
  #entries: RingEntry[] = [];
  #oldest = 0;
  /** Index of the first entry that is not durable. */
  #next = 0;
  #durable: number;
  #released: number;
  #stale: readonly StalePlace[];
  #requiredThrough: number;
  #running: Promise<void> | null = null;
  #failure: MirrorvolError | null = null;
  readonly #waiters = new Waiters();

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#durable = options.durable;
    this.#released = options.durable;
    this.#stale = options.stale;
    this.#requiredThrough = options.requiredThrough;
  }

  get durable(): number {
    return this.#durable;
  }

  get failure(): MirrorvolError | null {
    return this.#failure;
  }

  add(entry: RingEntry): void {
    this.#entries.push(entry);
    this.#running ??= this.#runSoon();
  }

  /** The entry if it is still in the ring. */
  find(sequence: number): RingEntry | null {
    const first = this.#entries[this.#oldest];
    if (first === undefined || sequence < first.sequence) return null;
    return this.#entries[this.#oldest + sequence - first.sequence] ?? null;
  }

  whenDurable(sequence: number, signal?: AbortSignal): Promise<void> {
    if (sequence <= this.#durable) return Promise.resolve();
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return this.#waiters.wait(sequence, signal);
  }

  releaseThrough(sequence: number): void {
    if (sequence <= this.#released) return;
    this.#released = sequence;
    this.#freeRing();
  }

  /** Resolves when nothing is on its way: everything is durable, or the log has failed. */
  async drain(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  rejectWaiters(error: Error): void {
    this.#waiters.rejectAll(error);
  }

  /** What recovery missed is given up, durably: nothing says any more that it was there. */
  async giveUpLost(): Promise<void> {
    await this.drain();
    const isLive = ({ slot, offset }: StalePlace) => {
      const half = this.#options.halves.all.find((each) => each.slot === slot);
      return half !== undefined && (offset === 0 ? half.isHeaderWritten : offset < half.endOffset);
    };
    await eraseStale(
      this.#options.copies,
      this.#stale.filter((place) => !isLive(place)),
    );
    this.#stale = [];
    this.#requiredThrough = this.#durable;
  }

  /** Empties the ring and goes on from another position. Nothing may be on its way. */
  restart(durable: number): void {
    assert(this.#running === null, "log: a batch is in flight");
    this.#released = Number.MAX_SAFE_INTEGER;
    this.#freeRing();
    this.#durable = durable;
    this.#released = durable;
    this.#stale = [];
    this.#requiredThrough = durable;
  }

  async #runSoon(): Promise<void> {
    await null;
    await null;
    try {
      while (this.#next < this.#entries.length) await this.#writeBatch();
    } catch (cause) {
      this.#fail(cause as Error);
    } finally {
      this.#running = null;
    }
  }

  async #writeBatch(): Promise<void> {
    if (this.#stale.length > 0 && !this.#isClosingGap(this.#entries[this.#next]!)) await this.#eraseStale();
    // No index is kept over an await: freeing entries moves them.
    const from = this.#next;
    const to = this.#gather(from);
    const first = this.#entries[from]!;
    const last = this.#entries[to - 1]!;
    const operations = this.#operations(from, to);
    const { half } = first;
    await this.#options.copies.commit(half.slot, (copy) =>
      half.isHeaderWritten ? operations : [this.#headerWrite(copy, first), ...operations],
    );
    half.isHeaderWritten = true;
    this.#next += to - from;
    this.#durable = last.sequence;
    this.#options.onDurable(last.sequence);
    this.#waiters.resolveThrough(last.sequence);
    this.#freeRing();
  }

  /** The end of the batch that starts at that index. */
  #gather(from: number): number {
    const first = this.#entries[from]!;
    const isClosingGap = this.#stale.length > 0;
    let to = from + 1;
    for (; to < this.#entries.length; to += 1) {
      const entry = this.#entries[to]!;
      if (entry.half !== first.half) break;
      if (isClosingGap && !this.#isClosingGap(entry)) break;
    }
    return to;
  }

  /** Whether the entry brings back what had been durable once, so that the evidence for it must stay. */
  #isClosingGap(entry: RingEntry): boolean {
    return !entry.isOwn && entry.sequence <= this.#requiredThrough;
  }

  /** Erases what the gap's entries have not overwritten. Nothing from `#next` on is written yet. */
  async #eraseStale(): Promise<void> {
    const next = this.#entries[this.#next]!;
    const isLive = ({ slot, offset }: StalePlace) => {
      const half = this.#options.halves.all.find((each) => each.slot === slot);
      if (half === undefined) return false;
      if (offset === 0) return half.isHeaderWritten;
      return half === next.half
        ? offset < next.fileOffset
        : half.number < next.half.number && offset < half.endOffset;
    };
    const stale = this.#stale.filter((place) => !isLive(place));
    await eraseStale(this.#options.copies, stale);
    this.#stale = [];
  }

  /** One write for each run of entries that are neighbours in the ring: one, or two where it wraps. */
  #operations(from: number, to: number): DiskOperation[] {
    const operations: DiskOperation[] = [];
    let start = this.#entries[from]!;
    let bytes = 0;
    for (let index = from; index < to; index += 1) {
      const entry = this.#entries[index]!;
      if (entry.ringOffset !== start.ringOffset + bytes) {
        operations.push(this.#write(start, bytes));
        start = entry;
        bytes = 0;
      }
      bytes += entry.paddedBytes;
    }
    operations.push(this.#write(start, bytes));
    return operations;
  }

  #write(start: RingEntry, bytes: number): DiskOperation {
    const buffer = this.#options.ringView.subarray(start.ringOffset, start.ringOffset + bytes);
    return { kind: "write", offset: start.fileOffset, buffer };
  }

  #headerWrite(copy: LogCopy, first: RingEntry): DiskOperation {
    const { half, generation } = first;
    const use = {
      number: half.number,
      startSequence: half.firstSequence,
      startChain: half.before.chain,
      generation,
    };
    return { kind: "write", offset: 0, buffer: this.#options.copies.encodeHeader(copy, half.slot, use) };
  }

  #freeRing(): void {
    const through = Math.min(this.#durable, this.#released);
    let isAny = false;
    while (this.#oldest < this.#next && this.#entries[this.#oldest]!.sequence <= through) {
      this.#options.ring.free(this.#entries[this.#oldest]!.takenBytes);
      this.#oldest += 1;
      isAny = true;
    }
    if (this.#oldest >= COMPACT_AT || this.#oldest === this.#entries.length) this.#compact();
    if (isAny) this.#options.onFreed();
  }

  #compact(): void {
    this.#entries.splice(0, this.#oldest);
    this.#next -= this.#oldest;
    this.#oldest = 0;
  }

  #fail(cause: Error): void {
    this.#failure = new MirrorvolError("ERR_LOG_FAILED", `log: ${cause.message}`, { cause });
    this.#waiters.rejectAll(this.#failure);
    this.#options.onFailed(this.#failure);
  }
}
