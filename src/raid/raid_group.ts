// A RAID group: members in, verified blocks and whole rows out. It knows members, stripes and units, and
// nothing of volumes and maps: where blocks are put, and what is free, is decided above (volume/).
//
//   stripe s      one unit of BLOCK_BYTES on each member it uses, at byte dataOffset + s * BLOCK_BYTES
//   segment g     stripes g * segmentStripes .. (g + 1) * segmentStripes - 1; has a geometry of its own
//   pvbn          stripe * PVBN_STRIDE + slot + 1 (geometry.ts has the rotation)
//
// Invariants:
//   - stripes are written whole, by runs (run.ts), into rows the owner says are empty; open runs never overlap;
//   - nothing is returned that was not verified (reader.ts, repair.ts);
//   - a member that fails a write or a sync is dropped at once, and the owner hears of it once (members.ts);
//   - blocks are never repaired in place: onCorruption names them, and the owner moves them.
//
// Life of a row: beginRun -> next, fill, next, fill ... -> write -> sync -> (the owner commits) -> read ...
// -> (the owner moves what lives, commits) -> discardSegment.

import { BLOCK_BYTES, DATA_UNITS_MAX, PARITY_UNITS_MAX } from "../../assembly/format.ts";
import type { Disk } from "../io/disk.ts";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { RowLayout, type SegmentGeometry } from "./geometry.ts";
import { type MemberErrors, Members } from "./members.ts";
import { Reader, type ReadRequest } from "./reader.ts";
import { Repair } from "./repair.ts";
import { auditRows, type RowAuditParts, type UnitFault } from "./row_audit.ts";
import { checkRow, type RowCheck } from "./row_check.ts";
import { Run } from "./run.ts";
import { Scratch } from "./scratch.ts";

export interface RaidOptions {
  readonly kernel: Kernel;
  /** By slot; null where the member is missing. */
  readonly disks: readonly (Disk | null)[];
  readonly dataOffset: number;
  readonly segmentStripes: number;
  /** The geometry that a segment was, or is about to be, written with. */
  geometryOf(segment: number): SegmentGeometry;
  /** A write or a sync failed: the member is out, its disk is not used any more. */
  onMemberFailed(slot: number, error: Error): void;
  /** A block on a living member was wrong or unreadable and has been reconstructed: move it to a new place. */
  onCorruption(pvbn: number, reason: string): void;
}

/** Stripes of a run that has not been released. */
interface OpenRun {
  readonly firstStripe: number;
  readonly rows: number;
}

export class RaidGroup {
  readonly #options: RaidOptions;
  readonly #members: Members;
  readonly #scratch: Scratch;
  readonly #reader: Reader;
  readonly #repair: Repair;
  readonly #openRuns = new Set<OpenRun>();
  /** One layout for each geometry that was seen; there are few. */
  readonly #layouts = new Map<string, RowLayout>();

