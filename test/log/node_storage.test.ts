// The log on real files: create, write, die without closing, come back.
import { mkdtempSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LOG_HALF_COUNT } from "../../assembly/format.ts";
import { NodeStorage } from "../../src/io/node_storage.ts";
import { inspectLog } from "../../src/log/inspect.ts";
import { assert, suite } from "../support/harness.ts";
import {
  appendWrite,
  makeFiles,
  makeKernel,
  openLog,
  rejection,
  seal,
  tagsOf,
  writeMany,
} from "./fixture.ts";

const test = suite("log on files", { folder: "" });

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), "mirrorvol-log-"));
});
test.after.each((context) => rmSync(context.folder, { recursive: true, force: true }));

const prefixesIn = (folder: string) => [join(folder, "first"), join(folder, "second")];

test("what was durable is there for the next one who opens, closed or not", async ({ folder }) => {
  const storage = new NodeStorage();
  const prefixes = prefixesIn(folder);
  await makeFiles(storage, prefixes);
  const log = await openLog(storage, { prefixes });
  await writeMany(log, [1, 2, 3], 7);
  const sealed = await seal(log, 1);
  for (const tag of [4, 5, 6]) appendWrite(log, tag, 20);
  await log.whenDurable(7);
  const again = await openLog(storage, { prefixes });
  assert.equal(again.recovery, { tail: 7, torn: false, requiredThrough: 7, repaired: 0 });
  assert.equal(await tagsOf(again), [1, 2, 3, 4, 5, 6]);
  await again.close();
  await log.close();
  const applied = await openLog(storage, { prefixes, applied: sealed });
  assert.equal(await tagsOf(applied), [4, 5, 6]);
  await applied.close();
  const halves = await inspectLog(makeKernel(), storage, prefixes[1]!);
  assert.equal(
    halves.map(({ entries }) => entries.length),
    [0, 4, 3, 0],
  );
  assert.equal(
    halves.flatMap(({ faults }) => faults),
    [],
  );
});

test("a file that was cut short takes its copy away, and the other one serves", async ({ folder }) => {
  const storage = new NodeStorage();
  const prefixes = prefixesIn(folder);
  await makeFiles(storage, prefixes);
  const log = await openLog(storage, { prefixes });
  await writeMany(log, [1, 2]);
  await log.close();
  truncateSync(`${prefixes[0]}.3`, 8192);
  const alone = await openLog(storage, { prefixes });
  assert.equal(
    alone.copies.map(({ state }) => state),
    ["missing", "current"],
  );
  assert.equal(await tagsOf(alone), [1, 2]);
  await alone.close();
  truncateSync(`${prefixes[1]}.1`, 4096);
  assert.is((await rejection(openLog(storage, { prefixes }))).code, "ERR_LOG_MISSING");
});

test("a new log has its place on the disk, so that no write into it finds the disk full", async ({
  folder,
}) => {
  const prefixes = prefixesIn(folder);
  await makeFiles(new NodeStorage(), prefixes);
  for (const prefix of prefixes) {
    for (let slot = 0; slot < LOG_HALF_COUNT; slot++) {
      const { blocks, size } = statSync(`${prefix}.${slot}`);
      assert.ok(blocks * 512 >= size, `${prefix}.${slot} takes ${blocks * 512} of ${size} bytes`);
    }
  }
});

test.run();
