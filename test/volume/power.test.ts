// What is durable the moment that a call resolves, if the power fails right then and takes whatever was not synced.
import { BLOCK_BYTES, LOG_ENTRIES_OFFSET, SUPERBLOCK_BYTES } from "../../assembly/format.ts";
import { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import type { UnsyncedWrite } from "../support/memory_file.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { withStore } from "./checking.ts";
import { FaultyStorage } from "./faults.ts";
import { content, Model, makeKernel, makeVolume, makeWorld, openVolume, smallConfig } from "./fixture.ts";

const test = suite("volume power");
const config = smallConfig();
/** An entry of one block, with its padding. */
const ENTRY_BYTES = 4608;

test("a volume is durable when its creation resolves", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const volume = await openVolume(storage.ifPowerFailedNow("drop"), config);
  await new Model(config.sizeBytes).expectEqual(volume);
  await volume.close();
});

test("a creation that was interrupted never looks like a volume, whichever of its writes got through", async () => {
  // The worst order: superblocks are kept, and nothing of what they name.
  const superblocksOnly = ({ data }: UnsyncedWrite) => (data.length === SUPERBLOCK_BYTES ? "keep" : "drop");
  const storage = new MemoryStorage();
  const found: MemoryStorage[] = [];
  storage.onEvent = ({ path }) => {
    if (!config.members.includes(path)) return;
    for (const how of [superblocksOnly, "keep", 3] as const) found.push(storage.ifPowerFailedNow(how));
  };
  await Volume.create(makeWorld(storage), makeKernel(), config);
  const codes = new Set<string>();
  for (const each of found) {
    const opened = await openVolume(each, config).catch((error: { code: string }) => error.code);
    if (typeof opened === "string") codes.add(opened);
    else {
      await new Model(config.sizeBytes).expectEqual(opened);
      await opened.close();
    }
  }
  assert.ok(found.length > 40, `${found.length} crashes`);
  const others = [...codes].filter(
    (code) => !["ERR_NOT_FOUND", "ERR_NO_MEMBERS", "ERR_TOO_FEW_MEMBERS", "ERR_EXISTS"].includes(code),
  );
  assert.equal(others, []);
});

test("a consistency point, and what a relationship records, are durable when they resolve", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  await volume.write(0, content(0, 1));
  await volume.consistencyPoint();
  const superblockOf = (crashed: MemoryStorage) =>
    withStore(crashed, config, async (store) => store.superblock);
  const { cp, appliedSequence } = await superblockOf(storage.ifPowerFailedNow("drop"));
  assert.equal({ cp, appliedSequence }, { cp: 1, appliedSequence: 2 }, "with the seal that it includes");
  await volume.persist({ aloneSince: 77 });
  assert.is((await superblockOf(storage.ifPowerFailedNow("drop"))).aloneSince, 77);
  await volume.close();
});

test("a write is not acknowledged by the sync of the one before it", async () => {
  const memory = new MemoryStorage();
  await makeVolume(memory, config);
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage, config);
  // Syncs of the log wait until they are let go, one after the other.
  const held: (() => void)[] = [];
  storage.gate = ({ path, kind }) => {
    if (kind !== "sync" || !path.includes("log")) return;
    return new Promise<void>((resolve) => held.push(resolve));
  };
  const turns = async () => {
    for (let turn = 0; turn < 60; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  const acknowledged: number[] = [];
  const first = volume.write(0, content(0, 1)).then(() => acknowledged.push(1));
  await turns();
  const second = volume.write(4096, content(1, 1)).then(() => acknowledged.push(2));
  await turns();
  assert.ok(held.length > 0);
  for (const release of held.splice(0)) release();
  await first;
  await turns();
  assert.equal(acknowledged, [1], "the second one's own sync has not ended");
  while (acknowledged.length < 2) {
    for (const release of held.splice(0)) release();
    await turns();
  }
  await second;
  storage.gate = () => {};
  await volume.close();
});

test("what was durable and is damaged in every copy of the log stops the volume, and it says so", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  for (let lba = 0; lba < 6; lba++) await volume.write(lba * BLOCK_BYTES, content(lba, 1));
  await volume.close();
  // Somewhere in the payload of the third entry.
  const offset = LOG_ENTRIES_OFFSET + 2 * ENTRY_BYTES + 1000;
  for (const path of storage.paths.filter((each) => each.includes("log")))
    storage.poke(path, offset, Uint8Array.of(1, 2, 3, 4));
  const code = await openVolume(storage, config).then(
    () => "opened",
    (error: { code: string }) => error.code,
  );
  assert.is(code, "ERR_LOG_CORRUPT");
});

/** A mirror's volume whose members sync nothing until they are released. */
async function slowMirror() {
  const memory = new MemoryStorage();
  await Volume.create(makeWorld(memory), makeKernel(), config, "mirror");
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage, config);
  let release = (): void => {};
  const isReleased = new Promise<void>((resolve) => {
    release = resolve;
  });
  storage.gate = ({ path, kind }) =>
    config.members.includes(path) && kind === "sync" ? isReleased : undefined;
  return { memory, volume, release: () => release() };
}

test("a promoted volume serves when its new generation is durable, and not before", async () => {
  const { memory, volume, release } = await slowMirror();
  const promotion = volume.promote();
  let isAcknowledged = false;
  const write = volume.write(0, content(0, 1)).then(() => {
    isAcknowledged = true;
  });
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.not.ok(isAcknowledged, "acknowledged in a generation that the next process does not know");
  release();
  const { number } = await promotion;
  await write;
  const { role, history } = await withStore(memory.ifPowerFailedNow("drop"), config, async (store) => {
    return store.superblock;
  });
  assert.equal({ role, number: history.at(-1)!.number }, { role: "source", number });
  await volume.close();
});

test("a volume that is closed while it is promoted serves nobody, and opens as a source", async () => {
  const { memory, volume, release } = await slowMirror();
  const promotion = volume.promote().catch((error: { code: string }) => error.code);
  await new Promise((resolve) => setImmediate(resolve));
  const closed = volume.close();
  release();
  assert.is(await promotion, "ERR_CLOSED");
  await closed;
  const again = await openVolume(memory, config);
  assert.is(again.role, "source");
  await again.close();
});

test("a promotion that comes when the volume is being closed changes nothing", async () => {
  const { memory, volume, release } = await slowMirror();
  release();
  const closed = volume.close();
  const promotion = volume.promote().catch((error: { code: string }) => error.code);
  assert.is(await promotion, "ERR_CLOSED");
  await closed;
  const members = volume.status().members.map(({ state }) => state);
  assert.ok(
    members.every((state) => state === "current"),
    `${members}: nothing was written to closed disks`,
  );
  const again = await openVolume(memory, config);
  assert.is(again.role, "mirror");
  await again.close();
});

test.run();
