// A lone volume against a model: random operations, reopening, long overwriting, trims.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { assert, suite } from "../support/harness.ts";
import { ManualClock, settle } from "../support/manual_clock.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { FaultyStorage } from "./faults.ts";
import {
  content,
  Model,
  makeVolume,
  openVolume,
  randomFrom,
  randomOperation,
  smallConfig,
} from "./fixture.ts";

const test = suite("volume");

test("a new volume reads as zeros, and keeps what is written across CP and reopening", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage);
  let volume = await openVolume(storage);
  const model = new Model(volume.bytes);
  await model.expectEqual(volume);
  for (const lba of [0, 1, 127, 128, 500, 1023]) {
    await volume.write(lba * BLOCK_BYTES, content(lba, 1));
    model.write(lba * BLOCK_BYTES, content(lba, 1));
  }
  await model.expectEqual(volume);
  assert.is(await volume.consistencyPoint(), 1);
  assert.is(volume.cp, 1);
  await model.expectEqual(volume);
  await volume.close();
  volume = await openVolume(storage);
  assert.is(volume.cp, 1);
  await model.expectEqual(volume);
  await volume.close();
});

for (const { name, changes } of [
  { name: "3+1", changes: {} },
  { name: "1+1", changes: { members: ["a/m", "b/m"], memberBytes: 16 * 1024 * 1024 } },
  { name: "2+2", changes: { parity: 2, memberBytes: 9 * 1024 * 1024 } },
  { name: "1+0", changes: { members: ["a/m"], parity: 0, memberBytes: 16 * 1024 * 1024 } },
  {
    name: "4+3 with a spare",
    changes: { members: ["1", "2", "3", "4", "5", "6", "7", "8"], parity: 3, dataUnits: 4 },
  },
]) {
  test(`random operations agree with a model, ${name}`, async () => {
    const storage = new MemoryStorage();
    const config = smallConfig(changes);
    await makeVolume(storage, config);
    const random = randomFrom(7 + name.length);
    const model = new Model(config.sizeBytes);
    for (let opening = 0; opening < 3; opening++) {
      const volume = await openVolume(storage, config);
      await model.expectEqual(volume);
      for (let i = 0; i < 250; i++) await randomOperation(volume, model, random);
      await model.expectEqual(volume);
      assert.is(volume.status().state, "serving");
      await volume.close();
    }
  });
}

test("operations side by side end in one of the possible states", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage);
  const volume = await openVolume(storage);
  for (let round = 0; round < 30; round++) {
    const writes = Array.from({ length: 8 }, (_, i) =>
      volume.write(5 * BLOCK_BYTES + i * 512, new Uint8Array(512).fill(round + i)),
    );
    await Promise.all(writes);
    const block = await volume.read(5 * BLOCK_BYTES, BLOCK_BYTES);
    for (let i = 0; i < 8; i++)
      assert.is(block[i * 512 + 511], (round + i) & 0xff, `part ${i} of round ${round}`);
  }
  await volume.close();
});

test("overwriting a full volume goes on for ever", async () => {
  const storage = new MemoryStorage();
  const config = smallConfig({ memberBytes: undefined });
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  const model = new Model(volume.bytes);
  const random = randomFrom(3);
  const blocks = volume.bytes / BLOCK_BYTES;
  for (let lba = 0; lba < blocks; lba++) {
    await volume.write(lba * BLOCK_BYTES, content(lba, 0));
    model.write(lba * BLOCK_BYTES, content(lba, 0));
  }
  for (let i = 1; i < 8 * blocks; i++) {
    const lba = random(blocks);
    await volume.write(lba * BLOCK_BYTES, content(lba, i));
    model.write(lba * BLOCK_BYTES, content(lba, i));
  }
  await model.expectEqual(volume);
  const { segments } = volume.status();
  assert.ok(segments.empty >= 2, `${segments.empty} empty segments`);
  await volume.close();
});

test("a trim of the whole volume gives the space back", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage);
  const volume = await openVolume(storage);
  for (let round = 0; round < 4; round++) {
    for (let lba = 0; lba < 1000; lba += 8) {
      await volume.write(lba * BLOCK_BYTES, new Uint8Array(8 * BLOCK_BYTES).fill(round + 1));
    }
    await volume.consistencyPoint();
    assert.ok(volume.status().usedBytes > 1000 * BLOCK_BYTES);
    await volume.trim(0, volume.bytes);
    await volume.consistencyPoint();
    for (let i = 0; i < 20 && volume.status().usedBytes > 20 * BLOCK_BYTES; i++)
      await volume.consistencyPoint();
    assert.ok(
      volume.status().usedBytes <= 20 * BLOCK_BYTES,
      `${volume.status().usedBytes} bytes are still used`,
    );
    assert.equal(volume.rootHash, new Uint8Array(16));
  }
  await volume.close();
});

