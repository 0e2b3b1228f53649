// The superblocks of the members, copy by copy. Each member has the newest commit N in slot N mod 2, at its head and
// at its tail, and N - 1 in the other slot:
//
//     slot N mod 2         counts: a copy that differs from the newest superblock is a fault, unless a crash while
//                          N was written can have left it (an older commit, or sectors of an older one)
//     slot (N - 1) mod 2   the next commit overwrites it: a crash may have left anything there, which is a warning
//
// A member is out of the volume when it is missing, stale or blank: that leaves the volume degraded, not wrong. A
// member that is there and has lost all its superblocks is damaged.
import { SECTOR_BYTES, SUPERBLOCK_BYTES, SUPERBLOCK_SLOTS } from "../../assembly/format.ts";
import { type Disk, readDisk } from "../io/disk.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Findings } from "../log/findings.ts";
import { type Assembly, dataOffsetFor, segmentCountFor, slotOffsets, tailOffset } from "./members.ts";
import {
  decodeSuperblock,
  encodeSuperblock,
  type GenerationRecord,
  type Superblock,
  superblockEnd,
} from "./superblock.ts";
import { bytesEqual } from "./words.ts";

interface Copy {
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly superblock: Superblock | string;
}

export class MemberCheck {
  readonly #kernel: Kernel;
  readonly #findings: Findings;
  readonly #newest: Superblock;
  /** The superblock before the newest, from wherever it was seen first. */
  #previous: Superblock | null = null;
  copies = 0;

  constructor(kernel: Kernel, findings: Findings, newest: Superblock) {
    this.#kernel = kernel;
    this.#findings = findings;
    this.#newest = newest;
  }

  async run({ disks }: Assembly): Promise<void> {
    for (const [slot, disk] of disks.entries()) {
      if (disk !== null) await this.#checkMember(slot, disk);
      else this.#reportMissing(slot);
    }
    this.#checkSizes(disks);
    this.#checkHistory();
  }

