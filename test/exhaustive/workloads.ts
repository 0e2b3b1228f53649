// Two hundred short workloads over many shapes of volumes. Number and seed are the same thing: workload 17 is always
// the same operations on the same volume.
//
// A workload is a few rounds; what a round starts, it waits for. Within a round writes run at the same time, also
// against a CP. What a block may hold is kept in an Expectation: writes of one round go to different blocks, except
// where they race for the same ones on purpose, and then either may win.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { assert } from "../support/harness.ts";
import type { ManualClock } from "../support/manual_clock.ts";
import { SeededRandom } from "../support/memory_random.ts";
import type { Expectation } from "../volume/expectation.ts";
import { content } from "../volume/fixture.ts";
import { type Aged, agedVolume, BLOCKS, type Shape } from "./volumes.ts";

const WORKLOAD_COUNT = 200;
/** Every tenth workload is of two rounds only: those are short enough for a second crash at every event. */
const SHORT_EVERY = 10;

const SHAPES: readonly Shape[] = [
  { data: 3, parity: 1 },
  { data: 1, parity: 0 },
  { data: 2, parity: 2 },
  { data: 1, parity: 1 },
  { data: 5, parity: 3 },
  { data: 2, parity: 0 },
  { data: 4, parity: 2 },
  { data: 1, parity: 2 },
  { data: 2, parity: 1 },
  { data: 3, parity: 3 },
  { data: 4, parity: 1 },
  { data: 1, parity: 3 },
  { data: 3, parity: 0 },
  { data: 3, parity: 2 },
  { data: 2, parity: 3 },
  { data: 5, parity: 1 },
  { data: 2, parity: 1, spares: 1 },
  { data: 5, parity: 2 },
  { data: 4, parity: 3 },
];

export interface Workload {
  readonly number: number;
  readonly rounds: number;
  readonly isShort: boolean;
  volume(): Promise<Aged>;
}

export const WORKLOADS: readonly Workload[] = Array.from({ length: WORKLOAD_COUNT }, (_, number) => {
  const random = new SeededRandom(0xc4a5 + number);
  const isShort = number % SHORT_EVERY === 0;
  const logCopies = 1 + random.below(3);
  const room = random.chance(0.4) ? "full" : "roomy";
  const rounds = isShort ? 2 : 4 + random.below(6);
  return {
    number,
    rounds,
    isShort,
    volume: () => agedVolume(SHAPES[number % SHAPES.length]!, logCopies, room),
  };
});

interface Runner {
  readonly volume: Volume;
  readonly clock: ManualClock;
  readonly expectation: Expectation;
  readonly random: SeededRandom;
  /** Makes every content another one. */
  version: number;
}

type Operation = (runner: Runner) => Promise<void>;

/** By weight. */
const OPERATIONS: readonly (readonly [number, Operation])[] = [
  [4, (runner) => writeBlocks(runner, place(runner, 8))],
  [3, (runner) => writeApart(runner, 3)],
  [3, writePart],
  [2, race],
  [2, trim],
  [1, zero],
  [1, ({ volume }) => volume.flush()],
  [2, async ({ volume }) => void (await volume.consistencyPoint())],
  [3, writeThroughCp],
  [1, ({ clock }) => clock.advance(10_000)],
];

export async function runWorkload(
  workload: Workload,
  volume: Volume,
  clock: ManualClock,
  expectation: Expectation,
  afterRound: () => Promise<void>,
): Promise<void> {
  const random = new SeededRandom(workload.number);
  const runner = { volume, clock, expectation, random, version: 1000 };
  for (let round = 0; round < workload.rounds; round++) {
    // The last round is a CP with writes, so that every workload has one.
    await (round === workload.rounds - 1 ? writeThroughCp : draw(random))(runner);
    await afterRound();
  }
}

function draw(random: SeededRandom): Operation {
  const total = OPERATIONS.reduce((sum, [weight]) => sum + weight, 0);
  let lot = random.below(total);
  for (const [weight, operation] of OPERATIONS) {
    if (lot < weight) return operation;
    lot -= weight;
  }
  return assert.unreachable("the weights sum up to the total") as never;
}

interface Extent {
  readonly lba: number;
  readonly count: number;
}

function place({ random }: Runner, countMax: number): Extent {
  const count = 1 + random.below(countMax);
  return { lba: random.below(BLOCKS - count), count };
}

/** Several extents apart from each other, at once. */
async function writeApart(runner: Runner, width: number): Promise<void> {
  const third = Math.floor(BLOCKS / width);
  const extents = Array.from({ length: width }, (_, part) => {
    const count = 1 + runner.random.below(4);
    return { lba: part * third + runner.random.below(third - count), count };
  });
  await Promise.all(extents.map((extent) => writeBlocks(runner, extent)));
}

async function writeThroughCp(runner: Runner): Promise<void> {
  await writeApart(runner, 2);
  await Promise.all([runner.volume.consistencyPoint(), writeApart(runner, 3)]);
}

function writeBlocks(runner: Runner, { lba, count }: Extent): Promise<void> {
  const version = runner.version++;
  const blocks = Array.from({ length: count }, (_, i) => content(lba + i, version));
  return change(runner, { lba, count }, blocks, (data) => runner.volume.write(lba * BLOCK_BYTES, data));
}

