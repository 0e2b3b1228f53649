// "Parity Lost and Parity Regained" (Krioukov and others, FAST '08): in arrays whose scrub, rebuild or
// partial write reads a corrupt block and computes parity from it without looking, the parity fits the
// corruption afterwards, and the one thing that could have brought the block back is gone ("parity
// pollution"). A lost write that is then read to update the parity does the same.
//
// Ours: parity is never computed from an unverified block, and no unverified reconstruction is written. What
// is moved (cleaning, healing) is verified or restored first; what cannot be had stays an error, for good.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { describeFinding } from "../../src/log/findings.ts";
import { checkVolume } from "../../src/volume/check.ts";
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { expectSound, withStore } from "../volume/checking.ts";
import { FaultyStorage } from "../volume/faults.ts";
import {
  content,
  Model,
  makeKernel,
  makeVolume,
  makeWorld,
  openVolume,
  smallConfig,
} from "../volume/fixture.ts";
import { type Structure, structuresOf } from "../volume/structures.ts";
import { versionOf } from "./support.ts";

const test = suite("museum: parity pollution");
const BLOCKS = 200;

async function writeTo(volume: Volume, model: Model, lba: number, version: number): Promise<void> {
  await volume.write(lba * BLOCK_BYTES, content(lba, version));
  model.write(lba * BLOCK_BYTES, content(lba, version));
}

async function prepare(config: VolumeConfig) {
  const memory = new MemoryStorage();
  await makeVolume(memory, config);
  const model = new Model(config.sizeBytes);
  const volume = await openVolume(memory, config);
  for (let lba = 0; lba < BLOCKS; lba++) await writeTo(volume, model, lba, 1);
  await volume.consistencyPoint();
  await volume.close();
  const structures = await structuresOf(memory, config);
  return { memory, model, data: structures.filter(({ kind, isInUse }) => kind === "data" && isInUse) };
}

function corrupt(memory: MemoryStorage, { path, offset }: Structure): void {
  memory.poke(
    path,
    offset + 700,
    memory.peek(path, offset + 700, 64).map((byte) => byte ^ 0x5a),
  );
}

/** Makes the cleaner move everything several times: overwriting leaves few live blocks in every segment. */
async function churn(volume: Volume, model: Model, isKept: (lba: number) => boolean): Promise<void> {
  for (let round = 0; round < 7; round++) {
    for (let lba = 0; lba < BLOCKS; lba++) if (!isKept(lba)) await writeTo(volume, model, lba, 10 + round);
    await volume.consistencyPoint();
  }
}

test("a corrupt block is restored before it is moved, and its new stripe is sound", async () => {
  const config = smallConfig();
  const { memory, model, data } = await prepare(config);
  const rows = new Set<number>();
  for (const place of data) {
    if (!rows.has(place.offset)) corrupt(memory, place);
    rows.add(place.offset);
  }
  const volume = await openVolume(memory, config);
  // The reading finds the damage; the churn behind it moves what still lives in those stripes.
  await model.expectEqual(volume);
  await churn(volume, model, (lba) => lba % 9 === 0);
  await model.expectEqual(volume);
  await volume.close();
  const { faults } = await checkVolume(makeWorld(memory), makeKernel(), config);
  const ofLive = faults.map(describeFinding).filter((text) => !text.includes("dead data block"));
  assert.equal(ofLive, [], "only what was overtaken may still lie there as it was");
  for (const lost of config.members) {
    const storage = new FaultyStorage(memory.ifPowerFailedNow("keep"));
    storage.kill(lost);
    const degraded = await openVolume(storage, config);
    await model.expectEqual(degraded);
    await degraded.close();
  }
});

test("what cannot be restored stays an error: no cleaning makes a valid block of it", async () => {
  const config = smallConfig();
  const { memory, model, data } = await prepare(config);
  // Two units of one stripe with one unit of parity.
  const [first, second] = data.filter(({ offset }) => offset === data[40]!.offset) as [Structure, Structure];
  corrupt(memory, first);
  corrupt(memory, second);
  const volume = await openVolume(memory, config);
  const lost = new Set<number>();
  for (let lba = 0; lba < BLOCKS; lba++) {
    const code = await codeOf(volume.read(lba * BLOCK_BYTES, BLOCK_BYTES));
    if (code === "ERR_UNRECOVERABLE") lost.add(lba);
  }
  assert.is(lost.size, 2);
  await churn(volume, model, (lba) => lba % 9 === 0 || lost.has(lba));
  for (const lba of lost) {
    assert.is(await codeOf(volume.read(lba * BLOCK_BYTES, BLOCK_BYTES)), "ERR_UNRECOVERABLE");
  }
  for (let lba = 0; lba < BLOCKS; lba += 9) {
    if (!lost.has(lba)) assert.is(await versionOf(volume, lba, [1]), 1);
  }
  await volume.close();
});

test("a lost write: the old block under it is never served, nor taken for data of its stripe", async () => {
  const config = smallConfig();
  const { memory, model } = await prepare(config);
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage, config);
  const dataOffset = await withStore(memory, config, async (store) => store.superblock.dataOffset);
  // One member reports its writes of data as done, and does none of them.
  storage.loses = ({ path, kind, offset }) => path === "c/m" && kind === "write" && offset >= dataOffset;
  for (let lba = 0; lba < BLOCKS; lba += 2) await writeTo(volume, model, lba, 2);
  await volume.consistencyPoint();
  storage.loses = () => false;
  await model.expectEqual(volume);
  await churn(volume, model, (lba) => lba % 3 === 0);
  await model.expectEqual(volume);
  await volume.close();
  await expectSound(memory, config);
});

test.run();
