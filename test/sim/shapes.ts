// The volumes that histories are played on: small ones of many geometries. Making a volume takes longer than many a
// history, so each shape is made once a process, and every history starts from a copy. (Both sides of all histories
// so have the same ids. Nothing depends on them but that they differ.)

import { BLOCK_BYTES, LOG_HALF_COUNT } from "../../assembly/format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { HALF_BYTES_MIN } from "../../src/log/create.ts";
import { type Role, Volume, type VolumeConfig } from "../../src/volume/volume.ts";
import type { MemoryFile } from "../support/memory_file.ts";
import { withLastingPages } from "../support/memory_image.ts";
import { KERNEL_BYTES, Machine } from "./machine.ts";
import { SimNetwork } from "./sim_network.ts";
import { Tape } from "./tape.ts";
import { ALWAYS, Timeline } from "./timeline.ts";

export const VOLUME_BLOCKS = 96;

export interface Shape {
  readonly members: number;
  readonly parity: number;
  readonly logCopies: number;
  readonly segmentStripes: number;
  readonly memberBytes: number;
}

const MIB = 1024 * 1024;
/** Small, so that logs are full now and then, and recoveries have little to read. */
const HALF_BYTES = Math.ceil((2 * HALF_BYTES_MIN) / BLOCK_BYTES) * BLOCK_BYTES;

/** The first one is the simplest. */
export const SHAPES: readonly Shape[] = [
  { members: 3, parity: 1, logCopies: 2, segmentStripes: 32, memberBytes: 4 * MIB },
  { members: 1, parity: 0, logCopies: 1, segmentStripes: 32, memberBytes: 6 * MIB },
  { members: 2, parity: 1, logCopies: 2, segmentStripes: 16, memberBytes: 4 * MIB },
  { members: 4, parity: 2, logCopies: 3, segmentStripes: 16, memberBytes: 3 * MIB },
  { members: 6, parity: 3, logCopies: 2, segmentStripes: 8, memberBytes: 2.5 * MIB },
  { members: 5, parity: 1, logCopies: 1, segmentStripes: 8, memberBytes: 2 * MIB },
  { members: 3, parity: 1, logCopies: 2, segmentStripes: 8, memberBytes: 2 * MIB },
];

export function configOf(name: string, shape: Shape, cpIntervalMs: number): VolumeConfig {
  const paths = (what: string, count: number) =>
    Array.from({ length: count }, (_, i) => `${name}/${what}${i}`);
  return {
    name,
    sizeBytes: VOLUME_BLOCKS * BLOCK_BYTES,
    members: paths("member", shape.members),
    parity: shape.parity,
    memberBytes: shape.memberBytes,
    log: paths("log", shape.logCopies),
    logBytes: LOG_HALF_COUNT * HALF_BYTES,
    ringBytes: 3 * MIB,
    cacheBytes: MIB / 4,
    segmentStripes: shape.segmentStripes,
    cpIntervalMs,
  };
}

const made = new Map<string, Map<string, MemoryFile>>();

/** The files of a new volume, as a machine's disks have them. */
export async function newVolume(
  config: VolumeConfig,
  shape: Shape,
  role: Role,
): Promise<Map<string, MemoryFile>> {
  const key = JSON.stringify([config.name, shape, role]);
  const known = made.get(key) ?? (await withLastingPages(() => makeVolume(key, config, role)));
  made.set(key, known);
  return known;
}

async function makeVolume(key: string, config: VolumeConfig, role: Role): Promise<Map<string, MemoryFile>> {
  const timeline = new Timeline();
  const { timing } = Tape.replay({ plan: [], timing: [] });
  // Ids must differ, and be the same in every process.
  const seed = [...key].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0), 7) >>> 0;
  const machine = new Machine("maker", timeline, timing, new SimNetwork(timeline, timing), seed);
  const world = machine.worldOn(machine.disks.storage(ALWAYS), ALWAYS);
  const kernel = Kernel.createSync({ memoryBytes: KERNEL_BYTES });
  let isMade = false;
  const making = Volume.create(world, kernel, config, role).then(() => {
    isMade = true;
  });
  while (!isMade && (await timeline.step()));
  await making;
  return machine.disks.snapshot();
}
