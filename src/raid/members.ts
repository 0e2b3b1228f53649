// The members of a group: which slot has a disk that may be used, and what went wrong on it so far.
//
//   missing --add--> present --drop--> failed --add--> present
//
// Invariants:
//   - a dropped disk gets no further operation from us, whatever was planned on it (operations that are
//     already under way end as they may; nobody believes a write among them);
//   - a drop is reported exactly once, whoever found the fault;
//   - a read error does not drop a member: the block is reconstructed, and its owner moves it elsewhere. A
//     write or a sync that fails does, because nobody knows any more what the member holds.

import { MEMBERS_MAX } from "../../assembly/format.ts";
import type { Disk, DiskOperation } from "../io/disk.ts";
import { assert } from "../kernel/errors.ts";
import { slotsOf } from "./geometry.ts";

export type MemberState = "present" | "missing" | "failed";

export interface MemberErrors {
  readonly readErrors: number;
  readonly checksumErrors: number;
  readonly state: MemberState;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** What a read of a member that is not there gives. One object, because degraded groups give it often. */
export const MEMBER_MISSING = new Error("the member is missing");

export class Members {
  readonly slotCount: number;
  readonly #disks: (Disk | null)[];
  readonly #errors: Mutable<MemberErrors>[];
  readonly #onFailed: (slot: number, error: Error) => void;
  #present = 0;

  constructor(disks: readonly (Disk | null)[], onFailed: (slot: number, error: Error) => void) {
    assert(disks.length >= 1 && disks.length <= MEMBERS_MAX, `raid: a group of ${disks.length} members`);
    this.slotCount = disks.length;
    this.#disks = [...disks];
    this.#onFailed = onFailed;
    this.#errors = disks.map((disk) => newErrors(disk === null ? "missing" : "present"));
    for (const [slot, disk] of disks.entries()) {
      if (disk !== null) this.#present |= 1 << slot;
    }
  }

  /** Bitmap of the slots that can be used. */
  get present(): number {
    return this.#present;
  }

  get errors(): readonly MemberErrors[] {
    return this.#errors;
  }

  diskAt(slot: number): Disk | null {
    assert(slot >= 0 && slot < this.slotCount, `raid: no slot ${slot} in a group of ${this.slotCount}`);
    return this.#disks[slot]!;
  }

  add(slot: number, disk: Disk): void {
    assert(this.diskAt(slot) === null, `raid: slot ${slot} is in use`);
    this.#disks[slot] = disk;
    this.#errors[slot] = newErrors("present");
    this.#present |= 1 << slot;
  }

  drop(slot: number, error: Error): void {
    if (this.diskAt(slot) === null) return;
    this.#disks[slot] = null;
    this.#errors[slot]!.state = "failed";
    this.#present &= ~(1 << slot);
    this.#onFailed(slot, error);
  }

  /** Drops the member if `disk` is still what the slot holds: faults arrive late, after a replacement too. */
  dropDisk(slot: number, disk: Disk, error: Error): void {
    if (this.diskAt(slot) === disk) this.drop(slot, error);
  }

  /** Runs reads on a member; one result each, in order. Counts the errors; never rejects. */
  async read(slot: number, batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    const disk = this.diskAt(slot);
    if (disk === null) return batch.map(() => MEMBER_MISSING);
    const results = await disk.submit(batch);
    for (const error of results) {
      if (error !== null && this.#disks[slot] === disk) this.#errors[slot]!.readErrors++;
    }
    return results;
  }

  noteChecksumError(slot: number): void {
    this.#errors[slot]!.checksumErrors++;
  }

  /** Makes what was written to these slots durable. Drops those that fail; the bitmap of the others. */
  async sync(slots: number): Promise<number> {
    const synced = await Promise.all(slotsOf(slots & this.#present).map((slot) => this.#syncOne(slot)));
    return synced.reduce((bitmap, bit) => bitmap | bit, 0) & this.#present;
  }

  async #syncOne(slot: number): Promise<number> {
    const disk = this.diskAt(slot)!;
    try {
      await disk.sync();
    } catch (error) {
      this.dropDisk(slot, disk, error as Error);
      return 0;
    }
    return this.#disks[slot] === disk ? 1 << slot : 0;
  }
}

function newErrors(state: MemberState): Mutable<MemberErrors> {
  return { readErrors: 0, checksumErrors: 0, state };
}
