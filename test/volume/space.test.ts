// Space: refusals come before acknowledgements, the cleaner always gets on, and every closed volume is sound.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { isThorough } from "../support/thorough.ts";
import { expectSound } from "./checking.ts";
import { FaultyStorage } from "./faults.ts";
import {
  content,
  expectBytes,
  Model,
  makeVolume,
  openVolume,
  randomFrom,
  randomOperation,
  smallConfig,
} from "./fixture.ts";

const test = suite("volume space");

/** How often every block is overwritten in the end, and how many lives each geometry has. */
const OVERWRITES = isThorough ? 3 : 1;
const SEEDS = isThorough ? 2 : 1;

/** Promises more than its members hold. */
const THIN = smallConfig({ sizeBytes: 8192 * BLOCK_BYTES });

async function fillUp(volume: Volume, model: Model, at = 0, pieceBlocks = 8): Promise<number> {
  const blocks = volume.bytes / BLOCK_BYTES;
  for (let lba = at; lba < blocks; lba += pieceBlocks) {
    const data = new Uint8Array(pieceBlocks * BLOCK_BYTES);
    for (let i = 0; i < pieceBlocks; i++) data.set(content(lba + i, 1), i * BLOCK_BYTES);
    try {
      await volume.write(lba * BLOCK_BYTES, data);
    } catch (error) {
      assert.is((error as { code: string }).code, "ERR_NO_SPACE");
      return lba;
    }
    model.write(lba * BLOCK_BYTES, data);
  }
  return blocks;
}

async function writeTo(volume: Volume, model: Model, lba: number, version: number): Promise<void> {
  await volume.write(lba * BLOCK_BYTES, content(lba, version));
  model.write(lba * BLOCK_BYTES, content(lba, version));
}

/** Until nothing is counted any more. */
async function untilItStalls(count: () => number): Promise<void> {
  for (let seen = -1; seen !== count(); ) {
    seen = count();
    for (let turn = 0; turn < 1500; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "";
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test("a thin volume refuses at its limit, goes on with overwriting, and takes more after a trim", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, THIN);
  const volume = await openVolume(storage, THIN);
  const model = new Model(volume.bytes);
  const end = await fillUp(volume, model);
  assert.ok(end > 1000 && end < 4000, `${end} blocks were taken`);
  await volume.consistencyPoint();
  await model.expectEqual(volume, 4 * 1024 * 1024);
  const random = randomFrom(17);
  for (let i = 0; i < OVERWRITES * end; i++) await writeTo(volume, model, random(end), i);
  assert.is(await codeOf(volume.write((end + 100) * BLOCK_BYTES, content(1, 1))), "ERR_NO_SPACE");
  assert.is(volume.status().state, "serving");
  // A hole is not something to overwrite, even though a trim of it is under way.
  await volume.trim(5000 * BLOCK_BYTES, 3000 * BLOCK_BYTES);
  let taken = 0;
  for (let lba = 5000; lba < 8000; lba++) {
    if ((await codeOf(volume.write(lba * BLOCK_BYTES, content(lba, 2)))) !== "") break;
    model.write(lba * BLOCK_BYTES, content(lba, 2));
    taken++;
  }
  assert.ok(taken < 600, `${taken} blocks were taken although the volume is full`);
  await volume.consistencyPoint();
  await volume.trim(0, (end >> 1) * BLOCK_BYTES);
  model.trim(0, (end >> 1) * BLOCK_BYTES);
  const more = (await fillUp(volume, model, 4096)) - 4096;
  assert.ok(more > end * 0.3, `${more} blocks after a trim of ${end >> 1}`);
  await volume.consistencyPoint();
  await model.expectEqual(volume, 4 * 1024 * 1024);
  await volume.close();
  await expectSound(storage, THIN);
});

test("what is overwritten does not count twice: a new block waits for the consistency point that tells", async () => {
  // Members of the default size, which have room for all blocks, but not for all of them and a full log besides.
  const { memberBytes: _, segmentStripes: __, ...small } = smallConfig();
  const config = { ...small, sizeBytes: 2048 * BLOCK_BYTES, logBytes: 32 * 1024 * 1024 };
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  const model = new Model(volume.bytes);
  const mapped = volume.bytes / BLOCK_BYTES - 1;
  for (let lba = 0; lba < mapped; lba++) await writeTo(volume, model, lba, 1);
  await volume.consistencyPoint();
  for (let lba = 0; lba < mapped; lba++) await writeTo(volume, model, lba, 2);
  const overwriting = Array.from({ length: mapped }, (_, lba) => writeTo(volume, model, lba, 3));
  const adding = writeTo(volume, model, mapped, 1);
  await Promise.all([...overwriting, adding]);
  await model.expectEqual(volume);
  await volume.close();
  await expectSound(storage, config);
});

test("many writers at once do not get beyond the limit", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, THIN);
  const volume = await openVolume(storage, THIN);
  const model = new Model(volume.bytes);
  const results = await Promise.all(
    Array.from({ length: 120 }, async (_, i) => {
      const data = new Uint8Array(64 * BLOCK_BYTES);
      for (let k = 0; k < 64; k++) data.set(content(i * 64 + k, 3), k * BLOCK_BYTES);
      const code = await codeOf(volume.write(i * 64 * BLOCK_BYTES, data));
      if (code === "") model.write(i * 64 * BLOCK_BYTES, data);
      return code;
    }),
  );
  assert.equal([...new Set(results)].sort(), ["", "ERR_NO_SPACE"]);
  await volume.consistencyPoint();
  assert.is(volume.status().state, "serving");
  const written = results.filter((code) => code === "").length * 64;
  assert.ok(written > 1000, `${written}`);
  for (let i = 0; i < 120; i++) {
    if (results[i] === "") continue;
    const bytes = await volume.read(i * 64 * BLOCK_BYTES, 64 * BLOCK_BYTES);
    assert.is(
      bytes.findIndex((byte) => byte !== 0),
      -1,
      `refused write ${i} left something`,
    );
  }
  await model.expectEqual(volume, 4 * 1024 * 1024);
  await volume.close();
  await expectSound(storage, THIN);
});

