// The member files as a set: their superblocks, and which of them may be trusted together.
//
// Rules: the newest valid superblock wins; a member that it lists as missing is stale; one that it lists as
// current must have taken part in that commit or in the one before (a crash in between); a blank one, or one
// with another id, is excluded; two sets that were opened apart (each lists the other as missing) are refused.
import {
  BLOCK_BYTES,
  SEGMENT_TABLE_OFFSET,
  SUPERBLOCK_BYTES,
  SUPERBLOCK_SLOTS,
} from "../../assembly/format.ts";
import { type Disk, type DiskOperation, readDisk } from "../io/disk.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { segmentPageCount } from "./segments.ts";
import { decodeSuperblock, encodeSuperblock, type Superblock } from "./superblock.ts";
import { bytesEqual, toHex } from "./words.ts";

/** Why there is no superblock where nothing was ever written. */
const BLANK = "blank: no superblock";

/** What a disk says of itself. */
export interface Candidate {
  readonly disk: Disk;
  /** The newest valid superblock on it, or why there is none. */
  readonly superblock: Superblock | string;
  /** Offsets of the places for a superblock that hold something else. */
  readonly torn: readonly number[];
}

export interface Assembly {
  readonly superblock: Superblock;
  /** By member slot; null: missing, stale or blank. */
  readonly disks: (Disk | null)[];
  /** Why a configured disk was left out. */
  readonly excluded: { readonly path: string; readonly reason: string }[];
}

export function tailOffset(memberBytes: number): number {
  return memberBytes - SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES;
}

/** Where stripe 0 begins. */
export function dataOffsetFor(segmentCount: number): number {
  return SEGMENT_TABLE_OFFSET + segmentPageCount(segmentCount) * 2 * BLOCK_BYTES;
}

/** How many segments a member of so many bytes holds. */
export function segmentCountFor(memberBytes: number, segmentStripes: number): number {
  const segmentBytes = segmentStripes * BLOCK_BYTES;
  let count = Math.floor((tailOffset(memberBytes) - SEGMENT_TABLE_OFFSET) / segmentBytes);
  while (count > 0 && dataOffsetFor(count) + count * segmentBytes > tailOffset(memberBytes)) count--;
  return Math.max(0, count);
}

/** Where the superblocks of one slot stand on a member: at the head and at the tail. */
export function slotOffsets(memberBytes: number, slot: number): number[] {
  return [slot * SUPERBLOCK_BYTES, tailOffset(memberBytes) + slot * SUPERBLOCK_BYTES];
}

/** Reads the four places of a member; a block device may be larger than what the volume uses of it. */
export async function readCandidate(kernel: Kernel, disk: Disk): Promise<Candidate> {
  const reasons: string[] = [];
  const torn: number[] = [];
  let newest: Superblock | null = null;
  const consider = async (offset: number) => {
    const found = await readSuperblock(kernel, disk, offset);
    if (typeof found === "string") {
      reasons.push(found);
      if (found !== BLANK) torn.push(offset);
    } else if (newest === null || found.commit > newest.commit) newest = found;
    return found;
  };
  const heads = [await consider(0), await consider(SUPERBLOCK_BYTES)];
  const known = heads.find((found) => typeof found !== "string");
  const memberBytes = known === undefined ? disk.bytes : known.memberBytes;
  for (const offset of [tailOffset(memberBytes), tailOffset(memberBytes) + SUPERBLOCK_BYTES])
    await consider(offset);
  return { disk, superblock: newest ?? [...new Set(reasons)].join(", "), torn };
}

async function readSuperblock(kernel: Kernel, disk: Disk, offset: number): Promise<Superblock | string> {
  const bytes = new Uint8Array(SUPERBLOCK_BYTES);
  if (offset < 0 || offset + bytes.length > disk.bytes) return "too small for a member";
  try {
    await readDisk(disk, offset, bytes);
  } catch (error) {
    return `unreadable: ${error instanceof Error ? error.message : error}`;
  }
  if (bytes.every((byte) => byte === 0)) return BLANK;
  const found = decodeSuperblock(kernel, bytes);
  return typeof found !== "string" && !doesFit(found, disk.bytes) ? "it describes a larger member" : found;
}

/** What it says of its member's size is possible: nothing is allocated by numbers that no member can have. */
function doesFit(superblock: Superblock, diskBytes: number): boolean {
  const { memberBytes, segmentStripes, segmentCount, dataOffset } = superblock;
  if (memberBytes > diskBytes || segmentStripes === 0 || segmentCount === 0) return false;
  const end = dataOffset + segmentCount * segmentStripes * BLOCK_BYTES;
  return dataOffset >= dataOffsetFor(segmentCount) && end <= tailOffset(memberBytes);
}

