// Crashes against a model. The model is a list: every entry ever appended, in the order of its branch. After
// any crash a recovery must find a prefix of that list which holds everything that was ever durable, on
// copies that are the same, and what it once found must stay.
import { ENTRY_KIND_SEAL, ENTRY_KIND_WRITE } from "../../assembly/format.ts";
import type { Log, LogPosition } from "../../src/log/log.ts";
import { assert, suite } from "../support/harness.ts";
import { SeededRandom } from "../support/memory_random.ts";
import { MemoryStorage, type StopVariant } from "../support/memory_storage.ts";
import { isThorough, share } from "../support/thorough.ts";
import { appendWrite, isSameOnAllCopies, makeFiles, openLog, PREFIXES, readAll, START } from "./fixture.ts";

export const deadlineMs = 120_000;

const test = suite("log crashes");

/** How many there are of everything, in a thorough run and in another. */
const OWNERS = isThorough ? 25 : 10;
const CRASHES = 90;
const CUTS = isThorough ? 60 : 25;

/** What the owner of a log remembers, in memory and in its superblocks. */
interface Model {
  /** By sequence, from 1: the tag of a write, or minus the cp of a seal. */
  entries: number[];
  durable: number;
  /** Durably: the position that a restart begins at. */
  applied: LogPosition;
  /** Durably: which copies may be trusted. */
  trusted: boolean[];
  seals: LogPosition[];
  nextTag: number;
}

function newModel(): Model {
  return {
    entries: [],
    durable: 0,
    applied: START,
    trusted: PREFIXES.map(() => true),
    seals: [],
    nextTag: 1,
  };
}

function open(storage: MemoryStorage, model: Model): Promise<Log> {
  return openLog(storage, {
    applied: model.applied,
    trustedCopies: model.trusted,
    onDurable: (sequence) => (model.durable = Math.max(model.durable, sequence)),
    onCopyFailed: async (copy) => void (model.trusted[copy] = false),
  });
}

async function freshStorage(): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  await makeFiles(storage);
  return storage;
}

/** Opens after a crash, compares with the model, and makes what was found the truth. */
async function check(storage: MemoryStorage, model: Model, label: string): Promise<Log> {
  const log = await open(storage, model);
  const { tail, requiredThrough } = log.recovery;
  assert.ok(tail >= model.durable, `${label}: ${model.durable} was durable, ${tail} came back`);
  assert.ok(tail <= model.entries.length, `${label}: ${tail} came back of ${model.entries.length}`);
  assert.is(requiredThrough, tail, `${label}: a crash is no corruption`);
  const seen = (await readAll(log)).map(({ kind, lba }) => (kind === ENTRY_KIND_SEAL ? -lba : lba));
  assert.equal(seen, model.entries.slice(model.applied.sequence, tail), label);
  model.entries.length = tail;
  model.durable = tail;
  model.seals = model.seals.filter(({ sequence }) => sequence <= tail);
  return log;
}

/** One random step of an owner. */
async function step(log: Log, model: Model, random: SeededRandom): Promise<void> {
  const lot = random.below(20);
  if (lot < 12) return appendSome(log, model, random);
  if (lot < 15) return log.whenDurable(random.below(2) === 0 ? log.tail.sequence : log.durable);
  if (lot < 17) return log.releaseThrough(log.durable - random.below(3));
  if (lot < 19) return sealNow(log, model);
  return applyNow(log, model);
}

function appendSome(log: Log, model: Model, random: SeededRandom): void {
  for (let count = 1 + random.below(4); count > 0; count -= 1) {
    const blockCount = 1 + random.below(random.chance(0.1) ? 120 : 6);
    if (appendWrite(log, model.nextTag, blockCount) === null) {
      log.releaseThrough(log.durable);
      if (log.needsSeal(blockCount * 4096)) sealNow(log, model);
      return;
    }
    model.entries.push(model.nextTag);
    model.nextTag += 1;
  }
}

function sealNow(log: Log, model: Model): void {
  if (!log.canSeal || log.append(ENTRY_KIND_SEAL, model.nextTag, 0, null) === null) return;
  model.entries.push(-model.nextTag);
  model.nextTag += 1;
  model.seals.push(log.tail);
}

/** A consistency point that is durable: the position moves, and the halves before it are free. */
function applyNow(log: Log, model: Model): void {
  const done = model.seals.filter(({ sequence }) => sequence <= log.durable).at(-1);
  if (done === undefined) return;
  model.applied = done;
  model.seals = model.seals.filter(({ sequence }) => sequence > done.sequence);
  log.freeThrough(done.sequence);
}

test("random owners, random crashes, again and again", async () => {
  for (let seed = 1; seed <= OWNERS; seed += 1) {
    const random = new SeededRandom(seed);
    const model = newModel();
    let storage = await freshStorage();
    for (let life = 1; life <= 6; life += 1) {
      const label = `seed ${seed}, life ${life}`;
      const log = await check(storage, model, label);
      assert.ok(isSameOnAllCopies(storage, log), `${label}: the copies differ`);
      const stopAfter = storage.eventCount + 1 + random.below(40);
      const variant = (["before", "after", "torn"] as const)[random.below(3)]!;
      storage.stopAt(stopAfter, variant);
      await Promise.race([storage.stopped, live(log, model, random, storage)]);
      storage = storage.afterCrash(pick(random, ["drop", "keep", random.word(), random.word()]));
    }
  }
});