  constructor(options: RaidOptions) {
    const { kernel, disks, dataOffset, segmentStripes } = options;
    assert(segmentStripes >= 1 && Number.isInteger(segmentStripes), "raid: a segment has whole stripes");
    assert(dataOffset >= 0 && dataOffset % BLOCK_BYTES === 0, "raid: the data starts on a block");
    this.#options = options;
    this.#members = new Members(disks, (slot, error) => options.onMemberFailed(slot, error));
    const unitsMax = Math.min(disks.length, DATA_UNITS_MAX + PARITY_UNITS_MAX);
    this.#scratch = new Scratch(kernel.arena, unitsMax + PARITY_UNITS_MAX);
    this.#reader = new Reader(kernel, this.#members, dataOffset);
    this.#repair = new Repair({
      kernel,
      members: this.#members,
      reader: this.#reader,
      scratch: this.#scratch,
      dataOffset,
      layoutOf: (stripe) => this.#layoutOf(this.#segmentOf(stripe)),
      onCorruption: (pvbn, reason) => options.onCorruption(pvbn, reason),
    });
  }

  /** Bitmap of the slots that can be used. */
  get present(): number {
    return this.#members.present;
  }

  /** By slot: what went wrong on a member since it was added. */
  get memberErrors(): readonly MemberErrors[] {
    return this.#members.errors;
  }

  /**
   * Fills every request with its verified block, reconstructed where needed. Rejects with ERR_UNRECOVERABLE
   * when that fails for any of them (the others are still filled). No disk touches a buffer after that.
   */
  async read(requests: readonly ReadRequest[], signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const faults = await this.#reader.read(requests);
    if (faults.length === 0) return;
    signal?.throwIfAborted();
    await this.#repair.restore(faults, signal);
  }

  /** Leases memory for whole rows of one segment; they must be empty. ERR_MEMBER_FAILED when a member is gone. */
  async beginRun(segment: number, firstStripe: number, rows: number): Promise<Run> {
    const layout = this.#layoutOf(segment);
    this.#checkRange(segment, firstStripe, rows);
    const disks = layout.slots.map((slot) => this.#diskForRun(slot, firstStripe + rows));
    const open = { firstStripe, rows };
    this.#openRuns.add(open);
    const { kernel, dataOffset } = this.#options;
    try {
      const memory = await kernel.arena.lease(layout.unitCount * rows * BLOCK_BYTES);
      const onReleased = () => {
        this.#openRuns.delete(open);
        kernel.arena.free(memory);
      };
      const offset = dataOffset + firstStripe * BLOCK_BYTES;
      return new Run({
        kernel,
        members: this.#members,
        layout,
        firstStripe,
        rows,
        offset,
        disks,
        memory,
        onReleased,
      });
    } catch (error) {
      this.#openRuns.delete(open);
      throw error;
    }
  }

  /**
   * Makes what was written to the given slots (all that are there) durable. A member that fails is dropped;
   * resolves with the bitmap of those that did not.
   */
  sync(slots: number = this.present): Promise<number> {
    return this.#members.sync(slots);
  }

  /** For faults that the owner finds, such as a superblock that cannot be written. Idempotent. */
  dropMember(slot: number, error: Error): void {
    this.#members.drop(slot, error);
  }

  /** Puts a disk into an empty slot. What it holds is verified block by block, as everywhere. */
  addMember(slot: number, disk: Disk): void {
    this.#members.add(slot, disk);
  }

  /** Tells the devices that nothing in the segment is needed any more. A hint. */
  async discardSegment(segment: number): Promise<void> {
    const { segmentStripes, dataOffset } = this.#options;
    const firstStripe = segment * segmentStripes;
    this.#assertNoOpenRun(firstStripe, segmentStripes);
    const disks = this.#members.errors.map((_, slot) => this.#members.diskAt(slot));
    const offset = dataOffset + firstStripe * BLOCK_BYTES;
    await Promise.all(disks.map((disk) => disk?.discard(offset, segmentStripes * BLOCK_BYTES)));
  }

  /** Reads one row as it is, and compares its parity with its data. */
  checkRow(stripe: number): Promise<RowCheck> {
    const layout = this.#layoutOf(this.#segmentOf(stripe));
    const { kernel, dataOffset } = this.#options;
    const members = this.#members;
    return this.#scratch.withReserve((memory) =>
      checkRow({ kernel, members, layout, stripe, memory, dataOffset }),
    );
  }

  /** Compares every unit of neighbouring rows of one segment with what it should be (row_audit.ts). */
  auditRows(firstStripe: number, rows: number, isGenuine: RowAuditParts["isGenuine"]): Promise<UnitFault[]> {
    const layout = this.#layoutOf(this.#segmentOf(firstStripe));
    const { kernel, dataOffset } = this.#options;
    return auditRows({ kernel, members: this.#members, layout, dataOffset, isGenuine }, firstStripe, rows);
  }

  /** Gives the group's own memory back, when nothing uses it any more. The disks stay open. Idempotent. */
  close(): Promise<void> {
    return this.#scratch.close();
  }

  #segmentOf(stripe: number): number {
    return Math.floor(stripe / this.#options.segmentStripes);
  }

  #layoutOf(segment: number): RowLayout {
    const geometry = this.#options.geometryOf(segment);
    const key = `${geometry.k}+${geometry.m}:${geometry.members}`;
    let layout = this.#layouts.get(key);
    if (layout === undefined) this.#layouts.set(key, (layout = new RowLayout(geometry)));
    return layout;
  }

  #checkRange(segment: number, firstStripe: number, rows: number): void {
    const { segmentStripes } = this.#options;
    const isInside =
      this.#segmentOf(firstStripe) === segment && this.#segmentOf(firstStripe + rows - 1) === segment;
    assert(
      rows >= 1 && rows <= segmentStripes && isInside,
      `raid: ${rows} rows from stripe ${firstStripe} are not in segment ${segment}`,
    );
    this.#assertNoOpenRun(firstStripe, rows);
  }

  #assertNoOpenRun(firstStripe: number, rows: number): void {
    for (const open of this.#openRuns) {
      const isApart = open.firstStripe + open.rows <= firstStripe || firstStripe + rows <= open.firstStripe;
      assert(isApart, `raid: stripes from ${firstStripe} are in the run from ${open.firstStripe}`);
    }
  }

  #diskForRun(slot: number, endStripe: number): Disk {
    const disk = this.#members.diskAt(slot);
    if (disk === null) throw new MirrorvolError("ERR_MEMBER_FAILED", `raid: member ${slot} is not there`);
    const endBytes = this.#options.dataOffset + endStripe * BLOCK_BYTES;
    assert(endBytes <= disk.bytes, `raid: stripe ${endStripe - 1} lies beyond member ${slot}`);
    return disk;
  }
}
