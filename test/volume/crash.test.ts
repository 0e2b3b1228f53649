// A lone volume that stops at every write and every sync of a workload: what was acknowledged is there after
// reopening, what was under way is old or new, what was read once stays, and the volume goes on from there.
//
// Every event is a crash point; what becomes of each unsynced sector (the one just written included) is drawn from
// the crash point's number, so a failure names all that is needed to repeat it.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { check, Expectation, workload, write } from "./expectation.ts";
import { makeVolume, openVolume, smallConfig } from "./fixture.ts";

export const deadlineMs = 240_000;

const BLOCKS = 192;
const OPERATIONS = 220;
const config = smallConfig({ sizeBytes: BLOCKS * BLOCK_BYTES, memberBytes: 2 * 1024 * 1024 });

interface CrashPoint {
  readonly event: number;
  readonly storage: MemoryStorage;
  readonly expectation: Expectation;
}

/** Runs the workload once, and after each round recovers from a power failure at each of its events. */
async function crashEverywhere(seed: number): Promise<number> {
  let points: CrashPoint[] = [];
  let recovered = 0;
  const recoverAll = async () => {
    for (const point of points) await recover(point);
    recovered += points.length;
    points = [];
  };
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const expectation = new Expectation(BLOCKS);
  const first = storage.eventCount;
  storage.onEvent = ({ number }) => {
    const event = number - first;
    const how = event % 7 === 0 ? "drop" : event;
    points.push({ event, storage: storage.ifPowerFailedNow(how), expectation: expectation.copy() });
  };
  const volume = await openVolume(storage, config);
  await workload(volume, expectation, seed, OPERATIONS, 1, recoverAll);
  await volume.close();
  await recoverAll();
  assert.is(recovered, storage.eventCount - first);
  return recovered;
}

/** Recovers from a crash point, one time in four with a second crash in the middle, and goes on. */
async function recover({ event, storage, expectation }: CrashPoint): Promise<void> {
  let found = storage;
  if (event % 4 === 0) {
    found.stopAt(1 + (event % 23), (["before", "after", "torn"] as const)[event % 3]!);
    await Promise.race([openVolume(found, config).then((volume) => volume.close()), found.stopped]);
    found = found.afterCrash(event + 1);
  }
  const volume = await openVolume(found, config);
  await check(volume, expectation, `event ${event}`);
  await write(volume, expectation, event % (BLOCKS - 4), 3, 1_000_000 + event);
  await volume.consistencyPoint();
  await volume.close();
  if (event % 5 !== 0) return;
  const again = await openVolume(found.afterCrash("keep"), config);
  await check(again, expectation, `event ${event}, opened again`);
  await again.close();
}

const test = suite("volume crash");

test("at every write and sync of a workload, with a second crash during recovery", async () => {
  const events = await crashEverywhere(5);
  assert.ok(events > 800, `the workload has only ${events} events`);
  console.log(`    ${events} crash points`);
});

test.run();