async function live(log: Log, model: Model, random: SeededRandom, storage: MemoryStorage): Promise<void> {
  for (let count = 0; count < 60 && !storage.isStopped; count += 1) await step(log, model, random);
}

function pick<T>(random: SeededRandom, choices: readonly T[]): T {
  return choices[random.below(choices.length)]!;
}

/** A fixed life that goes through batches, seals, and a file that is used again. */
async function workload(storage: MemoryStorage, model: Model): Promise<void> {
  const log = await open(storage, model);
  for (let cp = 1; cp <= 6; cp += 1) {
    for (let batch = 0; batch < 2; batch += 1) {
      for (let count = 0; count < 3; count += 1) {
        assert.ok(appendWrite(log, model.nextTag, 2));
        model.entries.push(model.nextTag);
        model.nextTag += 1;
      }
      await log.whenDurable(log.tail.sequence);
      log.releaseThrough(log.durable);
    }
    sealNow(log, model);
    if (cp % 2 === 0) {
      await log.whenDurable(log.tail.sequence);
      applyNow(log, model);
    }
  }
  await log.close();
}

test("a crash at every event of a life, and at every event of the recovery after it", async () => {
  const whole = await freshStorage();
  const before = whole.eventCount;
  await workload(whole, newModel());
  const events = whole.eventCount - before;
  assert.ok(events > 60, `${events} events`);
  const crashes = Array.from({ length: events }, (_, at) => at + 1).flatMap((event) =>
    (["before", "torn"] as const).map((variant) => ({ event, variant })),
  );
  for (const { event, variant } of share(crashes, CRASHES)) await crashAt(event, variant);
});

async function crashAt(event: number, variant: StopVariant): Promise<void> {
  const label = `event ${event} ${variant}`;
  const model = newModel();
  const storage = await freshStorage();
  storage.stopAt(storage.eventCount + event, variant);
  await Promise.race([storage.stopped, workload(storage, model)]);
  const crashed = storage.afterCrash(event * 3 + variant.length);
  const inRecovery = { ...model };
  const second = await crashInRecovery(crashed, inRecovery, event, variant);
  const log = await check(second, model, label);
  assert.ok(isSameOnAllCopies(second, log), `${label}: the copies differ`);
  await goOn(log, model);
  await log.close();
  await (await check(second, model, `${label}, after going on`)).close();
}

async function crashInRecovery(storage: MemoryStorage, model: Model, event: number, variant: StopVariant) {
  storage.stopAt(1 + (event % 11), variant);
  const recovery = open(storage, model).then((log) => log.close());
  await Promise.race([storage.stopped, recovery]);
  return storage.afterCrash(event);
}

/** The log takes new entries after the recovery. */
async function goOn(log: Log, model: Model): Promise<void> {
  for (let count = 0; count < 3; count += 1) {
    assert.ok(log.append(ENTRY_KIND_WRITE, model.nextTag, 1, [tagContent(model.nextTag)]));
    model.entries.push(model.nextTag);
    model.nextTag += 1;
    await log.whenDurable(log.tail.sequence);
  }
  assert.is(model.durable, model.entries.length);
}

function tagContent(tag: number): Uint8Array {
  const bytes = new Uint8Array(4096);
  const words = new Uint32Array(bytes.buffer);
  for (let index = 0; index < words.length; index += 1) words[index] = Math.imul(tag + 1, 0x9e3779b1) + index;
  return bytes;
}

/** Every sector of an unsynced batch may be there or not; the same bytes written again must not revive any. */
test("the same entries appended again after a cut never bring back what followed them", async () => {
  for (let seed = 1; seed <= CUTS; seed += 1) {
    const model = newModel();
    let storage = await freshStorage();
    let log = await open(storage, model);
    const tags = [1, 2, 3, 4, 5, 6];
    const first = await oneBatch(storage, log, model, tags, seed);
    storage = first;
    log = await check(storage, model, `seed ${seed}, first`);
    const kept = log.recovery.tail;
    // The client asks for the first of the lost ones again, and for nothing else.
    const again = tags.slice(kept, kept + 1);
    for (const tag of again) {
      appendWrite(log, tag);
      model.entries.push(tag);
    }
    await log.whenDurable(log.tail.sequence);
    storage = storage.afterCrash(seed + 1000);
    log = await check(storage, model, `seed ${seed}, second`);
    assert.is(log.recovery.tail, Math.min(6, kept + 1));
    await log.close();
  }
});

async function oneBatch(storage: MemoryStorage, log: Log, model: Model, tags: number[], seed: number) {
  for (const tag of tags) {
    appendWrite(log, tag);
    model.entries.push(tag);
  }
  storage.onEvent = ({ kind }) => {
    if (kind === "sync") storage.stop();
  };
  await storage.stopped;
  return storage.afterCrash(seed);
}

test.run();
