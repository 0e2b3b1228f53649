// The simulated storage: it is a Storage, and its crashes do what the tests that rely on them believe.

import { readDisk, writeDisk } from "../../src/io/disk.ts";
import { assert, suite } from "../support/harness.ts";
import { type CrashPolicy, MemoryStorage, type StopVariant } from "../support/memory_storage.ts";
import { errorOf, rangeOf, registerDiskConformance } from "./disk_conformance.ts";

const conformance = suite("memory storage: conformance");
registerDiskConformance(conformance, () => {
  let count = 0;
  return { storage: new MemoryStorage(), path: () => `/memory/disk${(count += 1)}` };
});
conformance.run();

const test = suite("memory storage");
const PATH = "/memory/a";

/** Event 1 makes the file, 2 writes ones, 3 syncs, 4 writes twos over four sectors, 5 syncs, 6 writes threes. */
async function workload(storage: MemoryStorage, reached: string[]): Promise<void> {
  const disk = await storage.create(PATH, 8192, "sparse");
  reached.push("created");
  await writeDisk(disk, 0, new Uint8Array(4096).fill(1));
  await disk.sync();
  reached.push("first sync");
  await writeDisk(disk, 1024, new Uint8Array(2048).fill(2));
  reached.push("second write");
  await disk.sync();
  reached.push("second sync");
  await writeDisk(disk, 0, new Uint8Array(512).fill(3));
  await disk.close();
  reached.push("end");
}

async function runUntil(number: number, variant: StopVariant): Promise<[MemoryStorage, string[]]> {
  const storage = new MemoryStorage();
  const reached: string[] = [];
  storage.stopAt(number, variant);
  await Promise.race([workload(storage, reached), storage.stopped]);
  return [storage, reached];
}

/** One digit for each sector. */
function sectors(storage: MemoryStorage): string {
  const bytes = storage.peek(PATH, 0, 4096);
  return Array.from({ length: 8 }, (_, index) => bytes[index * 512]).join("");
}

test("counts events and runs to the end without a stop", async () => {
  const storage = new MemoryStorage();
  const events: string[] = [];
  storage.onEvent = ({ number, kind, offset, length }) =>
    events.push(`${number} ${kind} ${offset}+${length}`);
  await workload(storage, []);
  assert.is(storage.eventCount, 6);
  assert.is(
    events.join(", "),
    "1 create 0+8192, 2 write 0+4096, 3 sync 0+0, 4 write 1024+2048, 5 sync 0+0, 6 write 0+512",
  );
});

test("nothing completes after the stop", async () => {
  const [storage, reached] = await runUntil(4, "after");
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(reached, ["created", "first sync"]);
  assert.is(storage.eventCount, 4);
  let isOpened = false;
  storage.open(PATH).then(() => (isOpened = true));
  await new Promise((resolve) => setImmediate(resolve));
  assert.is(isOpened, false);
});

test("synced data survives every crash, unsynced data only as the policy says", async () => {
  const [storage] = await runUntil(5, "before");
  assert.is(sectors(storage.afterCrash("drop")), "11111111");
  assert.is(sectors(storage.afterCrash("keep")), "11222211");
  assert.is(sectors(storage.afterCrash(() => (sector) => sector % 2 === 0)), "11212111");
  assert.is(sectors(storage), "11222211");
  const [synced] = await runUntil(5, "after");
  assert.is(sectors(synced.afterCrash("drop")), "11222211");
});

test("a stop before a write leaves nothing of it, after it all, torn a part", async () => {
  const keepAll: CrashPolicy = () => "keep";
  assert.is(sectors((await runUntil(2, "before"))[0].afterCrash(keepAll)), "00000000");
  assert.is(sectors((await runUntil(2, "after"))[0].afterCrash(keepAll)), "11111111");
  const torn = sectors((await runUntil(2, "torn"))[0].afterCrash(keepAll));
  assert.ok(torn.includes("0") && torn.includes("1"), torn);
  assert.is(sectors((await runUntil(2, "torn"))[0].afterCrash(keepAll)), torn);
});

test("a stop at create leaves no file, an empty one, or the whole one", async () => {
  assert.is(await (await runUntil(1, "before"))[0].afterCrash("keep").exists(PATH), false);
  const torn = await (await runUntil(1, "torn"))[0].afterCrash("keep").open(PATH);
  assert.is(torn.bytes, 0);
  const whole = await (await runUntil(1, "after"))[0].afterCrash("drop").open(PATH);
  assert.is(whole.bytes, 8192);
});

