// What every Storage and Disk must do, run over each implementation.

import type { Disk, DiskOperation, Storage } from "../../src/io/disk.ts";
import { readDisk, writeDisk } from "../../src/io/disk.ts";
import { assert, type Suite } from "../support/harness.ts";
import { SeededRandom } from "../support/memory_random.ts";

export interface StorageUnderTest {
  readonly storage: Storage;
  /** A path nobody used yet. */
  path(): string;
}

const KIB = 1024;

export function registerDiskConformance(test: Suite<object>, make: () => StorageUnderTest): void {
  registerFiles(test, make);
  registerOperations(test, make);
  registerLocks(test, make);
}

function registerFiles(test: Suite<object>, make: () => StorageUnderTest): void {
  test("create makes a disk of zeros, sparse or written", async () => {
    const { storage, path } = make();
    for (const fill of ["sparse", "zeros"] as const) {
      const bytes = 5 * KIB * KIB + 512;
      const disk = await storage.create(path(), bytes, fill);
      assert.is(disk.bytes, bytes);
      assert.ok((await contentOf(disk)).every((byte) => byte === 0));
      await disk.close();
    }
  });

  test("what was written and synced is found by the next opener", async () => {
    const { storage, path } = make();
    const where = path();
    assert.is(await storage.exists(where), false);
    const made = await storage.create(where, 64 * KIB, "sparse");
    const data = new SeededRandom(1).bytes(1000);
    await writeDisk(made, 777, data);
    await made.sync();
    await made.close();
    assert.is(await storage.exists(where), true);
    const found = await storage.open(where, { readOnly: true });
    assert.is(found.bytes, 64 * KIB);
    assert.is(found.path, where);
    assert.equal(await rangeOf(found, 777, 1000), data);
    await found.close();
  });

  test("create refuses what exists and leaves it alone", async () => {
    const { storage, path } = make();
    const where = path();
    const made = await storage.create(where, 4 * KIB, "sparse");
    await writeDisk(made, 0, Uint8Array.of(7));
    assert.is(await codeOf(storage.create(where, 8 * KIB, "zeros")), "ERR_EXISTS");
    assert.equal(await rangeOf(made, 0, 1), Uint8Array.of(7));
    assert.is(made.bytes, 4 * KIB);
    await made.close();
  });

  test("remove takes the file away", async () => {
    const { storage, path } = make();
    const where = path();
    await (await storage.create(where, 4 * KIB, "sparse")).close();
    await storage.remove(where);
    assert.is(await storage.exists(where), false);
    assert.is(await codeOf(storage.open(where)), "ERR_NOT_FOUND");
    assert.is(await codeOf(storage.remove(where)), "ERR_NOT_FOUND");
  });

  test("errors name the path and the operation", async () => {
    const { storage, path } = make();
    const where = path();
    const error = await errorOf(storage.open(where));
    assert.ok(error.message.includes(where) && error.message.includes("open"), error.message);
    assert.is.not(error.cause, undefined);
  });
}

