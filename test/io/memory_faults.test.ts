// The fault decorator: it is a Storage while it does nothing, and each fault is what it says.

import { readDisk, writeDisk } from "../../src/io/disk.ts";
import { assert, suite } from "../support/harness.ts";
import { FaultyStorage } from "../support/memory_faults.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { codeIn, codeOf, errorOf, rangeOf, registerDiskConformance } from "./disk_conformance.ts";

const conformance = suite("faulty storage: conformance");
registerDiskConformance(conformance, () => {
  let count = 0;
  return { storage: new FaultyStorage(new MemoryStorage()), path: () => `/memory/disk${(count += 1)}` };
});
conformance.run();

const test = suite("faulty storage");
const PATH = "/memory/a";

async function make() {
  const faults = new FaultyStorage(new MemoryStorage());
  const disk = await faults.create(PATH, 16_384, "zeros");
  await writeDisk(disk, 0, new Uint8Array(16_384).fill(1));
  await disk.sync();
  return { faults, disk };
}

test("a bad sector fails only what touches it, as often as it is told", async () => {
  const { faults, disk } = await make();
  faults.fail(PATH, "read", { offset: 4096, length: 512 });
  const read = (offset: number) => ({ kind: "read", offset, buffer: new Uint8Array(4096) }) as const;
  const results = await disk.submit([read(0), read(4096), read(8192)]);
  assert.equal(results.map(codeIn), [null, "ERR_DISK_FAILED", null]);
  assert.match(results[1]!.message, "/memory/a: read at 4096: EIO");
  faults.heal();
  faults.fail(PATH, "write", { count: 1 });
  assert.is(await codeOf(writeDisk(disk, 0, new Uint8Array(512))), "ERR_DISK_FAILED");
  assert.is((await rangeOf(disk, 0, 1))[0], 1);
  await writeDisk(disk, 0, new Uint8Array(512));
});

test("a failed sync kills the disk and makes nothing durable", async () => {
  const { faults, disk } = await make();
  await writeDisk(disk, 0, new Uint8Array(512).fill(2));
  faults.fail(PATH, "sync", { count: 1 });
  const first = await errorOf(disk.sync());
  assert.is(await errorOf(disk.sync()), first);
  assert.is(await codeOf(readDisk(disk, 0, new Uint8Array(1))), "ERR_DISK_FAILED");
  assert.is(faults.inner.afterCrash("drop").peek(PATH, 0, 1)[0], 1);
});

test("a lost write is reported as done and never happens", async () => {
  const { faults, disk } = await make();
  faults.loseNextWrite(PATH);
  await writeDisk(disk, 0, new Uint8Array(512).fill(2));
  assert.is((await rangeOf(disk, 0, 1))[0], 1);
  await writeDisk(disk, 0, new Uint8Array(512).fill(3));
  assert.is((await rangeOf(disk, 0, 1))[0], 3);
});

test("a misdirected write lands elsewhere", async () => {
  const { faults, disk } = await make();
  faults.misdirectNextWrite(PATH, 8192);
  await writeDisk(disk, 0, new Uint8Array(512).fill(2));
  assert.is((await rangeOf(disk, 0, 1))[0], 1);
  assert.is((await rangeOf(disk, 8192, 1))[0], 2);
});

test("corruption changes exactly the bytes it is told to, until they are written", async () => {
  const { faults, disk } = await make();
  await faults.corrupt(PATH, 10, 2);
  const found = await rangeOf(disk, 9, 4);
  assert.equal([found[0], found[3]], [1, 1]);
  assert.ok(found[1] !== 1 && found[2] !== 1);
  await writeDisk(disk, 0, new Uint8Array(512).fill(1));
  assert.equal(await rangeOf(disk, 9, 4), Uint8Array.of(1, 1, 1, 1));
  // It was durable, and what healed it is not.
  assert.equal(faults.inner.afterCrash("drop").peek(PATH, 9, 4), found);
});

test("a detached disk is gone; attached again it has its content, old handles stay dead", async () => {
  const { faults, disk } = await make();
  faults.detach(PATH);
  assert.is(await faults.exists(PATH), false);
  assert.is(await codeOf(faults.open(PATH)), "ERR_NOT_FOUND");
  assert.is(await codeOf(readDisk(disk, 0, new Uint8Array(1))), "ERR_DISK_FAILED");
  faults.attach(PATH);
  assert.is(await codeOf(disk.sync()), "ERR_DISK_FAILED");
  const again = await faults.open(PATH);
  assert.is((await rangeOf(again, 0, 1))[0], 1);
});

test("a full storage takes no writes and no new files", async () => {
  const { faults, disk } = await make();
  faults.fillUp("/memory/");
  assert.is(await codeOf(writeDisk(disk, 0, new Uint8Array(512))), "ERR_NO_SPACE");
  assert.is(await codeOf(faults.create("/memory/b", 512, "zeros")), "ERR_NO_SPACE");
  assert.is((await rangeOf(disk, 0, 1))[0], 1);
  await (await faults.create("/elsewhere", 512, "zeros")).close();
});

test.run();