for (const pattern of ["hot and cold", "sequential", "90% full", "stripes of holes"] as const) {
  test(`the cleaner under a pattern: ${pattern}`, async () => {
    const storage = new MemoryStorage();
    await makeVolume(storage, THIN);
    const volume = await openVolume(storage, THIN);
    const model = new Model(volume.bytes);
    const limit = volume.status().limitBytes / BLOCK_BYTES;
    const blocks = Math.floor(limit * (pattern === "90% full" ? 0.87 : 0.6));
    const random = randomFrom(23);
    for (let lba = 0; lba < blocks; lba++) await writeTo(volume, model, lba, 0);
    for (let i = 0; i < OVERWRITES * blocks; i++) {
      if (pattern === "sequential") await writeTo(volume, model, i % blocks, i);
      else if (pattern === "hot and cold")
        await writeTo(volume, model, random(10) ? random(blocks >> 4) : random(blocks), i);
      else if (pattern === "90% full") await writeTo(volume, model, random(blocks), i);
      else if (i % 40 === 0) {
        const lba = random(blocks - 60);
        await volume.trim(lba * BLOCK_BYTES, 50 * BLOCK_BYTES);
        model.trim(lba * BLOCK_BYTES, 50 * BLOCK_BYTES);
      } else await writeTo(volume, model, (i * 7) % blocks, i);
    }
    assert.is(volume.status().state, "serving");
    await model.expectEqual(volume, 4 * 1024 * 1024);
    await volume.close();
    await expectSound(storage, THIN);
  });
}

for (const { name, changes } of [
  { name: "3+1", changes: {} },
  { name: "1+1", changes: { members: ["a/m", "b/m"], memberBytes: 10 * 1024 * 1024 } },
  { name: "2+2", changes: { parity: 2, memberBytes: 8 * 1024 * 1024, cacheBytes: 16 * BLOCK_BYTES } },
  {
    name: "1+0, a tiny cache",
    changes: { members: ["a/m"], parity: 0, memberBytes: 10 * 1024 * 1024, cacheBytes: 16 * BLOCK_BYTES },
  },
] as { name: string; changes: Partial<VolumeConfig> }[]) {
  test(`random operations leave a sound image, ${name}`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const config = smallConfig(changes);
      const storage = new MemoryStorage();
      await makeVolume(storage, config, seed);
      const model = new Model(config.sizeBytes);
      const random = randomFrom(seed * 7919);
      for (let opening = 0; opening < 3; opening++) {
        const volume = await openVolume(storage, config);
        for (let i = 0; i < 200; i++) await randomOperation(volume, model, random);
        await model.expectEqual(volume);
        await volume.close();
        await expectSound(storage, config);
      }
    }
  });
}

