// Reconstruction of blocks that a read could not deliver.
//
// Faults are gathered into windows of neighbouring rows, and each row goes through two stages:
//
//   1. read the k cheapest of the other units (data first, then P, Q, R), compute the block, verify it;
//   2. if it is still not the right one, some other unit of the row is wrong too: read all that is left and
//      try every set of units that could be wrong (erasures.ts).
//
// Invariants:
//   - nothing is returned that does not fit its own hash; what cannot be had is ERR_UNRECOVERABLE;
//   - nothing is written: the owner of a block moves it to a new place (onCorruption tells it to);
//   - parity is only used to compute, it is never what anybody asks for: requests name data units.
//
// Example (3+2, stripe 0 holds D0 D1 D2 P Q on slots 0 to 4, slot 1 is missing): D0 was asked for and failed
// its checksum. Stage 1 reads D2, P and Q and computes D0 and D1; D0 fits its hash, and the owner is told to
// move it. Had D2 been wrong as well, no set of two lost units would have given a D0 that fits: unrecoverable.

import { assert, MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { erasureSets } from "./erasures.ts";
import { countOf, type RowLayout, slotOf, stripeOf } from "./geometry.ts";
import type { Members } from "./members.ts";
import type { Fault, Reader } from "./reader.ts";
import { lowestUnits, RowWindow, WindowRow, windowBlocks } from "./row_window.ts";
import type { Scratch } from "./scratch.ts";

/** Rows that are read together; with it a window has at most 18 * 16 + 3 blocks. */
const WINDOW_STRIPES_MAX = 16;
/** Windows of one read that are under way at a time. */
const WINDOWS_AT_ONCE = 4;

export interface RepairParts {
  readonly kernel: Kernel;
  readonly members: Members;
  readonly reader: Reader;
  readonly scratch: Scratch;
  readonly dataOffset: number;
  /** The geometry that a stripe was written with. */
  readonly layoutOf: (stripe: number) => RowLayout;
  readonly onCorruption: (pvbn: number, reason: string) => void;
}

/** A row in which blocks were asked for that could not be read. */
class FaultyRow extends WindowRow {
  readonly layout: RowLayout;
  readonly faults: Fault[] = [];
  /** Units known to be lost before anything is read: those of the faults. */
  lost = 0;
  /** Faults that have not been repaired. */
  open: Fault[] = [];
  /** Sets of units that were taken for lost. */
  tried = 0;

  constructor(stripe: number, layout: RowLayout) {
    super(stripe);
    this.layout = layout;
  }

  add(fault: Fault): void {
    this.lost |= 1 << this.unitOf(fault);
    this.faults.push(fault);
    this.open.push(fault);
  }

  unitOf(fault: Fault): number {
    const { pvbn } = fault.request;
    const place = this.layout.slots.indexOf(slotOf(pvbn));
    const unit = place < 0 ? -1 : this.layout.unitAt(this.stripe, place);
    assert(unit >= 0 && unit < this.layout.k, `raid: pvbn ${pvbn} is no data unit of its stripe`);
    return unit;
  }

  /** Units that have not been read and are worth trying. */
  get unread(): number {
    const all = (1 << this.layout.unitCount) - 1;
    return all & ~(this.lost | this.have | this.unreadable | this.missing);
  }
}

export class Repair {
  readonly #parts: RepairParts;

  constructor(parts: RepairParts) {
    this.#parts = parts;
  }

  /** Fills in what the faults lack, or rejects. Everything has settled by then, one way or the other. */
  async restore(faults: readonly Fault[], signal?: AbortSignal): Promise<void> {
    const rows = this.#gatherRows(faults);
    const queue = gatherWindows(rows);
    const errors: unknown[] = [];
    const worker = async () => {
      for (let window = queue.shift(); window !== undefined; window = queue.shift()) {
        await this.#restoreWindow(window, signal).catch((error) => errors.push(error));
      }
    };
    await Promise.all(Array.from({ length: WINDOWS_AT_ONCE }, worker));
    signal?.throwIfAborted();
    if (errors.length > 0) throw errors[0];
    const open = rows.filter((row) => row.open.length > 0);
    if (open.length > 0) throw this.#unrecoverable(open);
  }

  #gatherRows(faults: readonly Fault[]): FaultyRow[] {
    const rows = new Map<number, FaultyRow>();
    for (const fault of faults) {
      const stripe = stripeOf(fault.request.pvbn);
      let row = rows.get(stripe);
      if (row === undefined) rows.set(stripe, (row = new FaultyRow(stripe, this.#parts.layoutOf(stripe))));
      row.add(fault);
    }
    return [...rows.values()].sort((left, right) => left.stripe - right.stripe);
  }

  async #restoreWindow(rows: readonly FaultyRow[], signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return;
    const { scratch } = this.#parts;
    const { layout, stripe } = rows[0]!;
    const memory = scratch.tryAllocate(windowBlocks(layout, rows.at(-1)!.stripe - stripe + 1));
    if (memory === null) {
      for (const row of rows) await scratch.withReserve((reserve) => this.#restoreRows([row], reserve));
      return;
    }
    try {
      await this.#restoreRows(rows, memory);
    } finally {
      scratch.free(memory);
    }
  }

  async #restoreRows(rows: readonly FaultyRow[], memory: Uint8Array): Promise<void> {
    const { members, dataOffset } = this.#parts;
    const window = new RowWindow(rows[0]!.layout, rows, memory, dataOffset);
    for (const row of rows) {
      row.missing = this.#unitsMissing(row);
      row.wanted = lowestUnits(row.unread, row.layout.k);
    }
    await window.read(members);
    for (const row of rows) this.#tryWith(window, row, allBut(row, row.have));
    for (const row of rows) row.wanted = row.open.length > 0 ? row.unread : 0;
    if (rows.some((row) => row.wanted !== 0)) await window.read(members);
    for (const row of rows) this.#tryAll(window, row);
    for (const row of rows) this.#report(row);
  }

  /** Units of members that are not there now, so that nobody counts on them. */
  #unitsMissing(row: FaultyRow): number {
    let units = 0;
    for (const [place, slot] of row.layout.slots.entries()) {
      const isThere = this.#parts.members.present & (1 << slot);
      if (!isThere) units |= 1 << row.layout.unitAt(row.stripe, place);
    }
    return units & ~row.lost;
  }

  #tryAll(window: RowWindow<FaultyRow>, row: FaultyRow): void {
    const { unitCount, m } = row.layout;
    for (const lost of erasureSets(allBut(row, row.have), unitCount, m)) {
      if (row.open.length === 0) return;
      this.#tryWith(window, row, lost);
    }
  }

  /** Takes the units of `lost` for lost, and keeps the blocks that come out right. */
  #tryWith(window: RowWindow<FaultyRow>, row: FaultyRow, lost: number): void {
    const { kernel, reader } = this.#parts;
    if (countOf(lost) > row.layout.m) return;
    row.tried++;
    const addresses = window.restoreData(kernel, row, lost);
    row.open = row.open.filter((fault) => {
      const block = window.blockAt(addresses[row.unitOf(fault)]!);
      if (!reader.isGenuine(fault.request, block)) return true;
      fault.request.out.set(block);
      return false;
    });
  }

  /** Tells the owner about blocks that were repaired and lie on a member that is there. */
  #report(row: FaultyRow): void {
    const { members, onCorruption } = this.#parts;
    for (const fault of row.faults) {
      const { pvbn } = fault.request;
      if (fault.kind === "missing" || row.open.includes(fault) || members.diskAt(slotOf(pvbn)) === null)
        continue;
      const what =
        fault.kind === "corrupt" ? "its checksum does not fit" : `it cannot be read: ${fault.error?.message}`;
      onCorruption(pvbn, what);
    }
  }

  #unrecoverable(rows: readonly FaultyRow[]): MirrorvolError {
    const row = rows[0]!;
    const { request, kind, error } = row.open[0]!;
    const { k, m } = row.layout;
    const others = rows.reduce((count, each) => count + each.open.length, -1);
    const message = [
      `raid: block ${request.pvbn} (stripe ${row.stripe}, member ${slotOf(request.pvbn)}) is lost: it is ${kind}`,
      `of ${k}+${m} units ${countOf(row.missing)} others are missing and ${countOf(row.unreadable)} unreadable`,
      `${row.tried} combinations of erasures were tried`,
      ...(others > 0 ? [`${others} more blocks of this read are lost`] : []),
    ].join("; ");
    return new MirrorvolError("ERR_UNRECOVERABLE", message, { cause: error ?? undefined });
  }
}

/** All units of the row but those of a bitmap. */
function allBut(row: FaultyRow, units: number): number {
  return ((1 << row.layout.unitCount) - 1) & ~units;
}

/** Neighbouring rows of one geometry, to be read together. */
function gatherWindows(rows: readonly FaultyRow[]): FaultyRow[][] {
  const windows: FaultyRow[][] = [];
  for (const row of rows) {
    const window = windows.at(-1);
    const first = window?.[0];
    const isNear = first && first.layout === row.layout && row.stripe - first.stripe < WINDOW_STRIPES_MAX;
    if (isNear) window!.push(row);
    else windows.push([row]);
  }
  return windows;
}
