// What the log's tests share: a small log on simulated storage, entries whose content says who they are, and
// an owner that grants whatever the log asks for.
import { BLOCK_BYTES, ENTRY_KIND_SEAL, ENTRY_KIND_WRITE, LOG_ENTRIES_OFFSET } from "../../assembly/format.ts";
import type { Storage } from "../../src/io/disk.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { ENTRY_BYTES_MAX, SEAL_BYTES } from "../../src/log/entry_codec.ts";
import { createLog, type Generation, Log, type LogPosition } from "../../src/log/log.ts";
import { assert } from "../support/harness.ts";
import { pooledKernel } from "../support/kernel_pool.ts";
import type { MemoryStorage } from "../support/memory_storage.ts";

export const VOLUME_ID = Uint8Array.from({ length: 16 }, (_unused, index) => index + 1);
export const GENERATION: Generation = { number: 1, id: 0x1122334455667788n };
export const START: LogPosition = { sequence: 0, chain: 0n };
export const PREFIXES = ["a/log", "b/log"] as const;
/** The largest entry and a seal fit. */
export const HALF_BYTES = LOG_ENTRIES_OFFSET + ENTRY_BYTES_MAX + SEAL_BYTES;
export const RING_BYTES = 3 * 1024 * 1024;
const MEMORY_BYTES = 12 * 1024 * 1024;

export interface Settings {
  prefixes?: readonly string[];
  applied?: LogPosition;
  appliedHalf?: number;
  generation?: Generation;
  trustedCopies?: readonly boolean[];
  isMirror?: boolean;
  ringBytes?: number;
  onDurable?: (sequence: number) => void;
  onSpace?: () => void;
  onCopyFailed?: (copyIndex: number, error: Error) => Promise<void>;
  onFailed?: (error: Error) => void;
}

/** A kernel for each: the arena of a log that died with its storage is never given back. */
export function makeKernel(): Kernel {
  return pooledKernel(MEMORY_BYTES);
}

export async function makeFiles(storage: Storage, prefixes: readonly string[] = PREFIXES): Promise<void> {
  const options = { kernel: makeKernel(), volumeId: VOLUME_ID, halfBytes: HALF_BYTES };
  await createLog(storage, prefixes, options);
}

export function openLog(storage: Storage, settings: Settings = {}): Promise<Log> {
  return Log.open({
    kernel: makeKernel(),
    storage,
    prefixes: settings.prefixes ?? PREFIXES,
    volumeId: VOLUME_ID,
    ringBytes: settings.ringBytes ?? RING_BYTES,
    onDurable: settings.onDurable ?? (() => {}),
    onSpace: settings.onSpace ?? (() => {}),
    onCopyFailed: settings.onCopyFailed ?? (async () => {}),
    onFailed: settings.onFailed ?? (() => {}),
    applied: settings.applied ?? START,
    ...(settings.appliedHalf === undefined ? {} : { appliedHalf: settings.appliedHalf }),
    generation: settings.generation ?? GENERATION,
    isMirror: settings.isMirror ?? false,
    ...(settings.trustedCopies === undefined ? {} : { trustedCopies: settings.trustedCopies }),
  });
}

/** Blocks that no other tag has. */
export function content(tag: number, blockCount = 1): Uint8Array {
  const bytes = new Uint8Array(blockCount * BLOCK_BYTES);
  const words = new Uint32Array(bytes.buffer);
  for (let index = 0; index < words.length; index += 1) words[index] = Math.imul(tag + 1, 0x9e3779b1) + index;
  return bytes;
}

/** Appends a write whose content and lba are its tag. */
export function appendWrite(log: Log, tag: number, blockCount = 1) {
  return log.append(ENTRY_KIND_WRITE, tag, blockCount, [content(tag, blockCount)]);
}

/** Appends writes, each durable before the next, and returns the last sequence. */
export async function writeMany(log: Log, tags: readonly number[], blockCount = 1): Promise<number> {
  for (const tag of tags) {
    const entry = appendWrite(log, tag, blockCount);
    assert.ok(entry, `no room for ${tag}`);
    await log.whenDurable(entry.sequence);
    log.releaseThrough(entry.sequence);
  }
  return log.durable;
}

export async function seal(log: Log, cp: number): Promise<LogPosition> {
  const entry = log.append(ENTRY_KIND_SEAL, cp, 0, null);
  assert.ok(entry, "no room for a seal");
  const position = log.tail;
  await log.whenDurable(entry.sequence);
  log.releaseThrough(entry.sequence);
  return position;
}

export interface Seen {
  sequence: number;
  kind: number;
  lba: number;
  blockCount: number;
}

/** Every durable entry from there on; the payload of each is compared with what its tag demands. */
export async function readAll(log: Log, from = log.firstSequence): Promise<Seen[]> {
  const seen: Seen[] = [];
  for await (const entry of log.entries(from)) {
    const { sequence, kind, lba, blockCount } = entry;
    if (kind === ENTRY_KIND_WRITE)
      assert.ok(isEqual(entry.payload, content(lba, blockCount)), `entry ${sequence}`);
    seen.push({ sequence, kind, lba, blockCount });
  }
  return seen;
}

export async function tagsOf(log: Log, from?: number): Promise<number[]> {
  return (await readAll(log, from)).filter(({ kind }) => kind === ENTRY_KIND_WRITE).map(({ lba }) => lba);
}

export function isEqual(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}

export function code(expected: string): (error: unknown) => boolean {
  return (error) => (error as { code?: string }).code === expected;
}

export async function rejection(promise: Promise<unknown>): Promise<{ code?: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    return error as { code?: string; message: string };
  }
  throw new Error("it did not reject");
}

/** Whether the copies hold the same bytes as far as the log goes. (Behind it a torn write may lie about.) */
export function isSameOnAllCopies(storage: MemoryStorage, log: Log): boolean {
  const [first, ...others] = PREFIXES.map((prefix) =>
    log.status().map(({ slot, bytesUsed }) => storage.peek(`${prefix}.${slot}`, 4096, bytesUsed)),
  );
  return others.every((files) => files.every((file, index) => isEqual(file, first![index]!)));
}

export function flipBit(storage: MemoryStorage, path: string, offset: number, bit = 0): void {
  const byte = storage.peek(path, offset, 1);
  byte[0] = byte[0]! ^ (1 << bit);
  storage.poke(path, offset, byte);
}
