// A transaction's view of the segment table: its own changes over the committed entries, which stay untouched
// until the commit exists. Abandoning a transaction is forgetting its ledger.
import { assert, MirrorvolError } from "../kernel/errors.ts";
import { geometryFor } from "../raid/geometry.ts";
import type { SegmentRecord, SegmentTable } from "./segments.ts";

type Changing<T> = { -readonly [Key in keyof T]: T[Key] };

export interface LedgerOptions {
  readonly table: SegmentTable;
  readonly wanted: { readonly k: number; readonly m: number };
  readonly segmentStripes: number;
  /** Segments that are empty but that a reader of an older image may still look at. */
  readonly quarantined: ReadonlyMap<number, unknown>;
}

export class SegmentLedger {
  readonly #options: LedgerOptions;
  /** Of this transaction alone, until it settles: changed in place. */
  readonly #changes = new Map<number, Changing<SegmentRecord>>();
  #open: number | null;
  #searchFrom = 0;

  /** open: the segment that the last commit left half filled. */
  constructor(options: LedgerOptions, open: number | null) {
    this.#options = options;
    this.#open = open;
  }

  get open(): number | null {
    return this.#open;
  }

  get(segment: number): SegmentRecord {
    return this.#changes.get(segment) ?? this.#options.table.get(segment);
  }

  addLive(segment: number, delta: number): void {
    const record = this.#toChange(segment);
    const live = record.live + delta;
    if (!record.used || live < 0) {
      const text = `segment ${segment} would have ${live} live blocks: the segment table contradicts the maps`;
      throw new MirrorvolError("ERR_TABLE_CORRUPT", text);
    }
    record.live = live;
  }

  #toChange(segment: number): Changing<SegmentRecord> {
    let record = this.#changes.get(segment);
    if (record === undefined) this.#changes.set(segment, (record = { ...this.#options.table.get(segment) }));
    return record;
  }

  /** Rows of the open segment have been filled. */
  advance(segment: number, rows: number): void {
    const record = this.get(segment);
    const written = record.written + rows;
    assert(
      written <= this.#options.segmentStripes,
      `segment ${segment} has only ${this.#options.segmentStripes} rows`,
    );
    this.#changes.set(segment, { ...record, written });
  }

  /** The segment for the next run: the open one while it fits the living members, else an empty one, or null. */
  openSegment(present: number): number | null {
    const geometry = geometryFor(present, this.#options.wanted);
    if (geometry === null) return null;
    if (this.#open !== null && this.#fits(this.#open, geometry.members)) return this.#open;
    this.#open = this.#takeEmpty();
    if (this.#open !== null) this.#changes.set(this.#open, { used: true, geometry, written: 0, live: 0 });
    return this.#open;
  }

  /** What the commit writes into the table; segments that lost their last block are given back. */
  settle(): { changes: Map<number, SegmentRecord>; emptied: number[] } {
    const emptied: number[] = [];
    // All segments, changed or not: one may have lost its last block while it was open.
    for (let segment = 0; segment < this.#options.table.count; segment++) {
      const record = this.get(segment);
      if (!record.used || record.live > 0 || segment === this.#open) continue;
      this.#changes.set(segment, { ...record, used: false });
      emptied.push(segment);
    }
    return { changes: this.#changes, emptied };
  }

  emptyCount(): number {
    let count = 0;
    for (let segment = 0; segment < this.#options.table.count; segment++) if (this.#isEmpty(segment)) count++;
    return count;
  }

  #fits(segment: number, members: number): boolean {
    const record = this.get(segment);
    const rowsLeft = this.#options.segmentStripes - record.written;
    return record.used && record.geometry.members === members && rowsLeft * record.geometry.k >= 2;
  }

  #takeEmpty(): number | null {
    for (let segment = this.#searchFrom; segment < this.#options.table.count; segment++) {
      if (!this.#isEmpty(segment)) continue;
      this.#searchFrom = segment + 1;
      return segment;
    }
    return null;
  }

  #isEmpty(segment: number): boolean {
    return !this.get(segment).used && !this.#options.quarantined.has(segment);
  }
}
