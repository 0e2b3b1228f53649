// What an older state has left on the members, and must not be believed.
import { BLOCK_BYTES, SEGMENT_TABLE_OFFSET, SUPERBLOCK_BYTES } from "../../assembly/format.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { expectSound, withStore } from "./checking.ts";
import { copyOf, eio, FaultyStorage } from "./faults.ts";
import { content, Model, makeVolume, openVolume, smallConfig } from "./fixture.ts";

const test = suite("stale members");
const config = smallConfig();

async function fill(volume: Volume, model: Model, version: number): Promise<void> {
  for (let lba = 0; lba < 200; lba++) {
    await volume.write(lba * BLOCK_BYTES, content(lba, version));
    model.write(lba * BLOCK_BYTES, content(lba, version));
  }
}

async function prepare(): Promise<{ memory: MemoryStorage; model: Model }> {
  const memory = new MemoryStorage();
  await makeVolume(memory, config);
  const model = new Model(config.sizeBytes);
  const volume = await openVolume(memory, config);
  await fill(volume, model, 1);
  await volume.consistencyPoint();
  await volume.close();
  return { memory, model };
}

test("a member that was put back from an older copy is stale, although nobody has recorded that it was away", async () => {
  const { memory, model } = await prepare();
  const older = memory.peek("b/m", 0, config.memberBytes!);
  const volume = await openVolume(memory, config);
  for (let version = 2; version < 5; version++) {
    await fill(volume, model, version);
    await volume.consistencyPoint();
  }
  await volume.close();
  memory.poke("b/m", 0, older);
  const again = await openVolume(memory, config);
  const { state, reason } = again.status().members[1]!;
  assert.is(state, "missing");
  assert.match(reason!, "stale");
  await model.expectEqual(again);
  await again.close();
});

test("the table pages of a commit that was given up are written over before its number is used again", async () => {
  const { memory, model } = await prepare();
  const dataOffset = await withStore(memory, config, async (store) => store.superblock.dataOffset);
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage, config);
  await fill(volume, model, 2);
  // One member fails when the others have their table pages; the loss is recorded under the same number.
  let isBroken = false;
  let isRecorded = false;
  let found: MemoryStorage | null = null;
  storage.judge = (call) => {
    const isTable = call.kind === "write" && call.offset >= SEGMENT_TABLE_OFFSET && call.offset < dataOffset;
    if (call.path === "a/m" && isTable) isBroken = true;
    return isBroken && call.path === "a/m" ? eio(call) : null;
  };
  storage.gate = async (call) => {
    if (call.path.includes("log")) return;
    if (isBroken && call.kind === "write" && call.length === SUPERBLOCK_BYTES) isRecorded = true;
    else if (isRecorded && call.kind === "write" && found === null) found = await copyOf(memory);
  };
  await volume.consistencyPoint();
  await volume.close();
  assert.ok(found, "the commit was made again");
  // The process dies after the record, before the commit is made again.
  await expectSound(found!, config);
  const again = await openVolume(found!, config);
  await model.expectEqual(again);
  await again.consistencyPoint();
  await model.expectEqual(again);
  await again.close();
  await expectSound(found!, config);
});

test.run();
