// A lone volume that stops at every write and every sync of a workload: what was acknowledged is there after
// reopening, what was under way is old or new, what was read once stays, and the volume goes on from there.
//
// Every event is a crash point; what becomes of each unsynced sector (the one just written included) is drawn from
// the crash point's number, so a failure names all that is needed to repeat it.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { content, makeVolume, openVolume, randomFrom, smallConfig } from "./fixture.ts";

export const deadlineMs = 240_000;

const BLOCKS = 192;
const OPERATIONS = 220;
const ZEROS = new Uint8Array(BLOCK_BYTES);
const config = smallConfig({ sizeBytes: BLOCKS * BLOCK_BYTES, memberBytes: 2 * 1024 * 1024 });

/** What each block may hold: what was acknowledged last, and what has been under way since. */
class Expectation {
  readonly acknowledged: Uint8Array[] = Array.from({ length: BLOCKS }, () => ZEROS);
  readonly underWay: Uint8Array[][] = Array.from({ length: BLOCKS }, () => []);

  copy(): Expectation {
    const copy = new Expectation();
    for (let lba = 0; lba < BLOCKS; lba++) {
      copy.acknowledged[lba] = this.acknowledged[lba]!;
      copy.underWay[lba] = [...this.underWay[lba]!];
    }
    return copy;
  }

  begin(lba: number, block: Uint8Array): void {
    this.underWay[lba]!.push(block);
  }

  acknowledge(lba: number, block: Uint8Array): void {
    this.acknowledged[lba] = block;
    this.underWay[lba] = [];
  }
}

/** Operations one after the other, now and then several at once on different blocks; overwrites, trims, CPs. */
async function workload(volume: Volume, expectation: Expectation, seed: number): Promise<void> {
  const random = randomFrom(seed);
  for (let i = 0; i < OPERATIONS; i++) {
    const kind = random(16);
    if (kind === 0) await volume.consistencyPoint();
    else if (kind === 1) await volume.flush();
    else if (kind === 2) await trim(volume, expectation, random(BLOCKS - 40), 1 + random(40));
    else {
      const width = kind < 6 ? 6 : 1;
      const first = random(BLOCKS - width * 4);
      const writes = Array.from({ length: width }, (_, part) => {
        return write(volume, expectation, first + part * 4, 1 + random(4), i * 8 + part);
      });
      await Promise.all(writes);
    }
  }
}

async function write(volume: Volume, expectation: Expectation, lba: number, count: number, version: number): Promise<void> {
  const blocks = Array.from({ length: count }, (_, i) => content(lba + i, version));
  const data = new Uint8Array(count * BLOCK_BYTES);
  for (const [i, block] of blocks.entries()) {
    data.set(block, i * BLOCK_BYTES);
    expectation.begin(lba + i, block);
  }
  await volume.write(lba * BLOCK_BYTES, data);
  for (const [i, block] of blocks.entries()) expectation.acknowledge(lba + i, block);
}

async function trim(volume: Volume, expectation: Expectation, lba: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) expectation.begin(lba + i, ZEROS);
  await volume.trim(lba * BLOCK_BYTES, count * BLOCK_BYTES);
  for (let i = 0; i < count; i++) expectation.acknowledge(lba + i, ZEROS);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Checks what is there, and takes it as acknowledged from now on: once read it stays. */
async function check(volume: Volume, expectation: Expectation, where: string): Promise<void> {
  const bytes = await volume.read(0, BLOCKS * BLOCK_BYTES);
  for (let lba = 0; lba < BLOCKS; lba++) {
    const block = bytes.slice(lba * BLOCK_BYTES, (lba + 1) * BLOCK_BYTES);
    const allowed = [expectation.acknowledged[lba]!, ...expectation.underWay[lba]!];
    if (!allowed.some((each) => isSame(each, block))) assert.unreachable(`${where}: block ${lba} is neither old nor new`);
    expectation.acknowledge(lba, block);
  }
}

interface CrashPoint {
  readonly event: number;
  readonly storage: MemoryStorage;
  readonly expectation: Expectation;
}

/** Runs the workload once and hands over what the next process would find if the power failed at each event. */
async function crashPoints(seed: number, visit: (point: CrashPoint) => void): Promise<number> {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const expectation = new Expectation();
  const first = storage.eventCount;
  storage.onEvent = ({ number }) => {
    const event = number - first;
    const how = event % 7 === 0 ? "drop" : event;
    visit({ event, storage: storage.ifPowerFailedNow(how), expectation: expectation.copy() });
  };
  const volume = await openVolume(storage, config);
  await workload(volume, expectation, seed);
  await volume.close();
  return storage.eventCount - first;
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
  const points: CrashPoint[] = [];
  const events = await crashPoints(5, (point) => points.push(point));
  assert.is(points.length, events);
  assert.ok(events > 800, `the workload has only ${events} events`);
  for (const point of points) await recover(point);
  console.log(`    ${events} crash points`);
});

test.run();