function registerOperations(test: Suite<object>, make: () => StorageUnderTest): void {
  test("a batch returns one result per operation, in order", async () => {
    const { storage, path } = make();
    const disk = await storage.create(path(), 64 * KIB, "sparse");
    const piece = new SeededRandom(2).bytes(512);
    const write = (offset: number): DiskOperation => ({ kind: "write", offset, buffer: piece });
    const results = await disk.submit([write(512), write(64 * KIB), write(0), write(-512), write(1024)]);
    assert.equal(results.map(codeIn), [null, "ERR_OUT_OF_RANGE", null, "ERR_OUT_OF_RANGE", null]);
    for (const offset of [0, 512, 1024]) assert.equal(await rangeOf(disk, offset, 512), piece);
    assert.equal(await disk.submit([]), []);
    await disk.close();
  });

  test("an operation across the end is refused whole", async () => {
    const { storage, path } = make();
    const disk = await storage.create(path(), 4 * KIB, "sparse");
    assert.is(await codeOf(writeDisk(disk, 4 * KIB - 1, Uint8Array.of(1, 2))), "ERR_OUT_OF_RANGE");
    assert.is(await codeOf(readDisk(disk, 4 * KIB - 1, new Uint8Array(2))), "ERR_OUT_OF_RANGE");
    assert.is(await codeOf(readDisk(disk, 0.5, new Uint8Array(2))), "ERR_OUT_OF_RANGE");
    assert.equal(await rangeOf(disk, 4 * KIB - 1, 1), Uint8Array.of(0));
    await disk.close();
  });

  test("random batches agree with a model", async () => {
    const { storage, path } = make();
    const bytes = 300 * KIB;
    const disk = await storage.create(path(), bytes, "sparse");
    const model = new Uint8Array(bytes);
    const random = new SeededRandom(20);
    for (let round = 0; round < 60; round += 1) {
      const batch = randomBatch(random, bytes);
      const results = await disk.submit(batch);
      assert.ok(results.every((result) => result === null));
      for (const { kind, offset, buffer } of batch) {
        if (kind === "write") model.set(buffer, offset);
        else assertSame(buffer, model.subarray(offset, offset + buffer.length), `read at ${offset}`);
      }
      if (random.chance(0.2)) await disk.sync();
    }
    assertSame(await contentOf(disk), model, "the whole disk");
    await disk.close();
  });

  test("many adjacent small operations and one large one", async () => {
    const { storage, path } = make();
    const disk = await storage.create(path(), 12 * KIB * KIB, "sparse");
    const data = new SeededRandom(3).bytes(1500 * 512);
    const pieces = Array.from({ length: 1500 }, (_, index) => data.subarray(index * 512, index * 512 + 512));
    const batch = pieces.map(
      (buffer, index): DiskOperation => ({ kind: "write", offset: index * 512, buffer }),
    );
    const large = new Uint8Array(9 * KIB * KIB).fill(5);
    const results = await disk.submit([...batch, { kind: "write", offset: 3 * KIB * KIB, buffer: large }]);
    assert.ok(results.length === 1501 && results.every((result) => result === null));
    assertSame(await rangeOf(disk, 0, data.length), data, "the small ones");
    assert.ok((await rangeOf(disk, 3 * KIB * KIB, large.length)).every((byte) => byte === 5));
    await disk.close();
  });

  test("a disk opened for reading refuses writes", async () => {
    const { storage, path } = make();
    const where = path();
    await (await storage.create(where, 4 * KIB, "sparse")).close();
    const disk = await storage.open(where, { readOnly: true });
    assert.is(await codeOf(writeDisk(disk, 0, Uint8Array.of(1))), "ERR_READ_ONLY");
    await disk.close();
  });

  test("close waits for what runs, may be called twice, and ends everything", async () => {
    const { storage, path } = make();
    const buffer = new Uint8Array(32 * KIB * KIB);
    const disk = await storage.create(path(), buffer.length, "sparse");
    const events: string[] = [];
    const running = disk.submit([{ kind: "write", offset: 0, buffer }]);
    const syncing = disk.sync();
    const note = (name: string) => () => void events.push(name);
    await Promise.all([running.then(note("write")), disk.close().then(note("close")), disk.close()]);
    assert.equal(events, ["write", "close"]);
    assert.equal(await running, [null]);
    await syncing;
    await disk.close();
    assert.is(await codeOf(readDisk(disk, 0, new Uint8Array(1))), "ERR_DISK_CLOSED");
    assert.is(await codeOf(disk.sync()), "ERR_DISK_CLOSED");
  });

  test("discard is a hint that touches nothing else", async () => {
    const { storage, path } = make();
    const disk = await storage.create(path(), 16 * KIB, "sparse");
    await writeDisk(disk, 0, new Uint8Array(16 * KIB).fill(9));
    await disk.discard(4 * KIB, 4 * KIB);
    assert.ok((await rangeOf(disk, 0, 4 * KIB)).every((byte) => byte === 9));
    assert.ok((await rangeOf(disk, 8 * KIB, 8 * KIB)).every((byte) => byte === 9));
    await disk.close();
  });
}

function registerLocks(test: Suite<object>, make: () => StorageUnderTest): void {
  test("a lock keeps other openers out until the disk is closed", async () => {
    const { storage, path } = make();
    const where = path();
    const first = await storage.create(where, 4 * KIB, "sparse");
    const second = await storage.open(where);
    await storage.lock([first]);
    await storage.lock([first]);
    const error = await errorOf(storage.lock([second]));
    assert.is(codeIn(error), "ERR_LOCKED");
    assert.ok(error.message.includes(where), error.message);
    await first.close();
    await storage.lock([second]);
    await second.close();
  });

  test("of several disks all are locked or none, and the held one is named", async () => {
    const { storage, path } = make();
    const paths = Array.from({ length: 12 }, path);
    const ours = await Promise.all(paths.map((each) => storage.create(each, 512, "sparse")));
    const theirs = await Promise.all(paths.map((each) => storage.open(each)));
    await storage.lock([theirs[10]!]);
    const error = await errorOf(storage.lock(ours));
    assert.is(codeIn(error), "ERR_LOCKED");
    assert.ok(error.message.includes(paths[10]!), error.message);
    await storage.lock(theirs);
    assert.is(codeIn(await errorOf(storage.lock([ours[11]!]))), "ERR_LOCKED");
    await Promise.all(theirs.map((disk) => disk.close()));
    await storage.lock(ours);
    await Promise.all(ours.map((disk) => disk.close()));
  });
}

/** Disjoint operations at random places, some of them adjacent. */
function randomBatch(random: SeededRandom, bytes: number): DiskOperation[] {
  const batch: DiskOperation[] = [];
  let offset = random.below(bytes / 4);
  while (batch.length < 8) {
    const length = 1 + random.below(random.chance(0.2) ? 40_000 : 3000);
    if (offset + length > bytes) break;
    const isWrite = random.chance(0.6);
    const buffer = isWrite ? random.bytes(length) : new Uint8Array(length);
    batch.push({ kind: isWrite ? "write" : "read", offset, buffer });
    offset += length + (random.chance(0.5) ? 0 : random.below(20_000));
  }
  return batch.reverse();
}

export async function rangeOf(disk: Disk, offset: number, length: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(length);
  await readDisk(disk, offset, buffer);
  return buffer;
}

function contentOf(disk: Disk): Promise<Uint8Array> {
  return rangeOf(disk, 0, disk.bytes);
}

/** assert.equal draws the difference of large arrays for minutes. */
function assertSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  assert.ok(actual.length === expected.length && at < 0, `${what}: differs at ${at}`);
}

export async function errorOf(work: Promise<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it succeeded, and should have failed");
}

export async function codeOf(work: Promise<unknown>): Promise<unknown> {
  return codeIn(await errorOf(work));
}

export function codeIn(error: Error | null): unknown {
  return error === null ? null : (error as { code?: unknown }).code;
}