test("seeds are repeatable and reach every outcome", async () => {
  const [storage] = await runUntil(5, "before");
  const found = Array.from({ length: 64 }, (_, seed) => sectors(storage.afterCrash(seed)));
  const again = Array.from({ length: 64 }, (_, seed) => sectors(storage.afterCrash(seed)));
  assert.equal(found, again);
  assert.ok(found.includes("11111111") && found.includes("11222211"));
  assert.ok(found.some((each) => each !== "11111111" && each !== "11222211"));
});

test("an older unsynced write may survive a newer one", async () => {
  const storage = new MemoryStorage();
  const disk = await storage.create(PATH, 4096, "sparse");
  await writeDisk(disk, 0, new Uint8Array(512).fill(1));
  await writeDisk(disk, 0, new Uint8Array(512).fill(2));
  const found = new Set(Array.from({ length: 64 }, (_, seed) => sectors(storage.afterCrash(seed))[0]));
  assert.equal([...found].sort(), ["0", "1", "2"]);
});

test("a sync covers what had completed when it was called, and no more", async () => {
  const storage = new MemoryStorage();
  const disk = await storage.create(PATH, 4096, "sparse");
  await writeDisk(disk, 0, new Uint8Array(512).fill(1));
  const late = writeDisk(disk, 512, new Uint8Array(512).fill(2));
  const syncing = disk.sync();
  await Promise.all([late, syncing]);
  assert.is(sectors(storage.afterCrash("drop")), "10000000");
  assert.is(storage.unsynced(PATH).length, 1);
});

test("several crashes after each other keep what was synced between them", async () => {
  const [first] = await runUntil(5, "before");
  const second = first.afterCrash("keep");
  const disk = await second.open(PATH);
  await writeDisk(disk, 512, new Uint8Array(512).fill(4));
  await disk.sync();
  await writeDisk(disk, 0, new Uint8Array(512).fill(5));
  assert.is(sectors(second.afterCrash("drop")), "14222211");
  assert.is(sectors(first.afterCrash("drop")), "11111111");
});

test("a lock is gone after the crash", async () => {
  const storage = new MemoryStorage();
  await storage.lock([await storage.create(PATH, 4096, "sparse")]);
  const after = storage.afterCrash("keep");
  await after.lock([await after.open(PATH)]);
});

test("a huge disk costs what is written to it", async () => {
  const storage = new MemoryStorage();
  const disk = await storage.create(PATH, 2 ** 50, "zeros");
  await writeDisk(disk, 2 ** 49 + 100, Uint8Array.of(1, 2, 3));
  await disk.sync();
  assert.equal(await rangeOf(disk, 2 ** 49 + 99, 5), Uint8Array.of(0, 1, 2, 3, 0));
});

test("poke changes what every later reader sees, synced or not", async () => {
  const storage = new MemoryStorage();
  const disk = await storage.create(PATH, 4096, "sparse");
  await writeDisk(disk, 0, new Uint8Array(512).fill(1));
  storage.poke(PATH, 0, Uint8Array.of(9));
  assert.is((await rangeOf(disk, 0, 1))[0], 9);
  assert.is(sectors(storage.afterCrash("keep"))[0], "9");
  assert.is(sectors(storage.afterCrash("drop"))[0], "9");
});

test("overlapping operations of one batch are a mistake", async () => {
  const storage = new MemoryStorage();
  const disk = await storage.create(PATH, 4096, "sparse");
  const write = { kind: "write", offset: 0, buffer: new Uint8Array(512) } as const;
  const error = await errorOf(disk.submit([write, { ...write, offset: 511 }]));
  assert.match(error.message, "overlap at 511");
  await disk.submit([write, { ...write, offset: 512 }]);
});

test("a buffer that changes before its write has completed is written as it is then", async () => {
  const storage = new MemoryStorage();
  const disk = await storage.create(PATH, 4096, "sparse");
  const buffer = new Uint8Array(512).fill(1);
  const writing = writeDisk(disk, 0, buffer);
  buffer.fill(6);
  await writing;
  const found = new Uint8Array(512);
  await readDisk(disk, 0, found);
  assert.is(found[0], 6);
});

test.run();
