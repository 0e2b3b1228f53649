// Opening a volume: its members are found and locked, the newest image is chosen, what is missing is recorded, the
// log is recovered and replayed into the dirty indexes. Nothing is served before all of that.
//
// The log is looked at before anything is recorded: when it shows that these members are an old set, the opening
// is refused, and the set is as it was. (Had it recorded the others as missing, there would be two histories.)
import { ENTRY_KIND_SEAL, SUPERBLOCK_BYTES, SUPERBLOCK_SLOTS } from "../../assembly/format.ts";
import type { Disk } from "../io/disk.ts";
import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { Log } from "../log/log.ts";
import type { EntryView } from "../log/types.ts";
import { hashesOf } from "./appender.ts";
import { CACHE_BYTES, RING_BYTES, type VolumeConfig } from "./config.ts";
import { type CoreParts, VolumeCore } from "./core.ts";
import {
  type Assembly,
  assembleMembers,
  type Candidate,
  readCandidate,
  slotOffsets,
  writeSuperblocks,
} from "./members.ts";
import { refuseMisfit } from "./refusals.ts";
import { Store } from "./store.ts";

export interface OpenParts extends Pick<CoreParts, "writeTimeoutMs" | "emit"> {
  readonly world: World;
  readonly kernel: Kernel;
  readonly config: VolumeConfig;
}

export interface Opened {
  readonly core: VolumeCore;
  readonly excluded: Assembly["excluded"];
}

export async function openVolume(parts: OpenParts): Promise<Opened> {
  const { disks, absent } = await openDisks(parts);
  let core: VolumeCore | null = null;
  try {
    const candidates = await Promise.all(disks.map((disk) => readCandidate(parts.kernel, disk)));
    const found = assembleMembers(candidates);
    const assembly = { ...found, excluded: [...absent, ...found.excluded] };
    await Promise.all(disks.map((disk) => (assembly.disks.includes(disk) ? null : disk.close())));
    refuseMisfit(parts.config, assembly.superblock);
    core = await openCore(parts, assembly);
    const recordCopies = await openLog(core, parts);
    refuseOldMembers(core);
    await replay(core);
    await completeSuperblocks(core.store, candidates);
    await recordCopies();
    return { core, excluded: assembly.excluded };
  } catch (error) {
    await core?.log?.close();
    await core?.store.close();
    await Promise.all(disks.map((disk) => disk.close()));
    throw error;
  }
}

