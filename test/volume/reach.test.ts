// What a block needs so that it can be read: members enough of the segment that it lies in, and its place left alone
// for as long as somebody reads an image that has it there.
import { BLOCK_BYTES, SUPERBLOCK_BYTES } from "../../assembly/format.ts";
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { expectSound, withStore } from "./checking.ts";
import { eio, FaultyStorage } from "./faults.ts";
import { content, expectBytes, Model, makeVolume, openVolume, smallConfig } from "./fixture.ts";

const test = suite("volume reach");

const BLOCKS = 384;
const BLOCKS_PER_WRITE = 64;
/** Of a member: a whole segment. The last run of a consistency point is shorter. */
const FULL_RUN_BYTES = 32 * BLOCK_BYTES;

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function fill(volume: Volume, model: Model, version: number): Promise<void> {
  for (let lba = 0; lba < BLOCKS; lba += BLOCKS_PER_WRITE) {
    const data = new Uint8Array(BLOCKS_PER_WRITE * BLOCK_BYTES);
    for (let i = 0; i < BLOCKS_PER_WRITE; i++) data.set(content(lba + i, version), i * BLOCK_BYTES);
    await volume.write(lba * BLOCK_BYTES, data);
    model.write(lba * BLOCK_BYTES, data);
  }
  await volume.consistencyPoint();
}

async function prepare(config: VolumeConfig): Promise<{ memory: MemoryStorage; model: Model }> {
  const memory = new MemoryStorage();
  await makeVolume(memory, config);
  const model = new Model(config.sizeBytes);
  const volume = await openVolume(memory, config);
  await fill(volume, model, 1);
  await volume.close();
  return { memory, model };
}

test("members that are lost one after the other: a segment of all of them counts those that it has left", async () => {
  const config = smallConfig();
  const { memory, model } = await prepare(config);
  const first = new FaultyStorage(memory);
  first.kill("a/m");
  await (await openVolume(first, config)).close();
  // The absence of one is recorded, so that only one is lost since the last commit: but the blocks lie across four.
  const second = new FaultyStorage(memory);
  second.kill("a/m", "b/m");
  const written: string[] = [];
  second.gate = ({ kind, path, offset }) => {
    if (kind === "write") written.push(`${path} at ${offset}`);
  };
  const opened = await openVolume(second, config).then(
    (volume) => volume.close(),
    (error: { code: string }) => error.code,
  );
  assert.is(opened, "ERR_TOO_FEW_MEMBERS");
  // Nothing was recorded that would make the second loss final, nor anything else.
  assert.equal(written, []);
  const volume = await openVolume(memory, config);
  await model.expectEqual(volume);
  await volume.close();
});

test("a member that fails while one is absent stops the volume, as long as blocks lie across all of them", async () => {
  const config = smallConfig();
  const { memory, model } = await prepare(config);
  const storage = new FaultyStorage(memory);
  storage.kill("a/m");
  const volume = await openVolume(storage, config);
  storage.judge = (call) => (/^[ab]\/m/.test(call.path) && call.kind !== "read" ? eio(call) : null);
  await volume.write(0, content(0, 2));
  model.write(0, content(0, 2));
  const code = await volume.consistencyPoint().catch((error: { code: string }) => error.code);
  assert.is(code, "ERR_TOO_FEW_MEMBERS");
  await volume.close();
  const again = await openVolume(memory, config);
  await model.expectEqual(again);
  await again.close();
});

test("a commit that lost a member on its way is made again, with the parity that the others can carry", async () => {
  const config = smallConfig();
  const { memory, model } = await prepare(config);
  const dataOffset = await withStore(memory, config, async (store) => store.superblock.dataOffset);
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage, config);
  // While the last run is on its way to all four, a copy of the log fails; its record finds that a member has, too.
  let isLosing = false;
  let isLost = false;
  let write: Promise<void> | null = null;
  storage.judge = (call) => {
    if (!isLosing || call.kind !== "write") return null;
    const isSuperblock = call.path === "a/m" && call.length === SUPERBLOCK_BYTES;
    isLost ||= isSuperblock;
    return isSuperblock || call.path.startsWith("b/log") ? eio(call) : null;
  };
  storage.gate = async (call) => {
    if (write !== null || call.path !== "d/m" || call.kind !== "write" || call.offset < dataOffset) return;
    if (call.length === FULL_RUN_BYTES) return;
    isLosing = true;
    write = volume.write(9 * BLOCK_BYTES, content(9, 3));
    while (!isLost) await turn();
    for (let i = 0; i < 20; i++) await turn();
  };
  await fill(volume, model, 2);
  await write;
  model.write(9 * BLOCK_BYTES, content(9, 3));
  await volume.close();
  const without = new FaultyStorage(memory);
  without.kill("a/m", "c/m");
  const degraded = await openVolume(without, config);
  await model.expectEqual(degraded);
  await degraded.close();
});

test("what a reader is looking at is not written over, however often the volume moves on meanwhile", async () => {
  const config = smallConfig();
  const { memory, model } = await prepare(config);
  const dataOffset = await withStore(memory, config, async (store) => store.superblock.dataOffset);
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage, config);
  // Nodes of the maps stay in the cache: the next read of this block is one of the block alone.
  await volume.read(0, BLOCK_BYTES);
  let release = (): void => {};
  const isHeld = new Promise<void>((held) => {
    storage.gate = (call) => {
      if (call.kind !== "read" || call.offset < dataOffset) return;
      storage.gate = () => {};
      held();
      return new Promise<void>((resolve) => (release = resolve));
    };
  });
  const reading = volume.read(0, BLOCK_BYTES);
  await isHeld;
  for (let version = 2; version < 5; version++) await fill(volume, model, version);
  release();
  expectBytes(await reading, content(0, 1));
  await model.expectEqual(volume);
  await volume.close();
});

test("a pinned image stays while all of it is overwritten and trimmed, then its room comes back", async () => {
  const config = smallConfig();
  const { memory, model } = await prepare(config);
  const before = await withStore(memory, config, async (store) => store.usedBlocks());
  const volume = await openVolume(memory, config);
  const image = await volume.pinImage();
  await fill(volume, model, 2);
  await volume.trim(0, BLOCKS * BLOCK_BYTES);
  model.trim(0, BLOCKS * BLOCK_BYTES);
  await volume.consistencyPoint();
  await fill(volume, model, 3);
  for (let lba = 0; lba < BLOCKS; lba += BLOCKS_PER_WRITE) {
    const lbas = Array.from({ length: BLOCKS_PER_WRITE }, (_, i) => lba + i);
    const blocks = await image.blocks(lbas);
    for (const [i, block] of blocks.entries())
      expectBytes(block, content(lba + i, 1), (lba + i) * BLOCK_BYTES);
  }
  image.release();
  await volume.trim(0, BLOCKS * BLOCK_BYTES);
  model.trim(0, BLOCKS * BLOCK_BYTES);
  await volume.consistencyPoint();
  for (let i = 0; i < 200; i++) await turn();
  await model.expectEqual(volume);
  await volume.close();
  await expectSound(memory, config);
  const after = await withStore(memory, config, async (store) => store.usedBlocks());
  assert.ok(after < before - BLOCKS, `${after} blocks are in use, ${before} were with all data`);
});

test.run();
