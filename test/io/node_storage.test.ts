// Storage over real files and block devices.

import { spawnSync } from "node:child_process";
import fs, {
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readDisk, writeDisk } from "../../src/io/disk.ts";
import { NodeDisk } from "../../src/io/node_disk.ts";
import { NodeStorage } from "../../src/io/node_storage.ts";
import { assert, skip, suite } from "../support/harness.ts";
import { startProgram } from "./child.ts";
import { codeIn, codeOf, errorOf, rangeOf, registerDiskConformance } from "./disk_conformance.ts";

const folder = mkdtempSync(join(tmpdir(), "mirrorvol-storage-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
let count = 0;
const newPath = () => join(folder, `disk${(count += 1)}`);
const storage = new NodeStorage();

const conformance = suite("node storage: conformance");
registerDiskConformance(conformance, () => ({ storage, path: newPath }));
conformance.run();

const test = suite("node storage");

test("create names the folder that is missing, and makes none", async () => {
  const error = await errorOf(storage.create(join(folder, "nowhere", "disk"), 4096, "zeros"));
  assert.is(codeIn(error), "ERR_NOT_FOUND");
  assert.ok(error.message.includes(`create in ${join(folder, "nowhere")}`), error.message);
  assert.is(codeIn(error.cause as Error), "ENOENT");
  assert.is(existsSync(join(folder, "nowhere")), false);
});

test("zeros take their place on the disk, sparse does not", async () => {
  const allocated = async (fill: "sparse" | "zeros") => {
    const path = newPath();
    await (await storage.create(path, 3_000_000, fill)).close();
    assert.is(statSync(path).size, 3_000_000);
    return statSync(path).blocks * 512;
  };
  assert.ok((await allocated("zeros")) >= 3_000_000);
  assert.is(await allocated("sparse"), 0);
});

test("only the owner may read what create makes", async () => {
  const path = newPath();
  await (await storage.create(path, 512, "sparse")).close();
  assert.is(statSync(path).mode & 0o777, 0o600);
});

test("a folder is no disk", async () => {
  const error = await errorOf(storage.open(folder));
  assert.is(codeIn(error), "ERR_DISK_FAILED");
  assert.match(error.message, "neither a file nor a block device");
});

test("a read beyond the end of a file that was cut is an error, never zeros", async () => {
  const path = newPath();
  const disk = await storage.create(path, 8192, "zeros");
  truncateSync(path, 5000);
  const results = await disk.submit([
    { kind: "read", offset: 0, buffer: new Uint8Array(4096) },
    { kind: "read", offset: 4096, buffer: new Uint8Array(4096) },
  ]);
  assert.equal(results.map(codeIn), [null, "ERR_DISK_FAILED"]);
  assert.match(results[1]!.message, /read at 5000: ended after 904 of 4096 bytes/);
  await disk.close();
});

/** A file system of its own, so small that it fills up. */
function withSmallFileSystem(work: (where: string) => Promise<void>): Promise<void> {
  const where = mkdtempSync(join(folder, "small-"));
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", where]);
  if (mounted.status !== 0) skip("needs the right to mount a tmpfs");
  return work(where).finally(() => spawnSync("umount", [where]));
}

test("a full file system is ERR_NO_SPACE, and create leaves nothing behind", async () => {
  await withSmallFileSystem(async (where) => {
    assert.is(await codeOf(storage.create(join(where, "big"), 4_000_000, "zeros")), "ERR_NO_SPACE");
    assert.equal(readdirSync(where), []);
    const sparse = await storage.create(join(where, "sparse"), 4_000_000, "sparse");
    const results = await sparse.submit([
      { kind: "write", offset: 0, buffer: new Uint8Array(4096) },
      { kind: "write", offset: 4096, buffer: new Uint8Array(2_000_000) },
    ]);
    assert.equal(results.map(codeIn), [null, "ERR_NO_SPACE"]);
    await sparse.close();
  });
});

/** A loop device over a new file of the given size. */
async function withLoopDevice(bytes: number, work: (device: string) => Promise<void>): Promise<void> {
  const backing = newPath();
  writeFileSync(backing, new Uint8Array(bytes).fill(0x55));
  const made = spawnSync("losetup", ["-f", "--show", backing], { encoding: "utf8" });
  if (made.status !== 0) skip("needs the right to make a loop device");
  const device = made.stdout.trim();
  await work(device).finally(() => spawnSync("losetup", ["-d", device]));
}

test("a block device has its real size, is opened by create and survives remove", async () => {
  await withLoopDevice(1_048_576, async (device) => {
    const disk = await storage.open(device);
    assert.is(disk.bytes, 1_048_576);
    await writeDisk(disk, 1_048_576 - 512, new Uint8Array(512).fill(3));
    await disk.sync();
    if (!("Deno" in globalThis)) assert.is(await codeOf(storage.open(device)), "ERR_LOCKED");
    await disk.close();
    assert.is(await codeOf(storage.create(device, 2_000_000, "sparse")), "ERR_NO_SPACE");
    const kept = await storage.create(device, 4096, "sparse");
    assert.is(kept.bytes, 1_048_576);
    assert.is((await rangeOf(kept, 1_048_576 - 512, 1))[0], 3);
    assert.is((await rangeOf(kept, 0, 1))[0], 0x55);
    await storage.lock([kept]);
    await kept.close();
    const zeroed = await storage.create(device, 8192, "zeros");
    assert.equal(await rangeOf(zeroed, 8191, 2), Uint8Array.of(0, 0x55));
    await zeroed.close();
    await storage.remove(device);
    assert.is(await storage.exists(device), true);
    const link = newPath();
    symlinkSync(device, link);
    const linked = await storage.open(link, { readOnly: true });
    assert.is(linked.bytes, 1_048_576);
    await linked.close();
  });
});

test("a failed sync kills the disk: nothing is tried again", async () => {
  // The kernel refuses to sync this one, and would take writes to it.
  const disk = new NodeDisk({
    path: "/dev/null",
    fd: openSync("/dev/null", "r+"),
    bytes: 4096,
    isReadOnly: false,
  });
  await writeDisk(disk, 0, new Uint8Array(512));
  const [first, second] = await Promise.all([errorOf(disk.sync()), errorOf(disk.sync())]);
  for (const error of [first, second]) assert.is(codeIn(error), "ERR_DISK_FAILED");
  assert.match(first.message, "/dev/null: sync: ");
  const later = await errorOf(writeDisk(disk, 0, new Uint8Array(512)));
  assert.is(codeIn(later), "ERR_DISK_FAILED");
  assert.match(later.message, "a sync failed earlier");
  assert.is(later.cause, first);
  assert.is(await codeOf(readDisk(disk, 0, new Uint8Array(1))), "ERR_DISK_FAILED");
  assert.is(await codeOf(disk.sync()), "ERR_DISK_FAILED");
  await disk.close();
});

test("syncs of one disk never overlap, and one that is asked for later covers what was written before it", async () => {
  const disk = await storage.create(newPath(), 8192, "zeros");
  const original = fs.fdatasync;
  const waiting: (() => void)[] = [];
  fs.fdatasync = ((_fd: number, done: () => void) => void waiting.push(done)) as typeof fs.fdatasync;
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  try {
    const done: string[] = [];
    const first = disk.sync().then(() => done.push("first"));
    await turn();
    const later = [disk.sync(), disk.sync()].map((each) => each.then(() => done.push("later")));
    await turn();
    assert.is(waiting.length, 1, "the second begins when the first has ended");
    waiting.shift()!();
    await first;
    await turn();
    assert.equal(done, ["first"], "the first says nothing of what was asked for while it ran");
    assert.is(waiting.length, 1, "those that wait share the next one");
    waiting.shift()!();
    await Promise.all(later);
  } finally {
    fs.fdatasync = original;
  }
  await disk.close();
});

test("another process is refused the lock, and gets it when the holder is killed", async () => {
  const path = newPath();
  const disk = await storage.create(path, 4096, "sparse");
  const holder = startProgram("lock_holder", [path]);
  assert.is(await holder.line(), "locked");
  assert.is(await codeOf(storage.lock([disk])), "ERR_LOCKED");
  await holder.kill();
  await storage.lock([disk]);
  const late = startProgram("lock_holder", [path]);
  assert.is(await late.line(), "ERR_LOCKED");
  await late.kill();
  await disk.close();
  const next = startProgram("lock_holder", [path]);
  assert.is(await next.line(), "locked");
  await next.kill();
});

test.run();