  /** A disk that was left out although it can be opened: blank, stale and foreign ones are no damage. */
  async checkExcluded(disk: Disk, reason: string): Promise<void> {
    const places = allPlaces(Math.min(this.#newest.memberBytes, disk.bytes));
    const copies = await Promise.all(places.map((offset) => readCopy(this.#kernel, disk, offset)));
    const isDamaged =
      !copies.some(({ superblock }) => typeof superblock !== "string") && copies.some(isWritten);
    const finding = {
      path: disk.path,
      offset: null,
      structure: "member",
      expected: "a current member of this volume",
      found: isDamaged ? `no superblock that is valid (${reason})` : reason,
    };
    if (isDamaged) this.#findings.fault(finding);
    else this.#findings.warn(finding);
  }

  async #checkMember(slot: number, disk: Disk): Promise<void> {
    const { commit, memberBytes } = this.#newest;
    for (const age of [0, 1]) {
      const own = (commit - age) % SUPERBLOCK_SLOTS;
      for (const offset of slotOffsets(memberBytes, own)) {
        this.copies += 1;
        const copy = await readCopy(this.#kernel, disk, offset);
        if (age === 0) this.#checkNewest(slot, disk, copy);
        else this.#checkPrevious(slot, disk, copy);
      }
    }
  }

  /** A copy in the slot that counts. */
  #checkNewest(slot: number, disk: Disk, copy: Copy): void {
    const expected = encodeSuperblock(this.#kernel, { ...this.#newest, slot });
    if (bytesEqual(copy.bytes, expected)) return;
    const { commit } = this.#newest;
    const finding = {
      path: disk.path,
      offset: copy.offset,
      structure: `superblock of member ${slot}`,
      expected: `commit ${commit}`,
      found: this.#describe(copy, slot),
    };
    const isNeverWritten = commit <= SUPERBLOCK_SLOTS && !isWritten(copy);
    if (this.#isOlder(copy, slot) || isNeverWritten) {
      const found = `${finding.found}: the commit was interrupted, and the next opening completes it`;
      this.#findings.warn({ ...finding, found });
    } else if (this.#isTorn(copy, expected)) {
      const found = `${finding.found}: torn by a crash, and the next opening completes it`;
      this.#findings.warn({ ...finding, found });
    } else this.#findings.fault(finding);
  }

  #isOlder({ superblock }: Copy, slot: number): boolean {
    if (typeof superblock === "string" || superblock.commit >= this.#newest.commit) return false;
    return superblock.slot === slot && bytesEqual(superblock.volumeId, this.#newest.volumeId);
  }

  #describe({ superblock }: Copy, slot: number): string {
    if (typeof superblock === "string") return superblock;
    if (!bytesEqual(superblock.volumeId, this.#newest.volumeId)) return "a superblock of another volume";
    if (superblock.slot !== slot) return `the superblock of member ${superblock.slot}`;
    const isSame = superblock.commit === this.#newest.commit;
    return isSame ? "another content than elsewhere" : `commit ${superblock.commit}`;
  }

  /** A copy in the slot that the next commit writes. */
  #checkPrevious(slot: number, disk: Disk, copy: Copy): void {
    const wanted = this.#newest.commit - 1;
    const { superblock } = copy;
    const finding = {
      path: disk.path,
      offset: copy.offset,
      structure: `superblock of member ${slot}, not in use`,
      expected: `commit ${wanted}`,
      found: this.#describe(copy, slot),
    };
    if (typeof superblock === "string") {
      const isBlank = wanted === 0 && !isWritten(copy);
      if (!isBlank) this.#findings.warn(finding);
    } else if (superblock.commit !== wanted) this.#findings.warn(finding);
    else if (this.#previous === null) this.#previous = superblock;
    else if (!bytesEqual(copy.bytes, encodeSuperblock(this.#kernel, { ...this.#previous, slot }))) {
      this.#findings.fault({ ...finding, found: "another content than elsewhere" });
    }
  }

  /**
   * Whether a crash can have left this: some sectors are those of the newest superblock, the others of an older one.
   * The old first sector carries the commit before last, and what follows parses as an older state of this volume.
   */
  #isTorn({ bytes }: Copy, expected: Uint8Array): boolean {
    const isNew = (from: number) =>
      bytesEqual(bytes.subarray(from, from + SECTOR_BYTES), expected.subarray(from, from + SECTOR_BYTES));
    const sectors = Array.from({ length: SUPERBLOCK_BYTES / SECTOR_BYTES }, (_, i) => i * SECTOR_BYTES);
    const newCount = sectors.filter(isNew).length;
    if (newCount === 0 || newCount === sectors.length) return false;
    // The first commit of a slot is written over zeros, and so is the one after a torn one.
    const isBlank = (from: number) => bytes.subarray(from, from + SECTOR_BYTES).every((byte) => byte === 0);
    if (sectors.every((from) => isNew(from) || isBlank(from))) return true;
    if (this.#newest.commit <= SUPERBLOCK_SLOTS) return false;
    if (this.#isMixture(bytes, bytes.length, isNew(0))) return true;
    // The older one may have known fewer generations: then something new stands behind its end.
    const lastOld = Math.max(...sectors.filter((from) => !isNew(from)));
    const { history } = this.#newest;
    const ends = history.map((_, known) =>
      superblockEnd({ ...this.#newest, history: history.slice(0, known) }),
    );
    return ends.some((end) => end > lastOld && this.#isMixture(bytes, end, isNew(0)));
  }

  /** The bytes up to that end are a superblock of this volume, but for the checksum. */
  #isMixture(bytes: Uint8Array, end: number, isHeadNew: boolean): boolean {
    const mixed = bytes.slice().fill(0, end);
    this.#kernel.checksum64(mixed.subarray(8), new Uint32Array(mixed.buffer, mixed.byteOffset, 2));
    const decoded = decodeSuperblock(this.#kernel, mixed);
    return typeof decoded !== "string" && couldPrecede(decoded, this.#newest, isHeadNew);
  }

  #reportMissing(slot: number): void {
    const { path, state } = this.#newest.members[slot]!;
    const found = state === "missing" ? "recorded as missing" : "missing";
    const structure = `member ${slot}`;
    this.#findings.warn({ path, offset: null, structure, expected: "a current member", found });
  }

  #checkSizes(disks: readonly (Disk | null)[]): void {
    const { dataOffset, segmentCount, segmentStripes, memberBytes, dataUnits, parityUnits } = this.#newest;
    const fault = (what: string, expected: number | string, found: number | string) =>
      this.#findings.fault({
        path: null,
        offset: null,
        structure: `superblock, ${what}`,
        expected: `${expected}`,
        found: `${found}`,
      });
    if (dataOffset !== dataOffsetFor(segmentCount))
      fault("dataOffset", dataOffsetFor(segmentCount), dataOffset);
    const segmentsMax = segmentCountFor(memberBytes, segmentStripes);
    if (segmentCount > segmentsMax) fault("segmentCount", `at most ${segmentsMax}`, segmentCount);
    const units = dataUnits + parityUnits;
    if (units > disks.length) fault("data and parity units", `at most ${disks.length}`, units);
  }

  /** Each generation follows the one before; what the commit before knew is the beginning of it. */
  #checkHistory(): void {
    const { history, role } = this.#newest;
    const fault = (expected: string, found: string) =>
      this.#findings.fault({ path: null, offset: null, structure: "generation history", expected, found });
    for (const [index, { number, startSequence }] of history.entries()) {
      const before = history[index - 1];
      if (before === undefined) continue;
      if (number !== before.number + 1) fault(`generation ${before.number + 1}`, `generation ${number}`);
      if (startSequence < before.startSequence)
        fault(`a start at ${before.startSequence} or behind it`, `${startSequence}`);
    }
    // A mirror takes its source's history, whatever it was before.
    if (role === "mirror" || this.#previous === null) return;
    const older = this.#previous.history.filter(({ number }) => number >= history[0]!.number);
    const isPrefix = older.every((record, index) => isSame(record, history[index]));
    if (!isPrefix) fault("that of the commit before, and more", "another one");
  }
}

function allPlaces(memberBytes: number): number[] {
  const places = Array.from({ length: SUPERBLOCK_SLOTS }, (_, slot) => slotOffsets(memberBytes, slot));
  return places
    .flat()
    .filter((offset) => offset >= 0 && offset <= tailOffset(memberBytes) + SUPERBLOCK_BYTES);
}

async function readCopy(kernel: Kernel, disk: Disk, offset: number): Promise<Copy> {
  const bytes = new Uint8Array(SUPERBLOCK_BYTES);
  try {
    await readDisk(disk, offset, bytes);
  } catch (error) {
    return { offset, bytes, superblock: `unreadable: ${error instanceof Error ? error.message : error}` };
  }
  return { offset, bytes, superblock: decodeSuperblock(kernel, bytes) };
}

/** Anything but zeros lies there. */
function isWritten({ bytes }: Copy): boolean {
  return bytes.some((byte) => byte !== 0);
}

/** What a superblock says may change from commit to commit; a torn one must agree in the rest. */
function couldPrecede(old: Superblock, newest: Superblock, isHeadNew: boolean): boolean {
  const isSameVolume =
    bytesEqual(old.volumeId, newest.volumeId) &&
    old.memberBytes === newest.memberBytes &&
    old.members.length === newest.members.length;
  if (!isSameVolume || old.commit !== newest.commit - (isHeadNew ? 0 : SUPERBLOCK_SLOTS)) return false;
  const areMembersSame = old.members.every(({ id, path }, slot) => {
    const now = newest.members[slot]!;
    return bytesEqual(id, now.id) && path === now.path;
  });
  const isTrustKept = old.logCopies.every((isTrusted, copy) => isTrusted || !newest.logCopies[copy]);
  const from = newest.history[0]!.number;
  const known = old.history.filter(({ number }) => number >= from);
  const isPrefix = known.every((record, index) => isSame(record, newest.history[index]));
  return areMembersSame && isTrustKept && (isPrefix || newest.role === "mirror");
}

function isSame(a: GenerationRecord, b: GenerationRecord | undefined): boolean {
  if (b === undefined || a.number !== b.number || a.id !== b.id) return false;
  return a.startSequence === b.startSequence && a.startChain === b.startChain;
}
