// PostgreSQL before 11.2 ("fsyncgate", 2018): when the fsync of a checkpoint failed, it tried again later.
// Linux reports a failed write-back once and marks the pages clean, so the second fsync succeeded, the
// checkpoint was taken as complete, the write-ahead log was recycled, and the pages were on no device.
// PostgreSQL panics since.
//
// Ours: a failed sync is final for that disk. It is not asked again; what it holds is not trusted, also after
// a restart; whatever counted on it goes on with the other log copy or the other members, or the volume
// stops.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { VolumeConfig } from "../../src/volume/volume.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { expectSound } from "../volume/checking.ts";
import { content, Model, makeVolume, openVolume, smallConfig } from "../volume/fixture.ts";
import { CleanPagesStorage } from "./clean_pages.ts";
import { versionOf } from "./support.ts";

const test = suite("museum: pages marked clean after a failed sync");

async function prepare(config: VolumeConfig) {
  const memory = new MemoryStorage();
  await makeVolume(memory, config);
  const storage = new CleanPagesStorage(memory);
  const volume = await openVolume(storage, config);
  const model = new Model(config.sizeBytes);
  const write = async (lba: number, version: number) => {
    await volume.write(lba * BLOCK_BYTES, content(lba, version));
    model.write(lba * BLOCK_BYTES, content(lba, version));
  };
  for (let lba = 0; lba < 60; lba++) await write(lba, 1);
  return { storage, volume, model, write };
}

test("the only log: the sync is not tried again, and nothing is acknowledged after it", async () => {
  const config = smallConfig({ log: ["a/log"] });
  const { storage, volume } = await prepare(config);
  storage.failNextSync("a/log.1");
  assert.is(await codeOf(volume.write(0, content(0, 2))), "ERR_LOG_FAILED");
  assert.is(await codeOf(volume.write(0, content(0, 3))), "ERR_LOG_FAILED");
  assert.is(await codeOf(volume.flush()), "ERR_LOG_FAILED");
  assert.is(storage.syncsAfterFailure, 0);
  const again = await openVolume(storage.afterPowerFailure(), config);
  assert.is(await versionOf(again, 0, [1, 2]), 1);
  await again.close();
});

test("one log of two: the other one is enough, and the failed one is never read again", async () => {
  const config = smallConfig();
  const { storage, model, write } = await prepare(config);
  storage.failNextSync("a/log.1");
  await write(7, 2);
  for (let lba = 10; lba < 20; lba++) await write(lba, 2);
  assert.is(storage.syncsAfterFailure, 0);
  await write(8, 3);
  const after = storage.afterPowerFailure();
  const both = await openVolume(after.ifPowerFailedNow("keep"), config);
  await model.expectEqual(both);
  await both.close();
  // With the good copy gone, the other one must not pass for what was acknowledged.
  for (let slot = 0; slot < 4; slot++) await after.remove(`b/log.${slot}`);
  const code = await codeOf(openVolume(after, config));
  assert.is(code, "ERR_LOG_MISSING");
});

test("a member at a consistency point: it is out before the point is complete, and stays so", async () => {
  const config = smallConfig();
  const { storage, volume, model } = await prepare(config);
  storage.failNextSync("b/m");
  await volume.consistencyPoint();
  assert.is(storage.syncsAfterFailure, 0);
  assert.is(volume.status().members[1]!.state, "missing");
  await model.expectEqual(volume);
  // The log has been let go of by now, so it is the members that have to give everything.
  for (let lba = 0; lba < 60; lba += 7) {
    await volume.write(lba * BLOCK_BYTES, content(lba, 2));
    model.write(lba * BLOCK_BYTES, content(lba, 2));
  }
  await volume.consistencyPoint();
  const after = storage.afterPowerFailure();
  await expectSound(after, config);
  const again = await openVolume(after, config);
  assert.is(again.status().members[1]!.state, "missing");
  await model.expectEqual(again);
  await again.close();
});

test.run();
