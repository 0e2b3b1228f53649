// Which files and folders are synced when a file is made and removed: seen at the calls of node:fs themselves,
// which are watched before the storage takes hold of them.

import fs, { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, suite } from "../support/harness.ts";

const test = suite("node storage: durability");
const folder = mkdtempSync(join(tmpdir(), "mirrorvol-durability-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

type Done = (error: Error | null, result?: number) => void;
const paths = new Map<number, string>();
const synced: string[] = [];

const { open, fsync } = fs;
fs.open = ((path: string, ...rest: unknown[]) => {
  const done = rest.pop() as Done;
  const noted: Done = (error, fd) => {
    if (!error) paths.set(fd!, path);
    done(error, fd);
  };
  (open as (...all: unknown[]) => void)(path, ...rest, noted);
}) as typeof fs.open;
fs.fsync = ((fd: number, done: Done) => {
  synced.push(paths.get(fd)!);
  fsync(fd, done as fs.NoParamCallback);
}) as typeof fs.fsync;
const { NodeStorage } = await import("../../src/io/node_storage.ts");

test("a file that was made is synced, and then its folder", async () => {
  const storage = new NodeStorage();
  const path = join(folder, "made");
  synced.length = 0;
  await (await storage.create(path, 8192, "zeros")).close();
  assert.equal(synced, [path, folder]);
});

test("a folder is synced after a file was removed from it", async () => {
  const storage = new NodeStorage();
  const path = join(folder, "removed");
  await (await storage.create(path, 8192, "sparse")).close();
  synced.length = 0;
  await storage.remove(path);
  assert.equal(synced, [folder]);
});

test.run();