test("a CP is made by time, by dirty bytes, and when a half of the log is full", async () => {
  const storage = new MemoryStorage();
  const config = smallConfig({ cpDirtyBytes: 40 * BLOCK_BYTES, cpIntervalMs: 5_000 });
  await makeVolume(storage, config);
  const clock = new ManualClock();
  const volume = await openVolume(storage, config, {}, clock);
  const write = (lba: number) => volume.write(lba * BLOCK_BYTES, content(lba, 1));
  await write(1);
  await clock.advance(4_000);
  assert.is(volume.cp, 0);
  await clock.advance(1_500);
  await settle(5_000);
  assert.is(volume.cp, 1, "by time");
  for (let i = 0; i < 100; i++) await write(i % 39);
  await settle(5_000);
  assert.is(volume.cp, 1, "39 blocks are dirty, however often they were written");
  await write(39);
  await settle(5_000);
  assert.is(volume.cp, 2, "by dirty bytes");
  for (let i = 0; i < 300; i++) await write(i % 30);
  await settle(5_000);
  assert.is(volume.cp, 3, "by the log: a half holds 228 such entries");
  await volume.close();
});

test("the root hash depends on the data alone", async () => {
  const roots: string[] = [];
  for (const [parity, order] of [
    [1, 1],
    [2, -1],
    [1, 7],
  ] as const) {
    const storage = new MemoryStorage();
    const config = smallConfig({ parity, memberBytes: 12 * 1024 * 1024 });
    await makeVolume(storage, config);
    const volume = await openVolume(storage, config);
    for (let i = 0; i < 200; i++) {
      const lba = (((i * order) % 200) + 200) % 200;
      await volume.write(lba * 5 * BLOCK_BYTES, content(lba, 3));
      if (i % 50 === 0) await volume.consistencyPoint();
    }
    await volume.trim(0, BLOCK_BYTES * 10);
    await volume.consistencyPoint();
    roots.push(volume.rootHash.join());
    await volume.close();
  }
  assert.is(roots[0], roots[1]);
  assert.is(roots[0], roots[2]);
});

test("closing waits for the reads that have begun, and refuses those that come later", async () => {
  const memory = new MemoryStorage();
  await makeVolume(memory);
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage);
  await volume.write(0, content(0, 1));
  await volume.consistencyPoint();
  await volume.write(BLOCK_BYTES, content(1, 1));
  let release = () => {};
  const slow = new Promise<void>((resolve) => {
    release = resolve;
  });
  storage.gate = ({ kind }) => (kind === "read" ? slow : undefined);
  const reads = [volume.read(0, BLOCK_BYTES), volume.read(BLOCK_BYTES, BLOCK_BYTES)];
  let isClosed = false;
  const closed = volume.close().then(() => {
    isClosed = true;
  });
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.not.ok(isClosed);
  release();
  assert.equal(await Promise.all(reads), [content(0, 1), content(1, 1)]);
  await closed;
  const code = await volume.read(0, BLOCK_BYTES).catch((error: { code: string }) => error.code);
  assert.is(code, "ERR_CLOSED");
});

test("a partial write does not bring back what was overwritten while it read the rest of its block", async () => {
  const memory = new MemoryStorage();
  await makeVolume(memory);
  const storage = new FaultyStorage(memory);
  let volume = await openVolume(storage);
  await volume.write(5 * BLOCK_BYTES, content(5, 1));
  await volume.consistencyPoint();
  await volume.close();
  volume = await openVolume(storage);
  // What a CP reads comes from the cache from here on.
  await volume.write(6 * BLOCK_BYTES, content(6, 1));
  await volume.consistencyPoint();
  let isHeld = false;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  storage.gate = ({ path, kind }) => {
    if (isHeld || kind !== "read" || !path.endsWith("/m")) return;
    isHeld = true;
    return held;
  };
  const partial = volume.write(5 * BLOCK_BYTES + 100, new Uint8Array([1, 2, 3]));
  while (!isHeld) await new Promise((resolve) => setImmediate(resolve));
  // Overwritten, and in the image, all while the partial write waits.
  await volume.write(5 * BLOCK_BYTES, content(5, 2));
  await volume.consistencyPoint();
  release();
  await partial;
  const expected = content(5, 2);
  expected.set([1, 2, 3], 100);
  assert.equal(await volume.read(5 * BLOCK_BYTES, BLOCK_BYTES), expected);
  await volume.close();
});

test("closing waits for a write that still reads the edges of its range, too", async () => {
  const config = smallConfig({ cacheBytes: 64 * 1024 });
  const memory = new MemoryStorage();
  await makeVolume(memory, config);
  let volume = await openVolume(memory, config);
  for (const lba of [100, 140]) await volume.write(lba * BLOCK_BYTES, content(lba, 1));
  await volume.consistencyPoint();
  await volume.close();
  const storage = new FaultyStorage(memory);
  volume = await openVolume(storage, config);
  let reads = 0;
  storage.gate = ({ path, kind }) => {
    if (kind !== "read" || !path.endsWith("/m")) return;
    reads += 1;
    return new Promise((resolve) => setTimeout(resolve, 5));
  };
  // Blocks 100 and 140 lie in different leaves of the map: nothing of the second one is known after the first.
  const write = volume
    .write(100 * BLOCK_BYTES + 100, new Uint8Array(40 * BLOCK_BYTES))
    .catch((error) => error.code);
  while (reads === 0) await new Promise((resolve) => setImmediate(resolve));
  const closed = volume.close();
  assert.is(await write, "ERR_CLOSED");
  await closed;
  const errors = volume.status().members.map(({ readErrors }) => readErrors);
  assert.equal(errors, [0, 0, 0, 0], "nothing was read from closed disks");
});

test.run();
