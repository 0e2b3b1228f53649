// Copies that fail while the log is in use, and the order in which the owner hears of it.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Disk, DiskOperation, Storage } from "../../src/io/disk.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { appendWrite, code, makeFiles, openLog, rejection, tagsOf, writeMany } from "./fixture.ts";

const test = suite("log copies");

type Fault = (kind: "read" | "write" | "sync", path: string) => boolean;

/** Fails what the function names, for good once it was a sync, as the interface demands. */
class FaultyStorage implements Storage {
  isFaulty: Fault = () => false;
  readonly inner: MemoryStorage;

  constructor(inner: MemoryStorage) {
    this.inner = inner;
  }

  async open(path: string): Promise<Disk> {
    const disk = await this.inner.open(path);
    const fails = (kind: "read" | "write" | "sync") => this.isFaulty(kind, path);
    return {
      path,
      bytes: disk.bytes,
      submit: async (batch: readonly DiskOperation[]) =>
        batch.some(({ kind }) => fails(kind)) ? batch.map(() => new Error("EIO")) : disk.submit(batch),
      sync: async () => {
        if (fails("sync")) throw new Error("EIO on sync");
        await disk.sync();
      },
      discard: (offset, length) => disk.discard(offset, length),
      close: () => disk.close(),
    };
  }

  create(path: string, bytes: number, fill: "sparse" | "zeros"): Promise<Disk> {
    return this.inner.create(path, bytes, fill);
  }

  exists(path: string): Promise<boolean> {
    return this.inner.exists(path);
  }

  remove(path: string): Promise<void> {
    return this.inner.remove(path);
  }

  async lock(): Promise<void> {}
}

async function fresh(): Promise<FaultyStorage> {
  const inner = new MemoryStorage();
  await makeFiles(inner);
  return new FaultyStorage(inner);
}

for (const kind of ["write", "sync"] as const) {
  test(`a copy whose ${kind} fails is recorded before the entry counts, and never touched again`, async () => {
    const storage = await fresh();
    const heard: string[] = [];
    let record = () => {};
    const recorded = new Promise<void>((resolve) => (record = resolve));
    const log = await openLog(storage, {
      onDurable: (sequence) => heard.push(`durable ${sequence}`),
      onCopyFailed: async (copy) => {
        heard.push(`failed ${copy}`);
        await recorded;
        heard.push(`recorded ${copy}`);
      },
    });
    await writeMany(log, [1]);
    storage.isFaulty = (what, path) => what === kind && path.startsWith("b/");
    appendWrite(log, 2);
    const waiting = log.whenDurable(2);
    for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
    assert.equal(heard, ["durable 1", "failed 1"]);
    record();
    await waiting;
    assert.equal(heard, ["durable 1", "failed 1", "recorded 1", "durable 2"]);
    const touched: string[] = [];
    storage.isFaulty = (_what, path) => path.startsWith("b/") && touched.push(path) > 0;
    await writeMany(log, [3]);
    assert.equal(await tagsOf(log), [1, 2, 3]);
    assert.equal(touched, []);
    assert.equal(
      log.copies.map(({ state }) => state),
      ["current", "failed"],
    );
    await log.close();
    storage.isFaulty = () => false;
    const again = await openLog(storage, { trustedCopies: [true, false] });
    assert.equal(await tagsOf(again), [1, 2, 3]);
    await again.close();
  });
}

