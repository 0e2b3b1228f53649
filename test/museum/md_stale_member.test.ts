// Linux MD tells a stale member by a count of events. Launchpad bug 557429: a mirrored array was started with
// one disk only, then with the other one only, then with both. The counts happened to agree, so it was
// assembled as in sync, with two different contents under it. And a member whose count is behind by one was
// taken for current even when the freshest member had recorded it as failed (kernel commit "md: Whenassemble
// the array, consult the superblock of the freshest device").
//
// Ours: a member that was missing is recorded as missing before anything more is acknowledged. It is
// refilled, and never trusted for what it has; two sets that went on apart are refused, whatever their counts
// are.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { FaultyStorage } from "../volume/faults.ts";
import { content, makeVolume, openVolume, smallConfig } from "../volume/fixture.ts";
import { versionOf } from "./support.ts";

const test = suite("museum: a stale member that is added again");
const config = smallConfig({ members: ["a/m", "b/m"], memberBytes: 16 * 1024 * 1024 });

async function prepare(): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  for (let lba = 0; lba < 8; lba++) await volume.write(lba * BLOCK_BYTES, content(lba, 1));
  await volume.consistencyPoint();
  await volume.close();
  return storage;
}

/** Opens it without some of its disks, writes, makes so many consistency points. */
async function goOn(memory: MemoryStorage, without: string, version: number, points = 1): Promise<void> {
  const storage = new FaultyStorage(memory);
  storage.kill(without);
  const volume = await openVolume(storage, config);
  for (let point = 0; point < points; point++) {
    for (let lba = 0; lba < 4; lba++) await volume.write(lba * BLOCK_BYTES, content(lba, version));
    await volume.consistencyPoint();
  }
  await volume.close();
}

/** Puts the disks of one machine's folder into the other storage, as a person does with a screwdriver. */
async function plugIn(
  from: MemoryStorage,
  into: MemoryStorage,
  folder: string,
  with_: VolumeConfig,
): Promise<void> {
  for (const path of from.paths.filter((each) => each.startsWith(folder))) {
    const bytes = path.endsWith("/m") ? with_.memberBytes! : with_.logBytes / 4;
    into.poke(path, 0, from.peek(path, 0, bytes));
  }
}

async function expectStale(memory: MemoryStorage): Promise<void> {
  const volume = await openVolume(memory, config);
  const { members } = volume.status();
  assert.is(members[0]!.state, "current");
  assert.is(members[1]!.state, "missing");
  assert.match(members[1]!.reason!, /stale/);
  await volume.close();
}

test("each disk was used without the other: both together are refused, whatever their counts", async () => {
  for (const [pointsOfA, pointsOfB] of [
    [1, 1],
    [2, 1],
    [1, 3],
  ] as const) {
    const ofA = await prepare();
    const ofB = ofA.ifPowerFailedNow("keep");
    await goOn(ofA, "b/", 2, pointsOfA);
    await goOn(ofB, "a/", 3, pointsOfB);
    await plugIn(ofB, ofA, "b/", config);
    assert.is(await codeOf(openVolume(ofA, config)), "ERR_MEMBERS_DIVERGED");
  }
});

test("a disk that missed one commit, namely the one that recorded it as missing, is stale", async () => {
  const memory = await prepare();
  const before = memory.ifPowerFailedNow("keep");
  const storage = new FaultyStorage(memory);
  storage.kill("b/m");
  const volume = await openVolume(storage, config);
  await volume.close();
  await plugIn(before, memory, "b/m", config);
  await expectStale(memory);
});

test("a disk that was put back from an old copy of itself is stale, recorded or not", async () => {
  const memory = await prepare();
  const old = memory.ifPowerFailedNow("keep");
  const volume = await openVolume(memory, config);
  for (let lba = 0; lba < 4; lba++) await volume.write(lba * BLOCK_BYTES, content(lba, 2));
  await volume.consistencyPoint();
  await volume.consistencyPoint();
  await volume.write(7 * BLOCK_BYTES, content(7, 2));
  await volume.consistencyPoint();
  await volume.close();
  await plugIn(old, memory, "b/m", config);
  await expectStale(memory);
});

test("a stale disk that comes back gives nothing, not even when the current one cannot be read", async () => {
  const memory = await prepare();
  await goOn(memory, "b/", 2);
  const whole = await openVolume(memory.ifPowerFailedNow("keep"), config);
  for (let lba = 0; lba < 8; lba++) assert.is(await versionOf(whole, lba, [1, 2]), lba < 4 ? 2 : 1);
  await whole.close();
  // What it holds is older than what was acknowledged: no answer is right but an error.
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage, config);
  storage.kill("a/m");
  for (let lba = 0; lba < 8; lba++) {
    assert.is.not(await codeOf(volume.read(lba * BLOCK_BYTES, BLOCK_BYTES)), "resolved");
  }
  await volume.close();
});

test("a stale disk without the other one: the log brings it up to date, or it is refused", async () => {
  const ends: string[] = [];
  for (const points of [1, 6]) {
    const memory = await prepare();
    await goOn(memory, "b/m", 2, points);
    const storage = new FaultyStorage(memory);
    storage.kill("a/m");
    let volume: Volume | null = null;
    const opening = openVolume(storage, config).then((opened) => {
      volume = opened;
    });
    ends.push(await codeOf(opening));
    if (volume === null) continue;
    for (let lba = 0; lba < 8; lba++) assert.is(await versionOf(volume, lba, [1, 2]), lba < 4 ? 2 : 1);
    await (volume as Volume).close();
  }
  assert.equal(ends, ["resolved", "ERR_MEMBERS_STALE"]);
});

test.run();
