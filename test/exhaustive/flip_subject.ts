// The volumes whose bits are flipped: small ones, stopped in the middle of a consistency point, so that each
// kind of structure is there and in use: an image with a free list, and entries with their seal that wait to
// be applied.
import { BLOCK_BYTES, LOG_HALF_COUNT } from "../../assembly/format.ts";
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import { assert } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { content, Model, makeVolume, openVolume, smallConfig } from "../volume/fixture.ts";
import { type Structure, type StructureKind, structuresOf } from "../volume/structures.ts";

export interface Subject {
  readonly config: VolumeConfig;
  /** Never opened: fork it. */
  readonly storage: MemoryStorage;
  readonly model: Model;
  readonly structures: readonly Structure[];
}

export const KINDS: readonly StructureKind[] = [
  "superblock",
  "table page",
  "summary",
  "map node",
  "container node",
  "free-list node",
  "half header",
  "entry header",
  "seal",
];

const BLOCKS = 40;
const sizes = {
  sizeBytes: BLOCKS * BLOCK_BYTES,
  logBytes: LOG_HALF_COUNT * 256 * 1024,
  segmentStripes: 16,
};
/** Another copy of everything. */
const REDUNDANT = smallConfig({ ...sizes, memberBytes: 1536 * 1024 });
/** One copy of everything but the superblocks. */
const SINGLE = smallConfig({
  ...sizes,
  members: ["a/m"],
  parity: 0,
  log: ["a/log"],
  memberBytes: 4 * 1024 * 1024,
});

export const redundant = () => (madeRedundant ??= make(REDUNDANT));
export const single = () => (madeSingle ??= make(SINGLE));
let madeRedundant: Promise<Subject> | null = null;
let madeSingle: Promise<Subject> | null = null;

async function make(config: VolumeConfig): Promise<Subject> {
  const running = new MemoryStorage();
  await makeVolume(running, config);
  const volume = await openVolume(running, config);
  const model = new Model(config.sizeBytes);
  for (let lba = 0; lba < BLOCKS; lba++) if (lba % 7 !== 3) await writeTo(volume, model, lba, 1);
  await volume.consistencyPoint();
  // What the pinned image needs goes to the free list, and stays there.
  await volume.pinImage();
  for (let lba = 0; lba < BLOCKS; lba += 3) await writeTo(volume, model, lba, 2);
  await volume.consistencyPoint();
  for (let lba = 0; lba < BLOCKS; lba += 5) await writeTo(volume, model, lba, 3);
  let storage: MemoryStorage | null = null;
  running.onEvent = ({ path }) => {
    if (path.endsWith("/m")) storage ??= running.ifPowerFailedNow("keep");
  };
  await volume.consistencyPoint();
  await volume.close();
  assert.ok(storage !== null);
  return { config, storage, model, structures: await structuresOf(storage, config) };
}

async function writeTo(volume: Volume, model: Model, lba: number, version: number): Promise<void> {
  await volume.write(lba * BLOCK_BYTES, content(lba, version));
  model.write(lba * BLOCK_BYTES, content(lba, version));
}

/** The first structure of a kind that the volume goes by. */
export function structureOf(subject: Subject, kind: StructureKind): Structure {
  const found = subject.structures.find((each) => each.kind === kind && each.isInUse);
  assert.ok(found !== undefined, `there is a ${kind} in use`);
  return found;
}