/** Decides which of the disks form the volume. Throws when they do not, naming what is wrong. */
export function assembleMembers(candidates: readonly Candidate[]): Assembly {
  const valid = candidates.filter((candidate) => typeof candidate.superblock !== "string");
  if (valid.length === 0) {
    const reasons = candidates.map(({ disk, superblock }) => `${disk.path}: ${String(superblock)}`);
    throw new MirrorvolError("ERR_NO_MEMBERS", `no member has a valid superblock: ${reasons.join("; ")}`);
  }
  const superblock = valid
    .map((candidate) => candidate.superblock as Superblock)
    .reduce((newest, next) => (next.commit > newest.commit ? next : newest));
  refuseForeign(valid, superblock);
  refuseApart(valid, superblock);
  const disks = superblock.members.map((): Disk | null => null);
  const excluded: { path: string; reason: string }[] = [];
  for (const candidate of candidates) {
    const reason = reasonToExclude(candidate, superblock, disks);
    if (reason !== null) excluded.push({ path: candidate.disk.path, reason });
    else disks[(candidate.superblock as Superblock).slot] = candidate.disk;
  }
  return { superblock, disks, excluded };
}

function refuseForeign(valid: readonly Candidate[], superblock: Superblock): void {
  const ids = new Map<string, string>();
  for (const { disk, superblock: own } of valid) ids.set(toHex((own as Superblock).volumeId), disk.path);
  if (ids.size === 1) return;
  const named = [...ids].map(([id, path]) => `${path} belongs to ${id}`).join(", ");
  const message = `the members belong to different volumes: ${named} (newest: ${toHex(superblock.volumeId)})`;
  throw new MirrorvolError("ERR_MEMBERS_FOREIGN", message);
}

function refuseApart(valid: readonly Candidate[], newest: Superblock): void {
  for (const { disk, superblock } of valid) {
    const own = superblock as Superblock;
    const isOutThere = newest.members[own.slot]?.state === "missing";
    const saysOthersOut = own.members[newest.slot]?.state === "missing";
    const isSameCommit = own.commit === newest.commit && !sameCommit(own, newest);
    if (!(isOutThere && saysOthersOut) && !isSameCommit) continue;
    const message =
      `${disk.path} (commit ${own.commit}) and member ${newest.slot} (commit ${newest.commit}) were each opened ` +
      "without the other: two histories of one volume; decide which one to keep and take the other away";
    throw new MirrorvolError("ERR_MEMBERS_DIVERGED", message);
  }
}

/** Copies of one commit differ in nothing but the slot. */
function sameCommit(a: Superblock, b: Superblock): boolean {
  const same = (x: Uint32Array, y: Uint32Array) => x.every((word, i) => word === y[i]);
  return (
    same(a.mapRoot, b.mapRoot) && same(a.containerRoot, b.containerRoot) && a.appliedChain === b.appliedChain
  );
}

function reasonToExclude(
  candidate: Candidate,
  newest: Superblock,
  taken: readonly (Disk | null)[],
): string | null {
  const own = candidate.superblock;
  if (typeof own === "string") return own;
  const record = newest.members[own.slot];
  if (record === undefined) return `it says that it is member ${own.slot} of ${newest.members.length}`;
  if (!bytesEqual(record.id, own.members[own.slot]!.id))
    return `member ${own.slot} has been replaced by another`;
  if (record.state === "missing") return `stale: the volume went on without it (commit ${own.commit})`;
  if (own.commit < newest.commit - 1)
    return `stale: it is at commit ${own.commit}, the volume at ${newest.commit}`;
  if (taken[own.slot] !== null) return `a second copy of member ${own.slot}`;
  return null;
}

/** Writes the superblock to its slots on every given disk, head first; returns what failed. */
export async function writeSuperblocks(
  kernel: Kernel,
  disks: readonly (Disk | null)[],
  superblock: Superblock,
): Promise<Map<number, Error>> {
  const failed = new Map<number, Error>();
  await Promise.all(
    disks.map(async (disk, slot) => {
      if (disk === null) return;
      const buffer = encodeSuperblock(kernel, { ...superblock, slot });
      const offsets = slotOffsets(superblock.memberBytes, superblock.commit % SUPERBLOCK_SLOTS);
      const batch: DiskOperation[] = offsets.map((offset) => ({ kind: "write", offset, buffer }));
      const error = (await disk.submit(batch)).find((result) => result !== null);
      if (error) failed.set(slot, error);
    }),
  );
  return failed;
}