/** Some bytes anywhere: the blocks at the edges are completed from what they hold. */
async function writePart(runner: Runner): Promise<void> {
  const { volume, random } = runner;
  const { from, to, extent } = byteRange(runner);
  const data = new Uint8Array(to - from).fill(1 + random.below(255));
  await change(runner, extent, patched(runner, extent, from, data), () => volume.write(from, data));
}

/**
 * Up to three entries: a written edge, a trim, another edge. Where the second edge is refused, the rest has happened.
 */
async function zero(runner: Runner): Promise<void> {
  const { volume, expectation } = runner;
  const { from, to, extent } = byteRange(runner);
  const blocks = patched(runner, extent, from, new Uint8Array(to - from));
  for (const [i, block] of blocks.entries()) expectation.begin(extent.lba + i, block);
  try {
    await volume.zero(from, to - from);
  } catch (error) {
    if (codeOf(error) !== "ERR_NO_SPACE") throw error;
    return settle(runner, extent);
  }
  for (const [i, block] of blocks.entries()) expectation.acknowledge(extent.lba + i, block);
}

async function trim(runner: Runner): Promise<void> {
  const extent = place(runner, 40);
  const blocks = Array.from({ length: extent.count }, () => new Uint8Array(BLOCK_BYTES));
  const { volume } = runner;
  await change(runner, extent, blocks, () =>
    volume.trim(extent.lba * BLOCK_BYTES, extent.count * BLOCK_BYTES),
  );
}

/** Begins, does it, and takes it as acknowledged; what was refused for want of room has not happened. */
async function change(
  runner: Runner,
  extent: Extent,
  blocks: readonly Uint8Array[],
  act: (data: Uint8Array) => Promise<void>,
): Promise<void> {
  const { expectation } = runner;
  const { lba } = extent;
  for (const [i, block] of blocks.entries()) expectation.begin(lba + i, block);
  try {
    await act(joined(blocks));
  } catch (error) {
    if (codeOf(error) !== "ERR_NO_SPACE") throw error;
    for (let i = 0; i < blocks.length; i++) expectation.underWay[lba + i] = [];
    return settle(runner, extent);
  }
  for (const [i, block] of blocks.entries()) expectation.acknowledge(lba + i, block);
}

/** Reads what the blocks hold: one of the contents that they may hold, and that one from now on. */
async function settle({ volume, expectation }: Runner, { lba, count }: Extent): Promise<void> {
  const bytes = await volume.read(lba * BLOCK_BYTES, count * BLOCK_BYTES);
  for (let i = 0; i < count; i++) {
    const block = bytes.slice(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
    const allowed = [expectation.acknowledged[lba + i]!, ...expectation.underWay[lba + i]!];
    assert.ok(
      allowed.some((each) => Buffer.compare(each, block) === 0),
      `block ${lba + i} holds none of ${allowed.length} contents that it may hold`,
    );
    expectation.acknowledge(lba + i, block);
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}

/** Two writes to the same blocks at once: one of them wins, for each block, and the volume says which. */
async function race(runner: Runner): Promise<void> {
  const { volume, expectation } = runner;
  const { lba, count } = place(runner, 4);
  const sides = [runner.version++, runner.version++].map((version) => {
    return Array.from({ length: count }, (_, i) => content(lba + i, version));
  });
  for (const blocks of sides) for (const [i, block] of blocks.entries()) expectation.begin(lba + i, block);
  const results = await Promise.allSettled(
    sides.map((blocks) => volume.write(lba * BLOCK_BYTES, joined(blocks))),
  );
  for (const result of results) {
    if (result.status === "rejected" && codeOf(result.reason) !== "ERR_NO_SPACE") throw result.reason;
  }
  const winners = sides.filter((_, side) => results[side]!.status === "fulfilled");
  for (let i = 0; i < count && winners.length > 0; i++) {
    expectation.acknowledged[lba + i] = winners[0]![i]!;
    expectation.underWay[lba + i] = winners.map((blocks) => blocks[i]!);
  }
  await settle(runner, { lba, count });
}

function byteRange({ random }: Runner): { from: number; to: number; extent: Extent } {
  const from = random.below((BLOCKS - 4) * BLOCK_BYTES);
  const to = from + 1 + random.below(3 * BLOCK_BYTES);
  const lba = Math.floor(from / BLOCK_BYTES);
  return { from, to, extent: { lba, count: Math.ceil(to / BLOCK_BYTES) - lba } };
}

/** The blocks of the extent as they are, with the data over them. */
function patched(
  { expectation }: Runner,
  { lba, count }: Extent,
  from: number,
  data: Uint8Array,
): Uint8Array[] {
  const bytes = joined(expectation.acknowledged.slice(lba, lba + count));
  bytes.set(data, from - lba * BLOCK_BYTES);
  return Array.from({ length: count }, (_, i) => bytes.slice(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
}

function joined(blocks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(blocks.length * BLOCK_BYTES);
  for (const [i, block] of blocks.entries()) bytes.set(block, i * BLOCK_BYTES);
  return bytes;
}
