// What must be true when parts of a volume (members, copies of the log) are lost at an event of a consistency point.
//
//   running     they die at that event: every access to them fails from then on
//   crash       the power goes at that event, and they are not there, or not what they were, at the next opening
//
// Enough left: the volume goes on or opens, it serves, its status names exactly the lost parts, every acknowledged
// write can be read, what is made from here on is whole, and none of that changes when the process ends, or when the
// lost parts are back with what they held. Too few left: an error with a clear code, no wrong data, nothing changed by
// trying, and with the parts back everything is there.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Storage } from "../../src/io/disk.ts";
import { MirrorvolError } from "../../src/kernel/errors.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { assert } from "../support/harness.ts";
import { expectSound } from "../volume/checking.ts";
import { check, type Expectation } from "../volume/expectation.ts";
import { openVolume } from "../volume/fixture.ts";
import { type Busy, makeCp, makeNextCp, openUntilCp } from "./busy_cp.ts";
import { type CrashPoint, CrashRecorder, oneFate } from "./crash_scheme.ts";
import { expectDegraded, type Loss, type LossMode, lose, type Part, restore, withDead } from "./losses.ts";
import { fork } from "./volumes.ts";

/** The event at which they die, and who. */
export interface RunningCase {
  readonly event: number;
  readonly lost: readonly Part[];
}

/** A volume whose parts die at that event of its CP. */
async function runUntilLoss({ storage, config, expectation: past }: Busy, { event, lost }: RunningCase) {
  const memory = fork(storage);
  const dead = new Set<string>();
  const expectation = past.copy();
  const volume = await openUntilCp(withDead(memory, dead), config, expectation);
  const first = memory.eventCount;
  memory.onEvent = ({ number }) => {
    if (number - first === event) for (const path of lost.flatMap(({ paths }) => paths)) dead.add(path);
  };
  return { memory, dead, volume, expectation };
}

export async function loseWhileRunning(busy: Busy, lossCase: RunningCase): Promise<void> {
  const { config } = busy;
  const { event, lost } = lossCase;
  const { memory, dead, volume, expectation } = await runUntilLoss(busy, lossCase);
  await makeCp(volume, expectation);
  assert.ok(dead.size > 0, `the CP has no event ${event}`);
  await makeNextCp(volume, expectation);
  expectDegraded(volume, lost);
  await check(volume, expectation, "degraded");
  const crashed = memory.ifPowerFailedNow(event);
  await volume.close();
  await expectDegradedOpen(withDead(crashed, dead), busy, expectation.copy(), lost);
  await expectDegradedOpen(memory, busy, expectation, lost);
  await expectSound(memory, config);
}

async function expectDegradedOpen(
  storage: Storage,
  { config }: Busy,
  expectation: Expectation,
  lost: readonly Part[],
): Promise<void> {
  const volume = await openVolume(storage, config);
  expectDegraded(volume, lost);
  await check(volume, expectation, "opened again");
  await volume.close();
}

/**
 * More than can be lost at once. `codes`: what the volume may say. False: it went on, because it noticed one loss after
 * the other, and a spare had taken over in between.
 */
export async function loseTooMany(
  busy: Busy,
  lossCase: RunningCase,
  codes: readonly string[],
): Promise<boolean> {
  const { memory, dead, volume, expectation } = await runUntilLoss(busy, lossCase);
  const outcomes = [await outcomeOf(() => makeCp(volume, expectation))];
  assert.ok(dead.size > 0, `the CP has no event ${lossCase.event}`);
  outcomes.push(await outcomeOf(() => makeNextCp(volume, expectation)));
  expectCodes(outcomes, codes);
  if (outcomes[1] === "") {
    expectDegraded(volume, lossCase.lost);
    await check(volume, expectation, "the spare has taken over");
    await volume.close();
    return false;
  }
  assert.is(volume.status().state, "failed");
  await readWhatCanBeRead(volume, expectation, codes);
  await volume.close();
  const back = await openVolume(memory, busy.config);
  expectDegraded(back, []);
  await check(back, expectation, "all parts are back");
  await back.close();
  await expectSound(memory, busy.config);
  return true;
}

