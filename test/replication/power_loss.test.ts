// A pair that loses power at every write and every sync of either side, while a workload runs through the source
// (in a run that is not thorough: at some of them, evenly spread).
// After it, in turn: both sides come back and come into sync; or the source is gone and the mirror is promoted; or
// the source comes back, serves, is lost then, and the mirror is promoted. Every acknowledged write is there, what
// was under way is old or new, and what was read once stays.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { assert, suite } from "../support/harness.ts";
import type { MemoryStorage } from "../support/memory_storage.ts";
import { share } from "../support/thorough.ts";
import { check, Expectation, workload, write } from "../volume/expectation.ts";
import { Pair, type PairOptions } from "./pair.ts";

export const deadlineMs = 240_000;

const BLOCKS = 192;
/** Of four operations at once, for the most part. */
const ROUNDS = 60;
/** Of the events of a side, in a run that is not thorough. */
const SHARE = 70;
const sizes = { sizeBytes: BLOCKS * BLOCK_BYTES, memberBytes: 4 * 1024 * 1024 };
const options: PairOptions = {
  source: { ...sizes, log: ["log"] },
  mirror: { ...sizes, members: ["x", "y", "z", "u"] },
};

interface CrashPoint {
  readonly event: number;
  readonly source: MemoryStorage;
  readonly mirror: MemoryStorage;
  readonly expectation: Expectation;
}

/** Runs the workload once; each event of one side is a crash point of it. The other side's process ends too. */
async function crashPoints(side: "source" | "mirror", visit: (point: CrashPoint) => void): Promise<void> {
  const pair = await Pair.inSync(options);
  const expectation = new Expectation(BLOCKS);
  const first = pair[side].storage.eventCount;
  pair[side].storage.onEvent = ({ number }) => {
    const event = number - first;
    const how = event % 7 === 0 ? "drop" : event;
    visit({
      event,
      source: pair.source.storage.ifPowerFailedNow(side === "source" ? how : "keep"),
      mirror: pair.mirror.storage.ifPowerFailedNow(side === "mirror" ? how : "keep"),
      expectation: expectation.copy(),
    });
  };
  await pair.waitFor("the workload", workload(pair.source.volume, expectation, 11, ROUNDS, 4));
  pair[side].storage.onEvent = () => {};
  await pair.close();
}

async function bothReturn(pair: Pair, expectation: Expectation, where: string): Promise<void> {
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  await pair.waitFor("reading", check(pair.source.volume, expectation, where));
  await pair.waitFor("a write", write(pair.source.volume, expectation, 7, 3, 1_000_000));
}

async function promoted(pair: Pair, expectation: Expectation, where: string): Promise<void> {
  await pair.waitFor("promotion", pair.service.promote("orders"));
  await pair.waitFor("reading", check(pair.mirror.volume, expectation, `${where}, promoted`));
  await pair.waitFor("a write", write(pair.mirror.volume, expectation, 20, 3, 2_000_000));
  await pair.waitFor("a CP", pair.mirror.volume.consistencyPoint());
  await pair.waitFor("reading", check(pair.mirror.volume, expectation, `${where}, after its CP`));
}

async function recover({ event, source, mirror, expectation }: CrashPoint, where: string): Promise<void> {
  const pair = Pair.of(source, mirror, options);
  if (event % 3 === 1) {
    await pair.openMirror();
    await promoted(pair, expectation, where);
    await pair.closeMirror();
    return;
  }
  await bothReturn(pair, expectation, where);
  if (event % 3 === 0) {
    await pair.consistencyPoint();
    await pair.untilEqual();
    await pair.close();
    return;
  }
  await pair.crashSource("drop");
  await pair.until("the mirror knows", () => !pair.service.connected("orders"));
  await promoted(pair, expectation, where);
  await pair.closeMirror();
}

const test = suite("pair without power");

for (const side of ["source", "mirror"] as const) {
  test(`the ${side} loses power at every write and sync`, async () => {
    const points: CrashPoint[] = [];
    await crashPoints(side, (point) => points.push(point));
    assert.ok(points.length > 150, `the workload has only ${points.length} events`);
    const chosen = share(points, SHARE);
    for (const point of chosen) {
      const where = `${side} event ${point.event}`;
      await recover(point, where).catch((error: unknown) => {
        throw new Error(`${where}: ${error instanceof Error ? error.message : error}`, { cause: error });
      });
    }
    console.log(`    ${chosen.length} of ${points.length} crash points`);
  });
}

test.run();
