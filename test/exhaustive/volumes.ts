// The volumes that the exhaustive tests work on: small ones of many shapes, each with a past (segments in use, an
// image, entries in the log behind it), made once and forked for every case.
import { BLOCK_BYTES, LOG_HALF_COUNT, SUPERBLOCK_BYTES, SUPERBLOCK_SLOTS } from "../../assembly/format.ts";
import { dataOffsetFor } from "../../src/volume/members.ts";
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import { assert } from "../support/harness.ts";
import { SeededRandom } from "../support/memory_random.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { Expectation, write } from "../volume/expectation.ts";
import { makeVolume, openVolume, smallConfig } from "../volume/fixture.ts";

/** Two leaves of the block map. */
export const BLOCKS = 144;
/** Small halves are full soon, and are read soon. */
const LOG_HALF_BYTES = 128 * 1024;
/** Small segments are used up soon, and then the cleaner has to work. */
const SEGMENT_BLOCKS = 32;
const SEGMENTS_MIN = 8;
const SEGMENTS_MAX = 256;
const AGEING_ROUNDS_MAX = 150;

/** k + m, and members that a row does not use. */
export interface Shape {
  readonly data: number;
  readonly parity: number;
  readonly spares?: number;
}

/**
 * full: writes are refused at the limit, and the cleaner works; roomy: everything fits and the cleaner rests; wide:
 * there is room for everything in a narrower geometry too.
 */
export type Room = "full" | "roomy" | "wide";

/** What the limit admits, as a share of the volume's blocks. */
const ADMITTED = { full: 0.9, roomy: 1.7, wide: 6 } as const;

export interface Subject {
  readonly name: string;
  readonly config: VolumeConfig;
}

/** A subject with a past. */
export interface Aged extends Subject {
  /** Never opened: fork it. */
  readonly storage: MemoryStorage;
  readonly expectation: Expectation;
}

export function subjectOf(shape: Shape, logCopies: number, segments: number): Subject {
  const { data, parity, spares = 0 } = shape;
  const members = Array.from({ length: data + parity + spares }, (_, slot) => `m${slot}/member`);
  const segmentStripes = 2 ** Math.ceil(Math.log2(SEGMENT_BLOCKS / data));
  const config = smallConfig({
    sizeBytes: BLOCKS * BLOCK_BYTES,
    members,
    parity,
    dataUnits: data,
    log: Array.from({ length: logCopies }, (_, copy) => `l${copy}/log`),
    logBytes: LOG_HALF_COUNT * LOG_HALF_BYTES,
    memberBytes: memberBytesOf(segments, segmentStripes),
    segmentStripes,
  });
  const extra = spares > 0 ? `, ${spares} spare` : "";
  return { name: `${data}+${parity}${extra}, ${logCopies} log, ${segments} segments`, config };
}

function memberBytesOf(segments: number, segmentStripes: number): number {
  const tail = SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES;
  return dataOffsetFor(segments) + segments * segmentStripes * BLOCK_BYTES + tail;
}

const aged = new Map<string, Promise<Aged>>();

/** The volume of that shape with its past, made when it is first asked for. */
export function agedVolume(shape: Shape, logCopies: number, room: Room): Promise<Aged> {
  const key = JSON.stringify([shape, logCopies, room]);
  let found = aged.get(key);
  if (found === undefined) aged.set(key, (found = age(shape, logCopies, room)));
  return found;
}

/** A storage of its own with the same content. */
export function fork(storage: MemoryStorage): MemoryStorage {
  return storage.ifPowerFailedNow("keep");
}

async function age(shape: Shape, logCopies: number, room: Room): Promise<Aged> {
  const segments = await segmentsFor(shape, ADMITTED[room] * BLOCKS);
  const subject = subjectOf(shape, logCopies, segments);
  let storage = new MemoryStorage();
  await makeVolume(storage, subject.config);
  const expectation = new Expectation(BLOCKS);
  const volume = await openVolume(storage, subject.config);
  if (room === "full") storage = await fill(volume, storage, expectation);
  else await scatter(volume, expectation);
  await volume.close();
  return { ...subject, name: `${subject.name}, ${room}`, storage, expectation };
}

/** The fewest segments whose limit admits so many blocks. */
async function segmentsFor(shape: Shape, blocks: number): Promise<number> {
  let low = SEGMENTS_MIN;
  let high = SEGMENTS_MAX;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((await limitOf(shape, middle)) >= blocks) high = middle;
    else low = middle + 1;
  }
  return low;
}

async function limitOf(shape: Shape, segments: number): Promise<number> {
  const { config } = subjectOf(shape, 1, segments);
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  const { limitBytes } = volume.status();
  await volume.close();
  return limitBytes / BLOCK_BYTES;
}

/** Every third block, some of it twice, and a few entries behind the last CP. */
async function scatter(volume: Volume, expectation: Expectation): Promise<void> {
  for (let lba = 0; lba < BLOCKS; lba += 9) await write(volume, expectation, lba, 3, 1);
  await volume.consistencyPoint();
  for (let lba = 0; lba < BLOCKS; lba += 36) await write(volume, expectation, lba, 1, 2);
  await volume.consistencyPoint();
  for (let lba = 4; lba < BLOCKS; lba += 60) await write(volume, expectation, lba, 2, 3);
}

/** New blocks until they are refused, then a few here and there, up to the CP for which the cleaner has to work. */
async function fill(
  volume: Volume,
  storage: MemoryStorage,
  expectation: Expectation,
): Promise<MemoryStorage> {
  const random = new SeededRandom(1);
  let end = 0;
  for (; end + 8 <= BLOCKS && (await writeIfRoom(volume, expectation, end, 8)); end += 8) {
    if (end % 32 === 0) await volume.consistencyPoint();
  }
  for (let round = 0; round < AGEING_ROUNDS_MAX; round++) {
    const lbas = Array.from({ length: 12 }, (_, part) => random.below(end / 12) + (part * end) / 12);
    await Promise.all(lbas.map((lba) => write(volume, expectation, Math.floor(lba), 1, 10 + round)));
    const { commit } = volume.status();
    const before = fork(storage);
    await volume.consistencyPoint();
    if (volume.status().commit > commit + 1) return before;
  }
  return assert.unreachable("the cleaner has never had to work") as never;
}

async function writeIfRoom(
  volume: Volume,
  expectation: Expectation,
  lba: number,
  count: number,
): Promise<boolean> {
  try {
    await write(volume, expectation, lba, count, 1);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== "ERR_NO_SPACE") throw error;
    for (let i = 0; i < count; i++) expectation.underWay[lba + i] = [];
    return false;
  }
}
