// Threads for file work: what they did is what they said, and what the system refuses is told as it is elsewhere.
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DiskOperation } from "../../src/io/disk.ts";
import { type JobError, type Piece, readInTurn, runInThread } from "../../src/io/file_threads.ts";
import { NodeDisk } from "../../src/io/node_disk.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";

/** Where there are threads. */
export const runtime = "node";

const test = suite("file threads");
const folder = mkdtempSync(join(tmpdir(), "mirrorvol-threads-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const JOBS = 30_000;
const BLOCK = 4096;

/** A thread comes when enough jobs have found none. */
async function inThread(
  kind: "read" | "commit",
  fd: number,
  places: readonly Omit<Piece, "fd">[],
): Promise<JobError | null> {
  const pieces = places.map((place) => ({ fd, ...place }));
  for (;;) {
    const job = runInThread(kind, pieces);
    if (job !== null) return job;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function withFile(flags: string, use: (fd: number, path: string) => Promise<void>): Promise<void> {
  const path = join(folder, "file");
  const fd = openSync(path, flags);
  try {
    await use(fd, path);
  } finally {
    closeSync(fd);
  }
}

test("a notice that comes late makes a thread do nothing twice, and answers for no other job", async () => {
  const { notify } = Atomics;
  await withFile("w+", async (fd) => {
    const commit = (at: number, value: number) =>
      inThread("commit", fd, [{ offset: at * BLOCK, buffer: new Uint8Array(BLOCK).fill(value) }]);
    const asked: Int32Array[] = [];
    Atomics.notify = ((words: Int32Array, at: number) => {
      asked.push(words);
      return notify(words, at);
    }) as typeof Atomics.notify;
    try {
      assert.is(await commit(0, 2), null);
    } finally {
      Atomics.notify = notify;
    }
    // The thread has gone to sleep, and hears of that job once more.
    for (let round = 0; round < 3; round++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      notify(asked[0]!, 0);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.is(await commit(1, 3), null);
    // Somebody else writes there: the thread must not do it once more.
    for (let look = 0; look < 20; look++) {
      for (const at of [0, 1]) writeSync(fd, new Uint8Array(BLOCK).fill(9), 0, BLOCK, at * BLOCK);
      await new Promise((resolve) => setTimeout(resolve, 2));
      const found = new Uint8Array(2 * BLOCK);
      readSync(fd, found, 0, found.length, 0);
      assert.equal([...new Set(found)], [9]);
    }
  });
});

test("what is committed is in the file, what is read is in its buffers", async () => {
  await withFile("w+", async (fd, path) => {
    const pieces = [3, 0, 7].map((at) => ({
      offset: at * BLOCK,
      buffer: new Uint8Array(BLOCK).fill(at + 1),
    }));
    assert.is(await inThread("commit", fd, pieces), null);
    const file = readFileSync(path);
    for (const { offset, buffer } of pieces)
      assert.equal(new Uint8Array(file.subarray(offset, offset + BLOCK)), buffer);
    const read = pieces.map(({ offset }) => ({ offset, buffer: new Uint8Array(BLOCK) }));
    assert.is(await inThread("read", fd, read), null);
    assert.equal(read, pieces);
  });
});

test("what the system refuses is told, with the piece that it was about", async () => {
  await withFile("r", async (fd) => {
    const buffer = new Uint8Array(BLOCK);
    const beyond = await inThread("read", fd, [
      { offset: 0, buffer },
      { offset: 8 * BLOCK - 100, buffer },
    ]);
    assert.is(beyond?.piece, 1);
    assert.match(beyond!.cause.message, "ended after 100 of 4096 bytes");
    const refused = await inThread("commit", fd, [{ offset: 0, buffer }]);
    assert.is(refused?.piece, 0);
    assert.is((refused!.cause as { code?: string }).code, "EBADF");
    assert.match(refused!.cause.message, "bad file descriptor, write");
  });
});

test("a sync that fails is fatal for the disk", async () => {
  // It takes writes, and no syncs.
  const fd = openSync("/dev/null", "r+");
  const batch: DiskOperation[] = [{ kind: "write", offset: 0, buffer: new Uint8Array(BLOCK) }];
  const failed = await inThread("commit", fd, batch);
  assert.equal([failed?.piece, (failed?.cause as { code?: string } | undefined)?.code], [null, "EINVAL"]);
  const disk = new NodeDisk({ path: "/dev/null", fd, bytes: 2 * BLOCK, isReadOnly: false });
  assert.is(await codeOf(disk.commit(batch)), "ERR_DISK_FAILED");
  assert.is((await disk.submit(batch))[0] === null, false, "nothing goes to it any more");
  assert.is(await codeOf(disk.commit(batch)), "ERR_DISK_FAILED");
  await disk.close();
});

test("a disk is closed when nothing reads from it any more, also where a thread could not read all", async () => {
  const paths = ["short", "other"].map((name) => join(folder, name));
  writeFileSync(paths[0]!, new Uint8Array(16 * BLOCK).fill(1));
  writeFileSync(paths[1]!, new Uint8Array(256 * BLOCK).fill(2));
  for (let round = 0; round < 10; round++) {
    const fd = openSync(paths[0]!, "r+");
    const disk = new NodeDisk({ path: paths[0]!, fd, bytes: 256 * BLOCK, isReadOnly: false });
    const batch: DiskOperation[] = [0, 2, 4, 6, 128].map((at) => ({
      kind: "read",
      offset: at * BLOCK,
      buffer: new Uint8Array(BLOCK),
    }));
    const reading = disk.submit(batch);
    // The next file gets the same number.
    const closing = disk.close().then(() => openSync(paths[1]!, "r"));
    const results = await reading;
    assert.equal(
      results.map((error) => error === null),
      [true, true, true, true, false],
    );
    assert.equal(
      batch.map(({ buffer }) => buffer[0]),
      [1, 1, 1, 1, 0],
    );
    closeSync(await closing);
  }
});

test("each job is done when it is said to be, however fast they follow one another", async () => {
  await withFile("w+", async (fd) => {
    const buffer = new Uint8Array(64);
    const stamp = new Uint32Array(buffer.buffer, 0, 1);
    for (let job = 0; job < JOBS; job++) {
      stamp[0] = job;
      assert.is(await inThread("read", fd, []), null);
      if (job % 1000 !== 0) continue;
      assert.is(await inThread("commit", fd, [{ offset: 0, buffer }]), null);
      const read = new Uint8Array(64);
      assert.is(await inThread("read", fd, [{ offset: 0, buffer: read }]), null);
      assert.equal(read, buffer);
    }
  });
});

test("reads of one turn come with what each of them asked for, and with its own error", async () => {
  await withFile("w+", async (fd) => {
    for (let at = 0; at < 8; at++)
      await inThread("commit", fd, [{ offset: at * BLOCK, buffer: new Uint8Array(BLOCK).fill(at + 1) }]);
    const read = (offset: number, of = fd) =>
      new Promise<string>((resolve) => {
        const buffer = new Uint8Array(BLOCK);
        readInTurn(of, buffer, offset, (error, moved) =>
          resolve(error ? (error as { code?: string }).code! : `${moved} ${buffer[0]}`),
        );
      });
    const all = Array.from({ length: 8 }, (_, at) => at);
    const right = all.map((at) => `4096 ${at + 1}`);
    assert.equal(await Promise.all(all.map((at) => read(at * BLOCK))), right);
    const some = [
      read(0),
      read(BLOCK),
      read(0, 9999),
      read(7 * BLOCK + 4000),
      read(2 * BLOCK),
      read(BLOCK, 9998),
    ];
    assert.equal(await Promise.all(some), ["4096 1", "4096 2", "EBADF", "96 8", "4096 3", "EBADF"]);
  });
});

test("a job that is too large for a thread is refused", () => {
  assert.is(runInThread("read", [{ fd: 0, offset: 0, buffer: new Uint8Array(2 << 20) }]), null);
});

test.run();
