// Opening a volume: its members are found and locked, the newest image is chosen, what is missing is recorded, the
// log is recovered and replayed into the dirty indexes. Nothing is served before all of that.
import { ENTRY_KIND_SEAL } from "../../assembly/format.ts";
import type { Disk } from "../io/disk.ts";
import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { Log } from "../log/log.ts";
import type { EntryView } from "../log/types.ts";
import { slotsOf } from "../raid/geometry.ts";
import { hashesOf } from "./appender.ts";
import { CACHE_BYTES, RING_BYTES, type VolumeConfig } from "./config.ts";
import { type CoreParts, VolumeCore } from "./core.ts";
import { type Assembly, assembleMembers, readCandidate, writeSuperblocks } from "./members.ts";
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
  try {
    const found = assembleMembers(await Promise.all(disks.map((disk) => readCandidate(parts.kernel, disk))));
    const assembly = { ...found, excluded: [...absent, ...found.excluded] };
    checkSize(parts.config, assembly);
    const store = await openStore(parts, assembly);
    const core = new VolumeCore({ ...parts, store });
    lossHandlers.get(store)!.core = core;
    await openLog(core, parts.config);
    await replay(core);
    return { core, excluded: assembly.excluded };
  } catch (error) {
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

function checkSize(config: VolumeConfig, { superblock }: Assembly): void {
  const bytes = superblock.sizeBlocks * 4096;
  if (bytes === config.sizeBytes) return;
  const message = `volume "${config.name}": the configuration says ${config.sizeBytes} bytes, the members hold ${bytes}`;
  throw new MirrorvolError("ERR_CONFIG", message);
}

/** The store hears of lost members before there is a core to tell. */
const lossHandlers = new WeakMap<Store, { core: VolumeCore | null }>();

async function openStore(parts: OpenParts, assembly: Assembly): Promise<Store> {
  const { kernel, config } = parts;
  const handler: { core: VolumeCore | null } = { core: null };
  const store = new Store({
    kernel,
    superblock: assembly.superblock,
    disks: assembly.disks,
    cacheBytes: config.cacheBytes ?? CACHE_BYTES,
    onMemberLost: (slot, error) => memberLost(parts, handler.core, slot, error),
    onSuspect: () => handler.core?.onWork(),
  });
  lossHandlers.set(store, handler);
  await store.load();
  refuseTooFew(config, store);
  await completeSuperblocks(store);
  await store.commitLock.run(() => store.updateSuperblock({}));
  return store;
}

function memberLost(parts: OpenParts, core: VolumeCore | null, slot: number, error: Error): void {
  parts.emit("degraded", { member: slot, reason: error.message });
  if (core === null) return;
  const { store } = core;
  core.holdAcknowledgements(() => store.commitLock.run(() => store.updateSuperblock({}))).catch(() => {});
}

/** Every live block must be within reach: k of the members of its segment. */
function refuseTooFew(config: VolumeConfig, store: Store): void {
  const { present } = store.raid;
  const missing = store.superblock.members.flatMap((member, slot) =>
    present & (1 << slot) ? [] : [member.path],
  );
  for (let segment = 0; segment < store.table.count; segment++) {
    const { used, live, geometry } = store.table.get(segment);
    if (!used || live === 0 || slotsOf(geometry.members & present).length >= geometry.k) continue;
    const message = `volume "${config.name}": too few members to read it; missing: ${missing.join(", ")}`;
    throw new MirrorvolError("ERR_TOO_FEW_MEMBERS", message);
  }
  if (present === 0)
    throw new MirrorvolError("ERR_TOO_FEW_MEMBERS", `volume "${config.name}": no member is left`);
}

/**
 * A crash may have left the newest superblock on some members only. It goes to all before the next one moves, or
 * a second crash could leave a member with none.
 */
async function completeSuperblocks(store: Store): Promise<void> {
  for (const [slot, error] of await writeSuperblocks(store.kernel, store.disks, store.superblock)) {
    store.raid.dropMember(slot, error);
  }
  await store.raid.sync();
}

async function openLog(core: VolumeCore, config: VolumeConfig): Promise<void> {
  const { store, kernel, world } = core;
  const { appliedSequence, appliedChain, history, volumeId, logCopies } = store.superblock;
  const newest = history[history.length - 1]!;
  if (logCopies.length !== config.log.length) {
    const message = `volume "${config.name}" was made with ${logCopies.length} log copies, the configuration names ${config.log.length}`;
    throw new MirrorvolError("ERR_CONFIG", message);
  }
  core.log = await Log.open({
    kernel,
    storage: world.storage,
    prefixes: config.log,
    volumeId,
    ringBytes: config.ringBytes ?? RING_BYTES,
    applied: { sequence: appliedSequence, chain: appliedChain },
    generation: { number: newest.number, id: newest.id },
    trustedCopies: logCopies,
    onDurable: (sequence) => core.locallyDurable(sequence),
    onSpace: () => core.wakeSpace(),
    onCopyFailed: (copy, error) => copyFailed(core, copy, error),
    onFailed: (error) => core.fail(error),
  });
}

/** Recorded before anything that the other copies synced is acknowledged: the log waits for it. */
async function copyFailed(core: VolumeCore, copy: number, error: Error): Promise<void> {
  core.emit("degraded", { logCopy: copy, reason: error.message });
  const { store } = core;
  await store.commitLock.run(() => {
    const logCopies = store.superblock.logCopies.map((trusted, index) => trusted && index !== copy);
    return store.updateSuperblock({ logCopies });
  });
}

/** The entries behind the image become pending again; what has met its mode is visible when the gate opens. */
async function replay(core: VolumeCore): Promise<void> {
  const { image } = core.store;
  core.halves.reset(image.cp + 1, image.appliedSequence + 1);
  core.pending.reset(image.appliedSequence);
  if (core.log.tail.sequence > image.appliedSequence) {
    for await (const entry of core.log.entries(image.appliedSequence + 1)) await replayEntry(core, entry);
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
