// Space is decided before a write is acknowledged: what was admitted must find room at its CP, whatever else
// happens, or the volume would have to stop.
//
//   all segments   |<------- limit: new blocks -------->|<- one worst-case CP ->|<- another, and two segments ->|
//
// Blocks that are new to the volume are admitted up to the limit. Overwriting takes as much as it gives back, so
// it goes on at the limit; but not at once where
//   - a pinned image keeps the old blocks, or
//   - members are missing, and what leaves a wide segment needs more room in narrow ones;
// then overwriting may use the first reserve and goes no further. The second one belongs to the cleaner and to the
// CPs that are under way.
//
// Where room is on its way (overwritten and trimmed blocks that are not free yet, perhaps because a pinned image keeps
// them; dirty blocks that may turn out to overwrite), writes wait for it, as long as a write may wait for anything;
// otherwise they are refused at once.
import { MirrorvolError } from "../kernel/errors.ts";
import { segmentsFor } from "./cleaner.ts";
import { cpBlocksMax } from "./config.ts";
import type { VolumeCore } from "./core.ts";
import type { Store } from "./store.ts";

const WORST_CPS = 2;
/** Of a segment's blocks; the rest are summaries and padding. */
const PAYLOAD_SHARE = 0.97;

/** Blocks that may live on the members before new ones are refused. */
export function limitBlocks({ store }: VolumeCore): number {
  const { segmentStripes } = store.superblock;
  const segments = store.table.count - WORST_CPS * reserveSegments(store) - 1;
  return Math.floor(segments * segmentStripes * store.dataUnitsNow * PAYLOAD_SHARE);
}

/** So many blocks may be appended, even if all of them are new to the volume. */
export function fitsLimit(core: VolumeCore, count: number): boolean {
  return core.store.usedBlocks() + dirtyBlocks(core) + count <= limitBlocks(core);
}

/**
 * Throws ERR_NO_SPACE when the blocks cannot be written. Otherwise returns the question to be asked once more in
 * the very step that appends them, because other writes may have taken the room meanwhile.
 */
export async function findRoom(
  core: VolumeCore,
  lba: number,
  count: number,
  deadlineMs: number,
  signal?: AbortSignal,
): Promise<() => boolean> {
  const fits = () => fitsLimit(core, count);
  if (fits()) return fits;
  for (;;) {
    const added = await core.reading.add(firstUnmapped(core, lba, count));
    const isRoom = added === null ? () => mayOverwrite(core, count) : fits;
    if (isRoom()) return isRoom;
    const leftMs = deadlineMs - core.world.clock.nowMs();
    const isComing = added === null ? core.store.isPinned : isRoomForNew(core, count);
    if (!isComing || leftMs <= 0) throw full(core, added);
    await waitForRoom(core, leftMs, signal);
    await core.pass(signal, deadlineMs);
  }
}

function full({ store, config }: VolumeCore, added: number | null): MirrorvolError {
  const cause = store.isPinned ? "an image that is being read is kept" : "members are missing";
  const why =
    added !== null
      ? `no space on the members for block ${added}`
      : `${cause}, and there is no room to overwrite`;
  return new MirrorvolError("ERR_NO_SPACE", `volume "${config.name}" is full: ${why}`);
}

/**
 * Will waiting help? Trims give room when their CP is made and their blocks are free, whatever is on the free list
 * when that is worked off, be it after a pinned image is released. And a dirty block counts as one more until its
 * CP, even where it overwrites: with a long log and a small volume that is most of the volume.
 */
function isRoomForNew(core: VolumeCore, count: number): boolean {
  const { store, halves } = core;
  if (store.hasFreeList || halves.hasTrims) return true;
  return dirtyBlocks(core) > 0 && store.usedBlocks() + count <= limitBlocks(core);
}

/** Until something changed, but not longer than that. What is dirty is sealed, so that its CP can be made. */
async function waitForRoom(core: VolumeCore, timeoutMs: number, signal?: AbortSignal): Promise<void> {
  const { active, sealed } = core.halves;
  if (active.index.hasTrims || (sealed.length === 0 && dirtyBlocks(core) > 0)) core.seal();
  const timer =
    timeoutMs === Number.POSITIVE_INFINITY
      ? null
      : core.world.clock.setTimer(timeoutMs, () => core.wakeSpace());
  try {
    await core.waitForSpace(signal);
  } finally {
    timer?.cancel();
  }
}

async function firstUnmapped(core: VolumeCore, lba: number, count: number): Promise<number | null> {
  for (let block = lba; block < lba + count; block++) if (!(await isMapped(core, block))) return block;
  return null;
}

function reserveSegments(store: Store): number {
  const { logHalfBytes, sizeBlocks } = store.superblock;
  return segmentsFor(store, Math.min(cpBlocksMax(logHalfBytes), sizeBlocks));
}

/** On their way to the members: at most so many blocks more will live there. */
function dirtyBlocks({ halves, pending }: VolumeCore): number {
  return halves.dirtyBlocks + pending.blocks;
}

function mayOverwrite(core: VolumeCore, count: number): boolean {
  const { store } = core;
  const { dataUnits, segmentStripes } = store.superblock;
  const now = store.dataUnitsNow;
  if (now === dataUnits && !store.isPinned) return true;
  const segmentBlocks = segmentStripes * now * PAYLOAD_SHARE;
  const coming = (dirtyBlocks(core) + count) / segmentBlocks;
  return store.table.count - neededSegments(store, segmentBlocks) - coming >= reserveSegments(store) + 1;
}

/** Segments that stay in use when the cleaner has done what it can: emptied where that gives something back. */
function neededSegments(store: Store, segmentBlocks: number): number {
  let needed = 0;
  for (let segment = 0; segment < store.table.count; segment++) {
    needed += Math.min(1, store.table.get(segment).live / segmentBlocks);
  }
  return needed;
}

/** Does the block take no more room when it is written? Something lives there, or is on its way. */
async function isMapped({ store, halves, pending }: VolumeCore, lba: number): Promise<boolean> {
  const newest = pending.newestOf(lba);
  if (newest !== null && newest.hashes !== null) return true;
  const found = halves.find(lba);
  return (found !== null && !found.isHole) || store.isMapped(lba);
}
