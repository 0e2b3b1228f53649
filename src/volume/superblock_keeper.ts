// The superblocks of a volume: how they move, and what must be written before they do.
//
// Invariants:
//   - a superblock moves when everything that it names is durable on every member that it lists as current;
//   - a lost member is recorded as missing; a loss that leaves a live block out of reach never is: recording it would
//     make the absent members stale, and the loss final;
//   - whoever moves the superblocks holds the lock, for no longer than that takes.
import type { Disk } from "../io/disk.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { countOf } from "../raid/geometry.ts";
import type { RaidGroup } from "../raid/raid_group.ts";
import { writeSuperblocks } from "./members.ts";
import { Mutex } from "./mutex.ts";
import type { SegmentTable } from "./segments.ts";
import type { MemberState, Superblock } from "./superblock.ts";

/** Fields of the superblock that a commit may change beside the roots. */
export type SuperblockChanges = Partial<
  Pick<
    Superblock,
    | "role"
    | "inSync"
    | "everInSync"
    | "aloneSince"
    | "boundTo"
    | "fencedBy"
    | "history"
    | "logCopies"
    | "members"
  >
>;

export interface KeeperParts {
  readonly kernel: Kernel;
  readonly raid: RaidGroup;
  readonly table: SegmentTable;
  /** By slot; null where a member is missing. */
  readonly disks: readonly (Disk | null)[];
}

export class SuperblockKeeper {
  readonly lock = new Mutex();
  readonly #parts: KeeperParts;
  #current: Superblock;

  constructor(parts: KeeperParts, current: Superblock) {
    this.#parts = parts;
    this.#current = current;
  }

  get current(): Superblock {
    return this.#current;
  }

  /**
   * Throws when the members that are there cannot carry the volume: when one of its segments is out of reach, or
   * when more were lost since the last commit than parity makes up for.
   */
  refuseTooFew(): void {
    const { members, parityUnits } = this.#current;
    const { present } = this.#parts.raid;
    const isHere = (slot: number) => (present & (1 << slot)) !== 0;
    const lost = members.filter(({ state }, slot) => state === "current" && !isHere(slot)).length;
    if (present !== 0 && lost <= parityUnits && this.#isAllWithinReach(present)) return;
    const missing = members.filter((_, slot) => !isHere(slot)).map(({ path }) => path);
    const message = `too few members to read everything; missing: ${missing.join(", ")}`;
    throw new MirrorvolError("ERR_TOO_FEW_MEMBERS", message);
  }

  /** Every live block needs k of the members of its segment. */
  #isAllWithinReach(present: number): boolean {
    for (let segment = 0; segment < this.#parts.table.count; segment++) {
      const { used, live, geometry } = this.#parts.table.get(segment);
      if (used && live > 0 && countOf(geometry.members & present) < geometry.k) return false;
    }
    return true;
  }

  /** Writes the changed table pages and makes everything written so far durable. False: a member failed. */
  async writeTable(commit: number): Promise<boolean> {
    const before = this.#parts.raid.present;
    // As they are now: whoever is dropped meanwhile is in no slot any more.
    const slots = new Map<Disk, number>();
    for (const [slot, disk] of this.#parts.disks.entries()) if (disk !== null) slots.set(disk, slot);
    for (const [disk, error] of await this.#parts.table.writeDirty([...slots.keys()], commit)) {
      this.#parts.raid.dropMember(slots.get(disk)!, error);
    }
    return (await this.#parts.raid.sync()) === before && this.#parts.raid.present === before;
  }

  /** A superblock that stands on at least one member exists: a member that fails here is recorded by the next one. */
  async move(next: Superblock): Promise<void> {
    for (const [slot, error] of await writeSuperblocks(this.#parts.kernel, this.#parts.disks, next)) {
      this.#parts.raid.dropMember(slot, error);
    }
    await this.#parts.raid.sync();
    if (this.#parts.raid.present === 0)
      throw new MirrorvolError("ERR_NO_MEMBERS", "the last member has failed");
    this.#current = next;
    this.#parts.table.committed(next.commit);
  }

  /** Until the superblock names every lost member as missing. */
  async recordLosses(changes: SuperblockChanges | null = null): Promise<void> {
    for (let first = changes; ; first = null) {
      const members = (first?.members ?? this.#current.members).map((member, slot) => {
        const isLost = member.state === "current" && this.#parts.disks[slot] === null;
        return isLost ? { ...member, state: "missing" as MemberState } : member;
      });
      const isRecorded = members.every((member, slot) => member === this.#current.members[slot]);
      if (first === null && isRecorded) return;
      this.refuseTooFew();
      const commit = this.#current.commit + 1;
      const tableSum = this.#parts.table.sumAt(commit);
      // An abandoned commit may have left table pages with this very number: they are overwritten first.
      await this.writeTable(commit);
      await this.move({ ...this.#current, ...first, members, commit, tableSum });
    }
  }
}
