// What must be true of a volume that comes back after a crash, whatever the crash was.
//
//   before    the committed image is whole, proved from the members alone (check.ts), before anybody repairs it
//   open      the volume opens by itself and serves, with all its members
//   content   each block holds what was acknowledged last, or one of the contents that were under way since
//   stay      what was read once stays, through further writes, a CP, and another crash
//   after     the image that was made from here is whole as well
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import { assert } from "../support/harness.ts";
import type { MemoryStorage } from "../support/memory_storage.ts";
import { expectSound } from "../volume/checking.ts";
import { check, type Expectation, write } from "../volume/expectation.ts";
import { openVolume } from "../volume/fixture.ts";

/** The volume opens, and holds what it must. `expectation` becomes what was read. */
export async function expectContent(
  storage: MemoryStorage,
  config: VolumeConfig,
  expectation: Expectation,
): Promise<void> {
  const volume = await openVolume(storage, config);
  expectHealthy(volume);
  await check(volume, expectation, "opened");
  await volume.close();
}

/** All of it. The case number chooses what is written, and what becomes of it in the second crash. */
export async function expectRecovery(
  storage: MemoryStorage,
  config: VolumeConfig,
  expectation: Expectation,
  caseNumber: number,
): Promise<void> {
  await expectSound(storage, config);
  const volume = await openVolume(storage, config);
  expectHealthy(volume);
  await check(volume, expectation, "opened");
  await overwrite(volume, expectation, caseNumber);
  await volume.consistencyPoint();
  await overwrite(volume, expectation, caseNumber + 1);
  const crashed = storage.ifPowerFailedNow(caseNumber);
  await volume.close();
  await expectContent(crashed, config, expectation.copy());
  await expectSound(storage, config);
}

function expectHealthy(volume: Volume): void {
  const { state, members, log } = volume.status();
  assert.is(state, "serving");
  assert.ok(
    [...members, ...log].every((part) => part.state === "current"),
    `a crash is no loss: ${[...members, ...log].map((part) => part.state).join()}`,
  );
}

/** A block that is there already: overwriting is never refused. */
export async function overwrite(volume: Volume, expectation: Expectation, caseNumber: number): Promise<void> {
  for (let tried = 0; tried < expectation.blocks; tried++) {
    const lba = (caseNumber * 7 + tried) % expectation.blocks;
    if (expectation.acknowledged[lba]!.every((byte) => byte === 0)) continue;
    return write(volume, expectation, lba, 1, 1_000_000 + caseNumber);
  }
}
