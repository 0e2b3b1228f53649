// One use of a log half, as it is known in memory, and the row of halves that are in use.
//
// Invariants:
//   - the halves in use have consecutive numbers; the last one takes the entries, all others are sealed;
//   - half number h lies in file h mod LOG_HALF_COUNT, so half h can begin once h - LOG_HALF_COUNT is free;
//   - the room of a seal is never given to another entry;
//   - a half that somebody reads from (`pins`) is not used again before they have done.
//
// Marks: every MARK_BYTES or so the half remembers where an entry starts, so that reading from the middle
// need not go through the whole half.

import { LOG_ENTRIES_OFFSET, LOG_HALF_COUNT } from "../../assembly/format.ts";
import { assert } from "../kernel/errors.ts";
import { SEAL_BYTES } from "./entry_codec.ts";
import { isOfHalf } from "./location.ts";
import type { HalfStatus, LogPosition } from "./types.ts";

const MARK_BYTES = 256 * 1024;

/** Where an entry starts, and the chain before it. */
export interface Mark {
  readonly sequence: number;
  readonly offset: number;
  readonly chain: bigint;
}

export class LogHalf {
  readonly number: number;
  readonly slot: number;
  readonly before: LogPosition;
  /** Where the next entry goes. */
  endOffset = LOG_ENTRIES_OFFSET;
  lastSequence: number;
  isSealed = false;
  /** The header of this use is durable in every current copy. */
  isHeaderWritten = false;
  pins = 0;
  readonly #marks: Mark[];

  constructor(number: number, before: LogPosition) {
    this.number = number;
    this.slot = number % LOG_HALF_COUNT;
    this.before = before;
    this.lastSequence = before.sequence;
    this.#marks = [{ sequence: before.sequence + 1, offset: LOG_ENTRIES_OFFSET, chain: before.chain }];
  }

  get firstSequence(): number {
    return this.before.sequence + 1;
  }

  get isEmpty(): boolean {
    return this.lastSequence === this.before.sequence;
  }

  /** True when the next entry should be marked: the caller then knows its chain. */
  get isMarkDue(): boolean {
    return this.endOffset - this.#marks.at(-1)!.offset >= MARK_BYTES;
  }

  mark(chain: bigint): void {
    this.#marks.push({ sequence: this.lastSequence + 1, offset: this.endOffset, chain });
  }

  add(bytes: number, isSeal: boolean): void {
    this.endOffset += bytes;
    this.lastSequence += 1;
    this.isSealed = isSeal;
  }

  /** The last mark at or before that entry. */
  markBefore(sequence: number): Mark {
    let low = 0;
    let high = this.#marks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#marks[middle]!.sequence <= sequence) low = middle;
      else high = middle - 1;
    }
    return this.#marks[low]!;
  }
}

export class HalfRow {
  readonly halfBytes: number;
  /** By number, never empty. */
  readonly #halves: LogHalf[];
  /** Halves that are free but still read from. */
  readonly #pinned: LogHalf[] = [];

  constructor(halfBytes: number, halves: LogHalf[]) {
    assert(halves.length > 0 && halves.length <= LOG_HALF_COUNT, `log: ${halves.length} halves`);
    this.halfBytes = halfBytes;
    this.#halves = halves;
  }

  get all(): readonly LogHalf[] {
    return this.#halves;
  }

  get first(): LogHalf {
    return this.#halves[0]!;
  }

  get last(): LogHalf {
    return this.#halves.at(-1)!;
  }

  get isNextFree(): boolean {
    return this.#halves.length < LOG_HALF_COUNT && !this.#pinned.some((half) => half.slot === this.#nextSlot);
  }

  get #nextSlot(): number {
    return (this.last.number + 1) % LOG_HALF_COUNT;
  }

  /** Whether so many bytes (padding included) and a seal fit behind the last entry. */
  hasRoom(bytes: number): boolean {
    return this.last.endOffset + bytes + SEAL_BYTES <= this.halfBytes;
  }

  /** What entries other than the seal can take of an empty half. */
  get roomBytes(): number {
    return this.halfBytes - LOG_ENTRIES_OFFSET - SEAL_BYTES;
  }

  begin(before: LogPosition): LogHalf {
    assert(this.isNextFree && this.last.isSealed, "log: the next half is not free");
    const half = new LogHalf(this.last.number + 1, before);
    this.#halves.push(half);
    return half;
  }

  /** Frees the halves whose seal is at or before that entry; true if there were any. */
  freeThrough(sequence: number): boolean {
    let isAny = false;
    while (this.#halves.length > 1 && this.first.lastSequence <= sequence) {
      const half = this.#halves.shift()!;
      if (half.pins > 0) this.#pinned.push(half);
      isAny = true;
    }
    return isAny;
  }

  /** Forgets every half and goes on with a new one. */
  replace(half: LogHalf): void {
    this.#halves.splice(0, this.#halves.length, half);
  }

  get isAnyPinned(): boolean {
    return this.#pinned.length > 0 || this.#halves.some((half) => half.pins > 0);
  }

  pin(half: LogHalf): void {
    half.pins += 1;
  }

  /** True when that made a file free. */
  unpin(half: LogHalf): boolean {
    half.pins -= 1;
    const index = this.#pinned.indexOf(half);
    if (half.pins > 0 || index < 0) return false;
    this.#pinned.splice(index, 1);
    return true;
  }

  withLocation(location: number): LogHalf | undefined {
    return this.#halves.find((half) => isOfHalf(location, half.number));
  }

  withSequence(sequence: number): LogHalf | undefined {
    return this.#halves.find((half) => half.firstSequence <= sequence && sequence <= half.lastSequence);
  }

  status(): HalfStatus[] {
    const held = this.#halves.map((half) => ({
      number: half.number,
      slot: half.slot,
      firstSequence: half.isEmpty ? 0 : half.firstSequence,
      lastSequence: half.isEmpty ? 0 : half.lastSequence,
      bytesUsed: half.endOffset - LOG_ENTRIES_OFFSET,
      sealed: half.isSealed,
      free: false,
    }));
    const next = this.last.number + 1;
    const free = Array.from({ length: LOG_HALF_COUNT - held.length }, (_unused, index) => ({
      number: next + index,
      slot: (next + index) % LOG_HALF_COUNT,
      firstSequence: 0,
      lastSequence: 0,
      bytesUsed: 0,
      sealed: false,
      free: true,
    }));
    return [...held, ...free];
  }
}
