// Checks a closed volume as a whole, and gives tests a look behind the volume: where a block lies on the members.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Storage } from "../../src/io/disk.ts";
import { describeFinding } from "../../src/log/findings.ts";
import { slotOf, stripeOf } from "../../src/raid/geometry.ts";
import { type CheckReport, checkVolume } from "../../src/volume/check.ts";
import { assembleMembers, readCandidate } from "../../src/volume/members.ts";
import { Store } from "../../src/volume/store.ts";
import type { VolumeConfig } from "../../src/volume/volume.ts";
import { assert } from "../support/harness.ts";
import { makeKernel, makeWorld } from "./fixture.ts";

/** Opens the members for reading only, without a log. */
export async function withStore<T>(
  storage: Storage,
  config: VolumeConfig,
  look: (store: Store) => Promise<T>,
): Promise<T> {
  const kernel = makeKernel();
  const disks = [];
  for (const path of config.members) {
    const disk = await storage.open(path, { readOnly: true }).catch(() => null);
    if (disk !== null) disks.push(disk);
  }
  const found = assembleMembers(await Promise.all(disks.map((disk) => readCandidate(kernel, disk))));
  const cacheBytes = config.cacheBytes ?? 1024 * 1024;
  const { superblock } = found;
  const none = () => {};
  const store = new Store({
    kernel,
    superblock,
    disks: found.disks,
    cacheBytes,
    onMemberLost: none,
    onWork: none,
  });
  try {
    await store.load();
    return await look(store);
  } finally {
    await store.raid.close();
    await Promise.all(disks.map((disk) => disk.close()));
  }
}

/** Nothing is wrong with the closed volume: superblocks, maps, blocks, parity, log. */
export async function expectSound(storage: Storage, config: VolumeConfig): Promise<CheckReport> {
  const report = await checkVolume(makeWorld(storage), makeKernel(), config);
  assert.equal(report.faults.slice(0, 10).map(describeFinding), [], `${report.faultCount} faults`);
  return report;
}

/** Where a unit lies: the member's path and the byte offset. */
export interface Place {
  readonly path: string;
  readonly offset: number;
  readonly pvbn: number;
}

export function placeOf(store: Store, config: VolumeConfig, pvbn: number): Place {
  const offset = store.superblock.dataOffset + stripeOf(pvbn) * BLOCK_BYTES;
  return { path: config.members[slotOf(pvbn)]!, offset, pvbn };
}
