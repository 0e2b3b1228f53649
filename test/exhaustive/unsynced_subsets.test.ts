// Every subset of up to ten unsynced writes that a crash may leave, and every unsynced write torn: one moment for
// each combination of writes that the two hundred workloads (workloads.ts) and recoveries from them ever have under
// way together: log appends over all copies, half headers, erased stale entries, runs, segment-table pages,
// superblocks, and all of them mixed. Each image is recovered and checked as recovery.ts says.
//
//   npm test                              a few moments and a few images of each
//   npm run test:thorough -- exhaustive   all of them
import { assert, suite } from "../support/harness.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { isThorough, share } from "../support/thorough.ts";
import { openVolume } from "../volume/fixture.ts";
import { at } from "./crash_scheme.ts";
import {
  imageOf,
  type Moment,
  maskWithoutHeads,
  tearsOf,
  tornImage,
  type WriteKind,
  watchMoments,
} from "./moments.ts";
import { expectRecovery } from "./recovery.ts";
import { fork } from "./volumes.ts";
import { runWorkload, WORKLOADS, type Workload } from "./workloads.ts";

export const deadlineMs = 3_600_000;

const KINDS: readonly WriteKind[] = ["append", "half header", "erase", "run", "table", "superblock"];
const SUBSETS_MIN = isThorough ? 20_000 : 60;
const TEARS_MIN = isThorough ? 5_000 : 30;

/** By what is under way. */
const moments = new Map<string, Moment>();
const total = { subsets: 0, tears: 0 };

function keep(moment: Moment): void {
  if (!moments.has(moment.words)) moments.set(moment.words, moment);
}

async function watchWorkload(workload: Workload): Promise<void> {
  const subject = await workload.volume();
  const storage = fork(subject.storage);
  const expectation = subject.expectation.copy();
  const appends: Moment[] = [];
  watchMoments(storage, subject, expectation, (moment) => {
    keep(moment);
    if (moment.kinds.has("append") && moment.pieces.length > 3) appends.push(moment);
  });
  const clock = new ManualClock();
  const volume = await openVolume(storage, subject.config, {}, clock);
  await runWorkload(workload, volume, clock, expectation, async () => {});
  await volume.close();
  for (const moment of share(appends.slice(0, 4), 1)) await watchRecovery(moment);
}

async function watchRecovery(moment: Moment): Promise<void> {
  const storage = imageOf(moment, maskWithoutHeads(moment));
  watchMoments(storage, moment.subject, moment.promised, keep);
  await (await openVolume(storage, moment.subject.config)).close();
}

/** Two for each kind in a short run: those with the most pieces. */
function chosenMoments(): Moment[] {
  const all = [...moments.values()];
  if (isThorough) return all;
  const chosen = KINDS.flatMap((kind) => {
    const having = all.filter(({ kinds }) => kinds.has(kind));
    return having.sort((a, b) => b.pieces.length - a.pieces.length).slice(0, 2);
  });
  return [...new Set(chosen)];
}

const test = suite("exhaustive: unsynced subsets");

test("the moments have writes of every kind", async () => {
  for (const workload of share(WORKLOADS, 3)) await watchWorkload(workload);
  const seen = new Set([...moments.values()].flatMap(({ kinds }) => [...kinds]));
  assert.equal(
    KINDS.filter((kind) => !seen.has(kind)),
    [],
  );
  assert.ok(moments.size >= (isThorough ? 50 : 10), `only ${moments.size} moments`);
});

test("every subset of the unsynced writes", async () => {
  for (const moment of chosenMoments()) {
    const masks = Array.from({ length: 2 ** moment.pieces.length }, (_, mask) => mask);
    for (const mask of share(masks, 16)) {
      total.subsets += 1;
      await at(`${moment.subject.name}, ${moment.words}, subset ${mask}`, () => {
        return expectRecovery(imageOf(moment, mask), moment.subject.config, moment.promised.copy(), mask);
      });
    }
  }
});

test("every unsynced write torn", async () => {
  for (const moment of chosenMoments()) {
    for (const [number, tear] of share(tearsOf(moment), 8).entries()) {
      total.tears += 1;
      await at(`${moment.subject.name}, ${moment.words}, ${tear.name}`, () => {
        return expectRecovery(tornImage(moment, tear), moment.subject.config, moment.promised.copy(), number);
      });
    }
  }
});

test(`${SUBSETS_MIN} subsets and ${TEARS_MIN} tears, at least`, () => {
  console.log(`    ${JSON.stringify({ moments: moments.size, ...total })}`);
  assert.ok(total.subsets >= SUBSETS_MIN, `${total.subsets} subsets`);
  assert.ok(total.tears >= TEARS_MIN, `${total.tears} tears`);
});

test.run();
