// Making a volume: the log copies, the members with an empty image, and last the superblocks, so that a creation
// that was interrupted never looks like a volume. What exists is refused; what was made before a failure is removed.
import { CONTAINER_POINTER_BYTES, ID_BYTES, INNER_POINTER_BYTES } from "../../assembly/format.ts";
import type { Disk } from "../io/disk.ts";
import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { createLog, removeLog } from "../log/create.ts";
import { geometryOf, type VolumeConfig } from "./config.ts";
import { dataOffsetFor, readCandidate, writeSuperblocks } from "./members.ts";
import { SegmentTable } from "./segments.ts";
import { newGenerationId, type Role, type Superblock } from "./superblock.ts";

/** Makes members and log. Rejects with ERR_EXISTS, ERR_CONFIG, ERR_NO_SPACE, ... naming what is wrong. */
export async function createVolume(
  world: World,
  kernel: Kernel,
  config: VolumeConfig,
  role: Role,
): Promise<void> {
  const superblock = firstSuperblock(world, config, role);
  const existing = await Promise.all(config.members.map((path) => world.storage.exists(path)));
  const disks: Disk[] = [];
  let isLogMade = false;
  try {
    for (const path of config.members)
      disks.push(await createMember(world, kernel, path, superblock.memberBytes));
    await world.storage.lock(disks);
    const { volumeId, logHalfBytes: halfBytes } = superblock;
    await createLog(world.storage, config.log, { kernel, volumeId, halfBytes });
    isLogMade = true;
    await writeImage(kernel, disks, superblock);
  } catch (error) {
    await Promise.all(disks.map((disk) => disk.close()));
    for (const [slot, path] of config.members.entries()) {
      if (slot < disks.length && !existing[slot]) await world.storage.remove(path);
    }
    if (isLogMade) await removeLog(world.storage, config.log);
    throw error;
  }
  await Promise.all(disks.map((disk) => disk.close()));
}

async function createMember(world: World, kernel: Kernel, path: string, bytes: number): Promise<Disk> {
  const disk = await world.storage.create(path, bytes, "sparse");
  const { superblock } = await readCandidate(kernel, disk);
  if (typeof superblock === "string") return disk;
  await disk.close();
  throw new MirrorvolError("ERR_EXISTS", `${path} already is a member of a volume`);
}

function firstSuperblock(world: World, config: VolumeConfig, role: Role): Superblock {
  const geometry = geometryOf(config);
  const id = newGenerationId(world.random);
  return {
    commit: 1,
    cp: 0,
    volumeId: world.random.bytes(ID_BYTES),
    slot: 0,
    role,
    inSync: false,
    everInSync: false,
    ...geometry,
    dataOffset: dataOffsetFor(geometry.segmentCount),
    vvbnCursor: 1,
    mapRoot: new Uint32Array(INNER_POINTER_BYTES / 4),
    containerRoot: new Uint32Array(CONTAINER_POINTER_BYTES / 4),
    freeList: new Uint32Array(INNER_POINTER_BYTES / 4),
    tableSum: 0n,
    appliedSequence: 0,
    appliedChain: 0n,
    aloneSince: null,
    boundTo: null,
    fencedBy: null,
    logCopies: config.log.map(() => true),
    members: config.members.map((path) => ({
      id: world.random.bytes(ID_BYTES),
      state: "current" as const,
      path,
    })),
    history: [{ number: 1, id, startSequence: 0, startChain: 0n }],
  };
}

async function writeImage(kernel: Kernel, disks: readonly Disk[], superblock: Superblock): Promise<void> {
  const table = new SegmentTable(kernel, superblock.volumeId, superblock.segmentCount);
  table.markAllDirty();
  for (const error of (await table.writeDirty(disks, superblock.commit)).values()) throw error;
  await Promise.all(disks.map((disk) => disk.sync()));
  const complete = { ...superblock, tableSum: table.sumAt(superblock.commit) };
  for (const error of (await writeSuperblocks(kernel, disks, complete)).values()) throw error;
  await Promise.all(disks.map((disk) => disk.sync()));
}
