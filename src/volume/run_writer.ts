// Where a transaction's blocks go: runs in the open segment, then in empty ones. Each run ends in its summary. While
// one is on its way to the members, the next one is filled.
//
// Invariants:
//   - a run starts at the segment's first unwritten stripe and never touches what lies below it;
//   - whoever abandons a transaction waits until nothing of it is on its way any more: the next one writes there.

import { assert, MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { RaidGroup } from "../raid/raid_group.ts";
import type { Run } from "../raid/run.ts";
import type { SegmentLedger } from "./segment_ledger.ts";
import { describedMax, encodeSummaryPart, type RunRecord, summaryPartCount } from "./summary.ts";

/** Bytes of arena that a run takes at most, parity included. */
const RUN_BYTES_MAX = 2 * 1024 * 1024;
const UNIT_BYTES = 4096;

interface OpenRun {
  readonly run: Run;
  readonly segment: number;
  readonly firstStripe: number;
  readonly k: number;
  readonly records: RunRecord[];
  readonly places: Set<number>;
  readonly recordsMax: number;
}

export interface RunWriterOptions {
  readonly kernel: Kernel;
  readonly raid: RaidGroup;
  readonly ledger: SegmentLedger;
  readonly volumeId: Uint8Array;
  readonly segmentStripes: number;
  readonly commit: number;
}

export class RunWriter {
  readonly #options: RunWriterOptions;
  #open: OpenRun | null = null;
  #writing: { readonly places: ReadonlySet<number>; readonly done: Promise<void> } | null = null;

  constructor(options: RunWriterOptions) {
    this.#options = options;
  }

  /** Copies a block into the run at hand; it is on the members after flush. Resolves with its pvbn. */
  async place(record: RunRecord, block: Uint8Array): Promise<number> {
    if (this.#open && this.#open.records.length === this.#open.recordsMax) await this.#startWriting();
    this.#open ??= await this.#begin();
    return this.placeNow(record, block)!;
  }

  /** The same without waiting; null: the run at hand is full, or there is none. */
  placeNow(record: RunRecord, block: Uint8Array): number | null {
    const open = this.#open;
    if (open === null || open.records.length === open.recordsMax) return null;
    const { pvbn, block: place } = open.run.next();
    place.set(block);
    open.records.push(record);
    open.places.add(pvbn);
    this.#options.ledger.addLive(open.segment, 1);
    return pvbn;
  }

  /** True when a block may still be only in memory. */
  holds(pvbn: number): boolean {
    return (this.#open?.places.has(pvbn) ?? false) || (this.#writing?.places.has(pvbn) ?? false);
  }

  /** Everything that was placed is on the members, not synced yet. */
  async flush(): Promise<void> {
    await this.#startWriting();
    await this.#written();
  }

  /** Gives the memory back when the transaction is abandoned; resolves when no disk is being written any more. */
  async abandon(): Promise<void> {
    this.#open?.run.release();
    this.#open = null;
    await this.#writing?.done.catch(() => {});
  }

  /** Completes the run at hand with its summary, and writes it when the one before it is written. */
  async #startWriting(): Promise<void> {
    await this.#written();
    const open = this.#open;
    if (open === null) return;
    this.#open = null;
    const done = this.#write(open);
    // Whoever flushes next hears of it.
    done.catch(() => {});
    this.#writing = { places: open.places, done };
  }

  async #write(open: OpenRun): Promise<void> {
    try {
      const rows = this.#fillSummary(open);
      // At once: the next run begins behind it. If it fails, the ledger is forgotten with the transaction.
      this.#options.ledger.advance(open.segment, rows);
      const written = await open.run.write();
      assert(written === rows, `a run of ${rows} rows wrote ${written}`);
    } finally {
      open.run.release();
    }
  }

  async #written(): Promise<void> {
    await this.#writing?.done;
    this.#writing = null;
  }

  #fillSummary(open: OpenRun): number {
    const { kernel, volumeId, commit } = this.#options;
    const blocks = open.records.length;
    const parts = summaryPartCount(blocks);
    const rows = Math.ceil((blocks + parts) / open.k);
    for (let pad = blocks; pad < rows * open.k - parts; pad++) open.run.next().block.fill(0);
    for (let part = 0; part < parts; part++) {
      const header = { firstStripe: open.firstStripe, rows, blocks, parts, part, commit };
      encodeSummaryPart(kernel, volumeId, header, open.records, open.run.next().block);
    }
    return rows;
  }

  async #begin(): Promise<OpenRun> {
    const { ledger, raid, segmentStripes } = this.#options;
    const segment = ledger.openSegment(raid.present);
    if (segment === null) throw new MirrorvolError("ERR_NO_SPACE", "no empty segment is left on the members");
    const { geometry, written } = ledger.get(segment);
    const rowsMax = Math.max(4, Math.floor(RUN_BYTES_MAX / UNIT_BYTES / (geometry.k + geometry.m)));
    const recordsMax = describedMax(Math.min(rowsMax, segmentStripes - written) * geometry.k);
    // What a full run takes: with one data unit a row the last row may be of no use, and the next run begins there.
    const rows = Math.ceil((recordsMax + summaryPartCount(recordsMax)) / geometry.k);
    const firstStripe = segment * segmentStripes + written;
    const run = await raid.beginRun(segment, firstStripe, rows);
    return { run, segment, firstStripe, k: geometry.k, records: [], places: new Set(), recordsMax };
  }
}
