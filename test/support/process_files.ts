// A program of its own: writes files into a folder until it is told to stop or the disk fails, and prints
// `{name, hash}` when the file and its name are synced, `{removed}` before it removes one.
//
//   process_files.ts FOLDER SEED COUNT      COUNT 0: until the disk fails
//
// It runs beside the test because a write to a file system whose server was killed may block its process.
import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { SeededRandom } from "./memory_random.ts";

const FILE_BYTES_MAX = 300_000;
const FILES_KEPT = 40;

const [folder, seed, countText] = process.argv.slice(2) as [string, string, string];
const random = new SeededRandom(Number(seed));
const names: string[] = [];

function writeFile(name: string): string {
  const data = random.bytes(1 + random.below(FILE_BYTES_MAX));
  const fd = openSync(join(folder, name), "wx");
  try {
    for (let at = 0; at < data.length; ) at += writeSync(fd, data, at, data.length - at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  syncFolder();
  return createHash("sha256").update(data).digest("hex");
}

function syncFolder(): void {
  const fd = openSync(folder, "r");
  fsyncSync(fd);
  closeSync(fd);
}

function say(line: object): void {
  // Written at once: what was said counts even if this process is stuck in the next call.
  writeSync(1, `${JSON.stringify(line)}\n`);
}

const count = Number(countText) || Number.POSITIVE_INFINITY;
for (let index = 0; index < count; index++) {
  const name = `${seed}-${index}`;
  say({ name, hash: writeFile(name) });
  names.push(name);
  if (names.length <= FILES_KEPT) continue;
  const [removed] = names.splice(random.below(names.length), 1);
  say({ removed });
  rmSync(join(folder, removed!));
}