async function openDisks(
  parts: OpenParts,
): Promise<{ disks: Disk[]; absent: { path: string; reason: string }[] }> {
  const disks: Disk[] = [];
  const absent: { path: string; reason: string }[] = [];
  for (const path of parts.config.members) {
    try {
      disks.push(await parts.world.storage.open(path));
    } catch (error) {
      absent.push({ path, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  try {
    await parts.world.storage.lock(disks);
  } catch (error) {
    await Promise.all(disks.map((disk) => disk.close()));
    throw error;
  }
  return { disks, absent };
}

async function openCore(parts: OpenParts, assembly: Assembly): Promise<VolumeCore> {
  const { kernel, config } = parts;
  let core: VolumeCore | null = null;
  const store = new Store({
    kernel,
    superblock: assembly.superblock,
    disks: assembly.disks,
    cacheBytes: config.cacheBytes ?? CACHE_BYTES,
    onMemberLost: (slot, error) => memberLost(parts, core, slot, error),
    onWork: () => {
      core?.wakeSpace();
      core?.onWork();
    },
  });
  try {
    await store.load();
    store.refuseTooFew();
  } catch (error) {
    await store.close();
    throw error;
  }
  core = new VolumeCore({ ...parts, store });
  return core;
}

function memberLost(parts: OpenParts, core: VolumeCore | null, slot: number, error: Error): void {
  parts.emit("degraded", { member: slot, reason: error.message });
  core?.holdAcknowledgements(() => core.store.updateSuperblock({})).catch(() => {});
}

/**
 * A crash may have left the newest superblock on some members only. It goes to all before the next one moves, or
 * a second crash could leave a member with none.
 */
async function completeSuperblocks(store: Store, candidates: readonly Candidate[]): Promise<void> {
  for (const [slot, error] of await writeSuperblocks(store.kernel, store.disks, store.superblock)) {
    store.raid.dropMember(slot, error);
  }
  for (const candidate of candidates) await clearTorn(store, candidate);
  await store.raid.sync();
}

/** What a crash tore in the place of the next superblock: torn a second time nobody could tell it from damage. */
async function clearTorn(store: Store, { disk, torn }: Candidate): Promise<void> {
  const { memberBytes, commit } = store.superblock;
  const next = slotOffsets(memberBytes, (commit + 1) % SUPERBLOCK_SLOTS);
  const offsets = torn.filter((offset) => next.includes(offset));
  const slot = store.disks.indexOf(disk);
  if (slot < 0 || offsets.length === 0) return;
  const buffer = new Uint8Array(SUPERBLOCK_BYTES);
  const results = await disk.submit(offsets.map((offset) => ({ kind: "write", offset, buffer })));
  const error = results.find((result) => result !== null);
  if (error) store.raid.dropMember(slot, error);
}

/** Returns what records the lost copies and members, to be called once it is known that the members may go on. */
async function openLog(core: VolumeCore, { config, emit }: OpenParts): Promise<() => Promise<void>> {
  const { store, kernel, world } = core;
  const { appliedSequence, appliedChain, history, volumeId, logCopies } = store.superblock;
  const newest = history[history.length - 1]!;
  const lost = new Set<number>();
  // Awaited by the log before anything counts as durable without the copy. While it is opened nothing does yet.
  let record = (): Promise<void> => Promise.resolve();
  const copyLost = (copy: number, error: Error): Promise<void> => {
    emit("degraded", { logCopy: copy, reason: error.message });
    lost.add(copy);
    return record();
  };
  core.log = await Log.open({
    kernel,
    storage: world.storage,
    prefixes: config.log,
    volumeId,
    ringBytes: config.ringBytes ?? RING_BYTES,
    applied: { sequence: appliedSequence, chain: appliedChain },
    generation: { number: newest.number, id: newest.id },
    history,
    trustedCopies: logCopies,
    isMirror: store.superblock.role === "mirror",
    onDurable: (sequence) => core.locallyDurable(sequence),
    onSpace: () => core.wakeSpace(),
    onCopyFailed: copyLost,
    onFailed: (error) => core.fail(error),
  });
  return () => {
    record = () => store.updateSuperblock((now) => ({ logCopies: without(now.logCopies, lost) }));
    return record();
  };
}

function without(copies: readonly boolean[], lost: ReadonlySet<number>): boolean[] {
  return copies.map((isTrusted, copy) => isTrusted && !lost.has(copy));
}

/**
 * Members that were set aside still take themselves and the absent ones for current: they cannot know what was
 * recorded without them. The log tells, because it went on. Where it leads on from their image without a gap, they
 * are brought up to date by replay; otherwise they must neither be served nor change anything.
 */
function refuseOldMembers(core: VolumeCore): void {
  const { requiredThrough, tail } = core.log.recovery;
  if (requiredThrough <= tail) return;
  const { store, config } = core;
  const isAbsent = (slot: number) => store.disks[slot] === null;
  const absent = store.superblock.members.filter(({ state }, slot) => state === "current" && isAbsent(slot));
  if (absent.length === 0) return;
  const message =
    `volume "${config.name}": the log was written up to entry ${requiredThrough}, but these members lead only to ` +
    `entry ${tail}: they may be an old set; missing: ${absent.map(({ path }) => path).join(", ")}`;
  throw new MirrorvolError("ERR_MEMBERS_STALE", message);
}

/** The entries behind the image become pending again; what has met its mode is visible when the gate opens. */
async function replay(core: VolumeCore): Promise<void> {
  const { image } = core.store;
  core.halves.reset(image.cp + 1, image.appliedSequence + 1);
  core.pending.reset(image.appliedSequence);
  if (core.log.tail.sequence > image.appliedSequence) {
    for await (const entry of core.log.entries(image.appliedSequence + 1)) await replayEntry(core, entry);
    core.setReplayed(core.log.tail.sequence);
  }
}

async function replayEntry(core: VolumeCore, entry: EntryView): Promise<void> {
  const { sequence, kind, lba, blockCount: count, location, payload } = entry;
  if (kind === ENTRY_KIND_SEAL) {
    const chain = await core.log.chainAt(sequence);
    core.halves.seal({ sequence, chain: chain! });
  }
  const hashes = payload.length > 0 ? hashesOf(core, payload, count) : null;
  core.trackSilently({ sequence, kind, lba, count, location, mode: "sync", payload: null, hashes });
}