test("when both copies fail the log fails: nobody is told that anything is durable", async () => {
  const storage = await fresh();
  const failures: string[] = [];
  const failedCopies: number[] = [];
  const log = await openLog(storage, {
    onCopyFailed: async (copy) => void failedCopies.push(copy),
    onFailed: (error) => failures.push((error as Error & { code: string }).code),
  });
  const { location, view } = appendWrite(log, 1)!;
  const written = view.slice(-BLOCK_BYTES);
  await log.whenDurable(1);
  const out = new Uint8Array(BLOCK_BYTES);
  assert.equal(await log.readBlocks([location], [out], () => true), []);
  assert.equal(out, written);
  storage.isFaulty = (what) => what === "sync";
  appendWrite(log, 2);
  appendWrite(log, 3);
  const errors = await Promise.all([rejection(log.whenDurable(2)), rejection(log.whenDurable(3))]);
  assert.equal(
    errors.map((error) => error.code),
    ["ERR_LOG_FAILED", "ERR_LOG_FAILED"],
  );
  assert.equal(failures, ["ERR_LOG_FAILED"]);
  assert.equal(failedCopies, [], "with no copy left there is nothing to record");
  assert.is(log.durable, 1);
  assert.throws(() => appendWrite(log, 4), code("ERR_LOG_FAILED"));
  assert.is((await rejection(log.whenDurable(9))).code, "ERR_LOG_FAILED");
  const lost = await log.readBlocks([location], [out], () => true);
  assert.equal(
    lost.map(({ index, error }) => [index, (error as { code: string }).code]),
    [[0, "ERR_LOG_CORRUPT"]],
  );
  await log.close();
});

test("one copy after the other", async () => {
  const storage = await fresh();
  const failed: number[] = [];
  const log = await openLog(storage, { onCopyFailed: async (copy) => void failed.push(copy) });
  await writeMany(log, [1]);
  storage.isFaulty = (what, path) => what === "sync" && path.startsWith("a/");
  await writeMany(log, [2]);
  assert.equal(failed, [0]);
  assert.equal(await tagsOf(log), [1, 2]);
  storage.isFaulty = (what) => what === "sync";
  appendWrite(log, 3);
  assert.is((await rejection(log.whenDurable(3))).code, "ERR_LOG_FAILED");
  await log.close();
});

test("an owner that cannot record the loss of a copy fails the log", async () => {
  const storage = await fresh();
  const log = await openLog(storage, {
    onCopyFailed: async () => {
      throw new Error("no superblock took it");
    },
  });
  storage.isFaulty = (what, path) => what === "sync" && path.startsWith("a/");
  appendWrite(log, 1);
  const error = await rejection(log.whenDurable(1));
  assert.is(error.code, "ERR_LOG_FAILED");
  assert.match(error.message, /no superblock took it/);
  await log.close();
});

test("a copy that fails while recovery writes to it is dropped, and the log comes up on the other", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1, 2, 3]);
  await log.close();
  storage.inner.poke("b/log.1", 4096, new Uint8Array(512));
  storage.isFaulty = (what, path) => what === "write" && path.startsWith("b/");
  const failed: number[] = [];
  const again = await openLog(storage, { onCopyFailed: async (copy) => void failed.push(copy) });
  assert.equal(failed, [1]);
  assert.equal(await tagsOf(again), [1, 2, 3]);
  await again.close();
});

test("what is written counts only when a copy that a heal has lost meanwhile is recorded too", async () => {
  const storage = await fresh();
  const heard: string[] = [];
  let record = () => {};
  const recorded = new Promise<void>((resolve) => (record = resolve));
  const log = await openLog(storage, {
    onDurable: (sequence) => heard.push(`durable ${sequence}`),
    onCopyFailed: async (copy) => {
      heard.push(`failed ${copy}`);
      await recorded;
      heard.push(`recorded ${copy}`);
    },
  });
  await writeMany(log, [1]);
  storage.inner.poke("a/log.1", 4096, new Uint8Array(512));
  storage.isFaulty = (what, path) => what === "write" && path.startsWith("a/");
  const reading = tagsOf(log);
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
  storage.isFaulty = () => false;
  appendWrite(log, 2);
  const waiting = log.whenDurable(2);
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
  assert.equal(heard, ["durable 1", "failed 0"]);
  record();
  await Promise.all([reading, waiting]);
  assert.equal(heard, ["durable 1", "failed 0", "recorded 0", "durable 2"]);
  await log.close();
});

test.run();