/** Empty: it succeeded. */
async function outcomeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return "";
  } catch (error) {
    if (!(error instanceof MirrorvolError)) throw error;
    return error.code;
  }
}

function expectCodes(outcomes: readonly string[], codes: readonly string[]): void {
  for (const code of outcomes) assert.ok(code === "" || codes.includes(code), `${code} says what is wrong`);
}

/** Each read gives what it must, or an error. */
async function readWhatCanBeRead(
  volume: Volume,
  expectation: Expectation,
  codes: readonly string[],
): Promise<void> {
  for (let lba = 0; lba < expectation.blocks; lba += 8) {
    const outcome = await outcomeOf(async () => {
      const block = await volume.read(lba * BLOCK_BYTES, BLOCK_BYTES);
      const allowed = [expectation.acknowledged[lba]!, ...expectation.underWay[lba]!];
      assert.ok(
        allowed.some((each) => Buffer.compare(each, block) === 0),
        `block ${lba} is neither old nor new`,
      );
    });
    expectCodes([outcome], codes);
  }
}

/** The crash points of the busy CP, the last one behind its end. */
export async function crashPointsOf({
  storage,
  config,
  expectation,
}: Busy): Promise<CrashPoint<Expectation>[]> {
  const memory = fork(storage);
  const promised = expectation.copy();
  const volume = await openUntilCp(memory, config, promised);
  const recorder = new CrashRecorder(memory, promised, oneFate);
  await makeCp(volume, promised);
  recorder.end();
  await volume.close();
  return recorder.take();
}

export interface CrashCase {
  readonly point: CrashPoint<Expectation>;
  readonly losses: readonly Loss[];
}

/** At even events all are lost in the same way, at odd ones each in another. */
export function lossesOf(
  lost: readonly Part[],
  modes: readonly LossMode[],
  mode: number,
  event: number,
): Loss[] {
  const step = event % 2;
  return lost.map((part, i) => ({ part, mode: modes[(mode + i * step) % modes.length]! }));
}

/** `foreignCode`: how a file of another volume is refused. It is taken away then. */
export async function openWithout(
  busy: Busy,
  { point, losses }: CrashCase,
  foreignCode: string,
): Promise<void> {
  const { config, sources } = busy;
  const image = fork(point.storage);
  const expectation = point.promised.copy();
  const seen = await lose(image, losses, sources);
  const foreign = losses.filter(({ mode }) => mode === "foreign");
  if (foreign.length > 0) {
    assert.is(await outcomeOf(async () => (await openVolume(seen, config)).close()), foreignCode);
    for (const path of foreign.flatMap(({ part }) => part.paths)) await image.remove(path);
  }
  const lost = losses.map(({ part }) => part);
  const volume = await openVolume(seen, config);
  expectDegraded(volume, lost);
  await check(volume, expectation, "opened without them");
  await makeNextCp(volume, expectation);
  await volume.close();
  await expectDegradedOpen(seen, busy, expectation, lost);
  await expectSound(seen, config);
}

/** More than can be lost: refused, or (where no live block is out of reach) right; and nothing is spoilt by trying. */
export async function openWithTooFew(busy: Busy, { point, losses }: CrashCase, codes: readonly string[]) {
  const { config, sources } = busy;
  const image = fork(point.storage);
  const expectation = point.promised.copy();
  const seen = await lose(image, losses, sources);
  const outcome = await outcomeOf(async () => {
    const volume = await openVolume(seen, config);
    await check(volume, expectation, "opened with too few");
    await volume.close();
  });
  expectCodes([outcome], codes);
  if (outcome === "") return false;
  await restore(image, losses, point.storage);
  const volume = await openVolume(image, config);
  expectDegraded(volume, []);
  await check(volume, expectation, "all parts are back");
  await volume.close();
  await expectSound(image, config);
  return true;
}
