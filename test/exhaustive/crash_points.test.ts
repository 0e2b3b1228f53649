// Every crash point of two hundred workloads over volumes of many shapes (workloads.ts), recovered and checked as
// recovery.ts says; and for the twenty short ones a second crash at every event of every recovery.
//
//   npm test                              some of the workloads, some of their points
//   npm run test:thorough -- exhaustive   all of them, each event with three fates of the unsynced writes

import type { VolumeConfig } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { isThorough, share } from "../support/thorough.ts";
import type { Expectation } from "../volume/expectation.ts";
import { openVolume } from "../volume/fixture.ts";
import {
  allFates,
  at,
  type CrashPoint,
  CrashRecorder,
  type Fates,
  oneFate,
  shareOf,
} from "./crash_scheme.ts";
import { expectContent, expectRecovery } from "./recovery.ts";
import { fork } from "./volumes.ts";
import { runWorkload, WORKLOADS, type Workload } from "./workloads.ts";

export const deadlineMs = 1_800_000;

/** A test each. */
const GROUPS = 10;
const GROUP_SIZE = WORKLOADS.length / GROUPS;
const CRASHES_MIN = isThorough ? 30_000 : 100;
const SECOND_CRASHES_MIN = isThorough ? 20_000 : 100;

const total = { crashes: 0, secondCrashes: 0, cleanings: 0 };

type Recover = (point: CrashPoint<Expectation>, config: VolumeConfig) => Promise<void>;

/** Opens the volume and runs the workload; after each round its crash points are recovered. Returns their number. */
async function crashEverywhere(workload: Workload, fates: Fates, recover: Recover): Promise<number> {
  const { name, config, storage: origin, expectation: past } = await workload.volume();
  const storage = fork(origin);
  const expectation = past.copy();
  const recorder = new CrashRecorder(storage, expectation, fates);
  const label = `workload ${workload.number} (${name})`;
  const recoverAll = () => recorder.recoverAll(label, (point) => recover(point, config));
  await at(label, async () => {
    const clock = new ManualClock();
    const volume = await openVolume(storage, config, {}, clock);
    const before = volume.status();
    await runWorkload(workload, volume, clock, expectation, recoverAll);
    const after = volume.status();
    // Every commit is a CP or the work of the cleaner.
    total.cleanings += after.commit - before.commit - (after.cp - before.cp);
    await volume.close();
  });
  recorder.end();
  await recoverAll();
  return recorder.count;
}

/** The recovery itself loses power, at each of its events. Returns their number. */
async function crashAgain(point: CrashPoint<Expectation>, config: VolumeConfig): Promise<number> {
  const recorder = new CrashRecorder(point.storage, point.promised, shareOf(oneFate, 3, point.event));
  await expectContent(point.storage, config, point.promised.copy());
  recorder.end();
  await recorder.recoverAll("again", ({ storage, promised }) => expectContent(storage, config, promised));
  return recorder.count;
}

const test = suite("exhaustive: crash points");

for (let group = 0; group < GROUPS; group++) {
  const workloads = WORKLOADS.slice(group * GROUP_SIZE, (group + 1) * GROUP_SIZE);
  const chosen = isThorough ? workloads : [workloads[(group * 7 + 3) % GROUP_SIZE]!];
  test(`every event of workloads ${chosen.map(({ number }) => number).join()}`, async () => {
    for (const workload of chosen) {
      const fates = shareOf(allFates, 9, workload.number);
      total.crashes += await crashEverywhere(workload, fates, ({ event, storage, promised }, config) => {
        return expectRecovery(storage, config, promised, event);
      });
    }
  });
}

const short = WORKLOADS.filter(({ isShort }) => isShort);

for (const workload of share(short, 2)) {
  test(`every event of every recovery of workload ${workload.number}`, async () => {
    await crashEverywhere(workload, shareOf(oneFate, 16, 3), async (point, config) => {
      total.secondCrashes += await crashAgain(point, config);
    });
  });
}

test(`${CRASHES_MIN} crashes and ${SECOND_CRASHES_MIN} in recoveries, at least`, () => {
  console.log(`    ${JSON.stringify(total)}`);
  assert.ok(total.crashes >= CRASHES_MIN, `${total.crashes} crashes`);
  assert.ok(total.secondCrashes >= SECOND_CRASHES_MIN, `${total.secondCrashes} crashes in recoveries`);
  assert.ok(total.cleanings > 0, "the cleaner had something to do");
});

test.run();
