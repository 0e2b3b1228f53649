// The copies of the log as the volume sees them: losses are recorded before the next acknowledgement, old copies
// and old members are never served.
import { BLOCK_BYTES, SUPERBLOCK_BYTES } from "../../assembly/format.ts";
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { withStore } from "./checking.ts";
import { copyOf, eio, FaultyStorage } from "./faults.ts";
import { content, Model, makeVolume, openVolume, preparedOnce, smallConfig } from "./fixture.ts";

const test = suite("volume log copies");

const prepare = preparedOnce(async (config) => {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const model = new Model(config.sizeBytes);
  const volume = await openVolume(storage, config);
  for (let lba = 0; lba < 100; lba++) await writeTo(volume, model, lba, 1);
  await volume.close();
  return { storage, model };
});

async function writeTo(volume: Volume, model: Model, lba: number, version: number): Promise<void> {
  await volume.write(lba * BLOCK_BYTES, content(lba, version));
  model.write(lba * BLOCK_BYTES, content(lba, version));
}

function logState(volume: Volume): string {
  return volume
    .status()
    .log.map(({ state }) => state)
    .join(" ");
}

function trustOf(storage: MemoryStorage, config: VolumeConfig): Promise<string> {
  return withStore(storage, config, async (store) => store.superblock.logCopies.join());
}

for (const kind of ["write", "sync"] as const) {
  test(`a copy whose ${kind} fails is recorded before the next acknowledgement`, async () => {
    const config = smallConfig();
    const { storage: memory, model } = await prepare(config);
    const storage = new FaultyStorage(memory);
    const volume = await openVolume(storage, config);
    const events: string[] = [];
    storage.judge = (call) => {
      const isSuperblock = call.kind === "write" && call.length === SUPERBLOCK_BYTES;
      if (isSuperblock) events.push("superblock");
      if (!call.path.startsWith("a/log") || call.kind !== kind) return null;
      events.push("fault");
      return eio(call);
    };
    await writeTo(volume, model, 5, 2);
    events.push("acknowledged");
    assert.is(events[0], "fault");
    assert.ok(
      events.indexOf("superblock") < events.indexOf("acknowledged") && events.includes("superblock"),
      events.join(),
    );
    assert.is(await trustOf(memory, config), "false,true");
    assert.is(logState(volume), "failed current");
    const faults = events.filter((event) => event === "fault").length;
    await writeTo(volume, model, 6, 2);
    assert.is(events.filter((event) => event === "fault").length, faults, "the copy is used no more");
    await volume.close();
    const again = await openVolume(memory, config);
    assert.is(logState(again).split(" ")[1], "current");
    assert.ok(!logState(again).startsWith("current"), logState(again));
    await model.expectEqual(again);
    await again.close();
  });

  test(`when every copy's ${kind} fails the volume stops and acknowledges nothing`, async () => {
    const config = smallConfig();
    const { storage: memory, model } = await prepare(config);
    const storage = new FaultyStorage(memory);
    const volume = await openVolume(storage, config);
    storage.judge = (call) => (call.path.includes("/log") && call.kind === kind ? eio(call) : null);
    assert.is(await codeOf(volume.write(0, content(0, 9))), "ERR_LOG_FAILED");
    assert.is(await codeOf(volume.write(4096, content(1, 9))), "ERR_LOG_FAILED");
    assert.is(await codeOf(volume.flush()), "ERR_LOG_FAILED");
    assert.is(await codeOf(volume.read(0, 4096)), "ERR_LOG_FAILED");
    assert.is(volume.status().state, "failed");
    storage.judge = () => null;
    assert.is(await codeOf(volume.write(8192, content(2, 9))), "ERR_LOG_FAILED");
    await volume.close();
    const again = await openVolume(memory, config);
    for (let lba = 1; lba < 100; lba++) {
      assert.equal(
        await again.read(lba * BLOCK_BYTES, BLOCK_BYTES),
        model.bytes.slice(lba * BLOCK_BYTES, (lba + 1) * BLOCK_BYTES),
      );
    }
    await again.close();
  });
}

