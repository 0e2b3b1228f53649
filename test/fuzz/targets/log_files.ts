// A whole log in two copies of four files, damaged by a script, through recovery.
//
// Oracles: what recovery gives is a prefix of what was written, byte for byte; as long as only one copy is damaged,
// it is everything; a second recovery finds the same and has nothing to repair; the recovered log takes new entries
// and keeps them. Forged headers may be refused, or believed, but nothing crashes.

import { ENTRY_KIND_TRIM } from "../../../assembly/format.ts";
import { inspectLog } from "../../../src/log/inspect.ts";
import type { Log } from "../../../src/log/log.ts";
import {
  appendWrite,
  HALF_BYTES,
  makeFiles,
  makeKernel,
  openLog,
  PREFIXES,
  seal,
  writeMany,
} from "../../log/fixture.ts";
import { MemoryStorage } from "../../support/memory_storage.ts";
import { joined } from "../mutator.ts";
import { ACCEPTED, expect, refusal, type Target } from "../target.ts";
import { apply, edit, type Image, imageOf } from "./edits.ts";

const FILES = PREFIXES.flatMap((prefix) => [0, 1, 2, 3].map((slot) => `${prefix}.${slot}`));
const FILES_OF_COPY = 4;

interface Written {
  readonly image: Image;
  /** By sequence - 1. */
  readonly entries: readonly Uint8Array[];
}

async function write(): Promise<Written> {
  const storage = new MemoryStorage();
  await makeFiles(storage);
  const log = await openLog(storage);
  await writeMany(log, [1, 2, 3]);
  await seal(log, 1);
  expect(log.canSeal, "the next half is free");
  await writeMany(log, [4]);
  const trim = log.append(ENTRY_KIND_TRIM, 7, 100, null)!;
  await log.whenDurable(trim.sequence);
  await writeMany(log, [5], 2);
  await seal(log, 2);
  expect(log.canSeal, "the next half is free");
  await writeMany(log, [6, 7]);
  const entries = await readAll(log);
  await log.close();
  return { image: imageOf(storage, FILES, HALF_BYTES), entries };
}

async function readAll(log: Log): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = [];
  if (log.tail.sequence === 0) return entries;
  for await (const { bytes } of log.entries(1)) entries.push(bytes.slice());
  return entries;
}

let written: Promise<Written> | null = null;
const theLog = () => (written ??= write());

export const logFilesTarget: Target = {
  name: "log-files",
  bytesMax: 96,
  share: 25,
  batch: 8,
  seeds: async () => {
    const { image } = await theLog();
    const everywhere = Array.from({ length: 5 }, (_, what) => edit(what, what, 3, 40, 0x8001));
    const headers = FILES.map((_, file) => edit(1, file, 0));
    const tails = [0, 4].map((file) => edit(0, file, image.places[file]!.length - 1));
    return [
      joined(...headers),
      joined(...tails),
      ...everywhere,
      edit(3, 0, 0, 4, 0),
      edit(4, 0, 0, 80, 0x0200),
    ];
  },
  check: async (script) => {
    const { image, entries } = await theLog();
    const { storage, damaged, isMisplaced, isForged } = apply(image, script);
    await inspectLog(makeKernel(), storage, PREFIXES[0]);
    const copies = new Set([...damaged].map((file) => Math.floor(file / FILES_OF_COPY)));
    const isHarmless = copies.size < 2 && !isMisplaced && !isForged;
    let log: Log;
    try {
      log = await openLog(storage);
    } catch (error) {
      if (isHarmless) throw error;
      return refusal(error);
    }
    const { tail, requiredThrough } = log.recovery;
    const found = await readAll(log);
    expect(found.length === tail, `${found.length} entries, the tail is ${tail}`);
    const isPrefix = found.every((entry, at) => entries[at] !== undefined && isEqual(entry, entries[at]));
    expect(isForged || isPrefix, "an entry that nobody wrote");
    expect(!isHarmless || found.length === entries.length, `${found.length} of ${entries.length} entries`);
    if (requiredThrough > tail) {
      await log.close();
      return "corruption";
    }
    const added = await append(log);
    await log.close();
    const again = await openLog(storage);
    const { recovery } = again;
    await again.close();
    expect(recovery.tail === tail + added && recovery.repaired === 0, `then ${JSON.stringify(recovery)}`);
    return ACCEPTED;
  },
};

/** How many entries there was room for. */
async function append(log: Log): Promise<number> {
  const entry = log.needsSeal(4096) ? null : appendWrite(log, 99);
  if (entry === null) return 0;
  await log.whenDurable(entry.sequence);
  log.releaseThrough(entry.sequence);
  return 1;
}

function isEqual(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}