test("degraded and full: writes are refused rather than the volume stopped, and trims help", async () => {
  const memory = new MemoryStorage();
  await makeVolume(memory, THIN);
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage, THIN, { writeTimeoutMs: 1000 });
  const model = new Model(volume.bytes);
  const end = await fillUp(volume, model);
  await volume.consistencyPoint();
  storage.kill("d/m");
  const random = randomFrom(3);
  let refused = 0;
  for (let i = 0; i < 2 * end; i++) {
    const lba = random(end);
    const code = await codeOf(volume.write(lba * BLOCK_BYTES, content(lba, i)));
    if (code === "") model.write(lba * BLOCK_BYTES, content(lba, i));
    else {
      assert.is(code, "ERR_NO_SPACE");
      refused++;
      if (refused === 20) {
        await volume.trim(0, (end >> 1) * BLOCK_BYTES);
        model.trim(0, (end >> 1) * BLOCK_BYTES);
      }
      if (refused > 100) break;
    }
  }
  await volume.consistencyPoint();
  assert.is(volume.status().state, "serving");
  await model.expectEqual(volume, 4 * 1024 * 1024);
  await volume.close();
  await expectSound(memory, THIN);
});

test("a pinned image stays readable while everything is overwritten, and gives its space back", async () => {
  const storage = new MemoryStorage();
  const config = smallConfig({ memberBytes: 12 * 1024 * 1024 });
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  const model = new Model(volume.bytes);
  const random = randomFrom(31);
  for (let i = 0; i < 150; i++) await randomOperation(volume, model, random);
  await volume.consistencyPoint();
  const pinned = await volume.pinImage();
  const root = volume.rootHash;
  const before = model.bytes.slice();
  for (let round = 0; round < 3; round++) {
    for (let lba = 0; lba < 1024; lba += 2) await writeTo(volume, model, lba, 100 + round);
    await volume.consistencyPoint();
    if (round === 1) {
      await volume.trim(0, volume.bytes);
      model.trim(0, volume.bytes);
      await volume.consistencyPoint();
    }
    assert.equal(pinned.rootHash, root);
    const lbas = Array.from({ length: 1024 }, (_, lba) => lba);
    for (const [lba, block] of (await pinned.blocks(lbas)).entries()) {
      expectBytes(block, before.subarray(lba * BLOCK_BYTES, (lba + 1) * BLOCK_BYTES), lba * BLOCK_BYTES);
    }
    const [top] = await pinned.children(1, [0]);
    assert.is(top!.length, 64 * 16);
    for (const leaf of await pinned.children(0, [0, 7])) assert.is(leaf.length, 128 * 16);
    await model.expectEqual(volume);
  }
  const used = volume.status().usedBytes;
  pinned.release();
  pinned.release();
  assert.is(await codeOf(pinned.blocks([0])), "ERR_RELEASED");
  for (let turn = 0; turn < 2000; turn++) await new Promise((resolve) => setImmediate(resolve));
  const after = volume.status().usedBytes;
  assert.ok(after < used - 500 * BLOCK_BYTES, `${used} bytes were used, then ${after}`);
  await volume.close();
  const report = await expectSound(storage, config);
  assert.is(report.blocks, 512);
});

test("pinned and full: overwriting waits for the release instead of stopping the volume", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, THIN);
  const volume = await openVolume(storage, THIN);
  const model = new Model(volume.bytes);
  const end = await fillUp(volume, model);
  await volume.consistencyPoint();
  const pinned = await volume.pinImage();
  let written = 0;
  const overwriting = (async () => {
    for (let lba = 0; lba < end; lba++) {
      await writeTo(volume, model, lba, 2);
      written++;
    }
  })();
  await untilItStalls(() => written);
  assert.is(volume.status().state, "serving");
  assert.ok(written < end, "a full volume has no room for two images");
  expectBytes((await pinned.blocks([0]))[0]!, content(0, 1));
  pinned.release();
  await overwriting;
  await model.expectEqual(volume, 4 * 1024 * 1024);
  await volume.close();
  await expectSound(storage, THIN);
});

test("pinned and full: a new block waits for the release too, since what was overwritten will be free", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, THIN);
  const volume = await openVolume(storage, THIN);
  const model = new Model(volume.bytes);
  const limit = await fillUp(volume, model);
  await volume.trim((limit >> 1) * BLOCK_BYTES, limit * BLOCK_BYTES);
  model.trim((limit >> 1) * BLOCK_BYTES, limit * BLOCK_BYTES);
  await volume.consistencyPoint();
  // Twice half the limit: with their maps, the image that is kept and the present one take all of it.
  const pinned = await volume.pinImage();
  for (let lba = 0; lba < limit >> 1; lba++) await writeTo(volume, model, lba, 2);
  await volume.consistencyPoint();
  let added = 0;
  const adding = (async () => {
    for (let lba = limit; lba < limit + 100; lba++) {
      await writeTo(volume, model, lba, 1);
      added++;
    }
  })();
  await untilItStalls(() => added);
  assert.ok(added < 100, `there was room for ${added} blocks more`);
  pinned.release();
  await adding;
  await model.expectEqual(volume, 4 * 1024 * 1024);
  await volume.close();
  await expectSound(storage, THIN);
});

test.run();
