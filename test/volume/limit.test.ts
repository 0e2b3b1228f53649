// The limit of a volume that promises more than its members hold: what counts against it, and when.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { cpBlocksMax } from "../../src/volume/config.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { withStore } from "./checking.ts";
import { FaultyStorage } from "./faults.ts";
import { content, makeVolume, openVolume, smallConfig } from "./fixture.ts";

const test = suite("volume limit");
const THIN = smallConfig({ sizeBytes: 8192 * BLOCK_BYTES });
const CONFIRMED = { required: true, received: Number.MAX_SAFE_INTEGER, durable: Number.MAX_SAFE_INTEGER };

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "",
    (error: { code: string }) => error.code,
  );

async function turns(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A volume whose mirror is this test; it confirms everything for now. */
async function open(): Promise<Volume> {
  const storage = new MemoryStorage();
  await makeVolume(storage, THIN);
  const volume = await openVolume(storage, THIN, { hasMirror: true });
  volume.setGate("open");
  volume.setRemote(CONFIRMED);
  volume.setLogRetention(Number.POSITIVE_INFINITY);
  return volume;
}

/** Writes every `step`th block until there is no room; returns the first that was refused. */
async function fillUp(volume: Volume, step: number): Promise<number> {
  for (let lba = 0; ; lba += 32 * step) {
    const writes = Array.from({ length: 32 }, (_, i) => {
      const each = lba + i * step;
      return volume.write(each * BLOCK_BYTES, content(each, 1));
    });
    const codes = await Promise.all(writes.map(codeOf));
    if (codes.includes("ERR_NO_SPACE")) return lba;
  }
}

test("at the limit there is room for two of the largest consistency points, whatever they change", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, THIN);
  const volume = await openVolume(storage, THIN);
  const end = await fillUp(volume, 1);
  await volume.consistencyPoint();
  await volume.close();
  await withStore(storage, THIN, async (store) => {
    const largest = cpBlocksMax(store.superblock.logHalfBytes);
    const blocks = store.freeRows * store.dataUnitsNow;
    assert.ok(blocks > 2 * largest, `${blocks} blocks are free behind ${end}, ${largest} may change at once`);
  });
});

test("writes that wait for the mirror count: no more are taken than there will be room for", async () => {
  const volume = await open();
  const end = await fillUp(volume, 1);
  await volume.consistencyPoint();
  await volume.trim(0, 64 * BLOCK_BYTES);
  await volume.consistencyPoint();
  await turns();
  // From now on nothing is confirmed: what is written stays pending.
  volume.setRemote({ required: true, received: 0, durable: 0 });
  const before = volume.position.sequence;
  const writes = Array.from({ length: 300 }, (_, i) => {
    const lba = end + 64 + i;
    return codeOf(volume.write(lba * BLOCK_BYTES, content(lba, 2)));
  });
  await turns();
  const taken = volume.position.sequence - before;
  assert.ok(taken > 0 && taken < 200, `${taken} of 300 were taken`);
  volume.setRemote(CONFIRMED);
  await volume.consistencyPoint();
  assert.is(volume.status().state, "serving");
  await volume.close();
  await Promise.all(writes);
});

test("a hole between blocks is new when it is written, and no overwriting", async () => {
  const volume = await open();
  const end = await fillUp(volume, 2);
  assert.ok(end > 1000 && end < 8192, `${end}`);
  await volume.consistencyPoint();
  let taken = 0;
  for (let lba = 1; lba < end; lba += 2) {
    if ((await codeOf(volume.write(lba * BLOCK_BYTES, content(lba, 2)))) !== "") break;
    taken++;
  }
  assert.ok(taken < 100, `${taken} holes were filled although the volume is full`);
  assert.is(await codeOf(volume.write(0, content(0, 2))), "", "overwriting goes on");
  await volume.consistencyPoint();
  assert.is(volume.status().state, "serving");
  await volume.close();
});

test("with a member lost, overwriting is refused before it stops the volume", async () => {
  const memory = new MemoryStorage();
  await makeVolume(memory, THIN);
  const full = await openVolume(memory, THIN);
  const end = await fillUp(full, 1);
  await full.consistencyPoint();
  await full.close();
  const storage = new FaultyStorage(memory);
  storage.kill("a/m");
  const volume = await openVolume(storage, THIN);
  const codes = new Set<string>();
  for (let round = 0; round < 3 && codes.size < 2; round++) {
    for (let lba = round; lba < end && codes.size < 2; lba += 3)
      codes.add(await codeOf(volume.write(lba * BLOCK_BYTES, content(lba, 2 + round))));
  }
  assert.equal([...codes], ["", "ERR_NO_SPACE"]);
  await volume.consistencyPoint();
  assert.is(volume.status().state, "serving");
  await volume.close();
});

test.run();