test("a copy that is missing at open is recorded; when it comes back old it is not trusted", async () => {
  const config = smallConfig();
  const { storage, model } = await prepare(config);
  const old = await copyOf(storage);
  for (let slot = 0; slot < 4; slot++) await storage.remove(`a/log.${slot}`);
  let volume = await openVolume(storage, config);
  assert.is(logState(volume), "missing current");
  await model.expectEqual(volume);
  for (let lba = 50; lba < 150; lba++) await writeTo(volume, model, lba, 3);
  await volume.close();
  assert.is(await trustOf(storage, config), "false,true");
  for (let slot = 0; slot < 4; slot++) {
    const path = `a/log.${slot}`;
    const disk = await old.open(path, { readOnly: true });
    await (await storage.create(path, disk.bytes, "sparse")).close();
    storage.poke(path, 0, old.peek(path, 0, disk.bytes));
  }
  volume = await openVolume(storage, config);
  assert.ok(!logState(volume).startsWith("current"));
  await model.expectEqual(volume);
  await volume.close();
  for (let slot = 0; slot < 4; slot++) await storage.remove(`b/log.${slot}`);
  assert.is(await codeOf(openVolume(storage, config)), "ERR_LOG_MISSING");
});

test("an old copy alone leaves nothing open and changes nothing", async () => {
  const config = smallConfig();
  const { storage, model } = await prepare(config);
  const before = await copyOf(storage);
  for (let slot = 0; slot < 4; slot++) {
    await before.remove(`a/log.${slot}`);
    await before.remove(`b/log.${slot}`);
  }
  const heads = config.members.map((path) => before.peek(path, 0, 4 * SUPERBLOCK_BYTES).join());
  for (let attempt = 0; attempt < 3; attempt++)
    assert.is(await codeOf(openVolume(before, config)), "ERR_LOG_MISSING");
  assert.equal(
    config.members.map((path) => before.peek(path, 0, 4 * SUPERBLOCK_BYTES).join()),
    heads,
  );
  const volume = await openVolume(storage, config);
  await model.expectEqual(volume);
  await volume.close();
});

/** Member A goes on alone for so many CPs; then only B is there, old, believing itself current, with the log. */
async function oldMemberWithNewLog(rounds: number): Promise<string> {
  const config = smallConfig({ members: ["a/m", "b/m"], memberBytes: 16 * 1024 * 1024 });
  const { storage: memory, model } = await prepare(config);
  const storage = new FaultyStorage(memory);
  storage.kill("b/m");
  let volume = await openVolume(storage, config);
  for (let round = 0; round < rounds; round++) {
    for (let lba = 0; lba < 200; lba += 7) await writeTo(volume, model, lba, 10 + round);
    await volume.consistencyPoint();
  }
  await volume.close();
  const onlyB = new FaultyStorage(memory);
  onlyB.kill("a/m");
  const before = memory.peek("b/m", 0, 4 * SUPERBLOCK_BYTES).join();
  let outcome = "served";
  try {
    volume = await openVolume(onlyB, config);
    await model.expectEqual(volume);
    await volume.close();
  } catch (error) {
    outcome = (error as { code: string }).code ?? String(error);
    assert.is(memory.peek("b/m", 0, 4 * SUPERBLOCK_BYTES).join(), before, "nothing is recorded by trying");
    // With A back, all is well: the attempt did no harm.
    volume = await openVolume(memory, config);
    await model.expectEqual(volume);
    await volume.close();
  }
  return outcome;
}

test("an old member with a log that went on is brought up to date, or refused; never served as it is", async () => {
  const outcomes = new Set<string>();
  for (let rounds = 0; rounds < 9; rounds++) outcomes.add(await oldMemberWithNewLog(rounds));
  assert.equal([...outcomes].sort(), ["ERR_MEMBERS_STALE", "served"]);
});

test("a damaged copy is healed by a CP; when the healing fails, the loss is recorded and the CP goes on", async () => {
  const config = smallConfig();
  const { storage: memory, model } = await prepare(config);
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage, config);
  for (let lba = 0; lba < 60; lba++) await writeTo(volume, model, lba, 4);
  // The payloads in copy a are spoiled, and it refuses to take them back.
  for (let slot = 0; slot < 4; slot++) {
    const bytes = memory.peek(`a/log.${slot}`, 0, config.logBytes / 4);
    for (let at = 4096 + 2048; at < bytes.length; at += 512) bytes[at]! ^= 0xff;
    memory.poke(`a/log.${slot}`, 4096, bytes.subarray(4096));
  }
  let isSealed = false;
  storage.judge = (call) => {
    if (call.path.startsWith("b/log") && call.kind === "sync") isSealed = true;
    return isSealed && call.path.startsWith("a/log") && call.kind === "write" ? eio(call) : null;
  };
  await volume.consistencyPoint();
  assert.is(logState(volume), "failed current");
  assert.is(await trustOf(memory, config), "false,true");
  await model.expectEqual(volume);
  await volume.close();
});

test.run();
