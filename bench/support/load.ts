// The load generator: a number of slots, each of which does one operation after the other, at random places
// of the target. Offsets are whole multiples of the operation's size.

import { nowMs } from "./clock.ts";
import { Samples } from "./samples.ts";

/** Something that can be written and read, many at once. `done` is called once, with null or what went wrong. */
export interface Target {
  write(slot: number, offset: number, data: Uint8Array, done: (error: Error | null) => void): void;
  read(slot: number, offset: number, bytes: number, done: (error: Error | null) => void): void;
}

export interface Load {
  readonly depth: number;
  /** Of one operation. */
  readonly bytes: number;
  /** 0: only writes; 1: only reads. */
  readonly readShare: number;
  /** The first so many bytes of the target are used. */
  readonly spanBytes: number;
  readonly seconds: number;
  /** Before anything counts. */
  readonly warmUpSeconds: number;
}

export interface LoadResult {
  readonly samples: Samples;
  readonly operationsPerSecond: number;
}

export function runLoad(target: Target, load: Load): Promise<LoadResult> {
  const { depth, bytes, readShare, spanBytes } = load;
  const samples = new Samples();
  const places = Math.floor(spanBytes / bytes);
  const fromMs = nowMs() + load.warmUpSeconds * 1e3;
  const untilMs = fromMs + load.seconds * 1e3;
  let left = depth;
  let writeCount = 1;
  return new Promise((resolve, reject) => {
    const endSlot = () => {
      if (--left > 0) return;
      resolve({ samples, operationsPerSecond: samples.count / load.seconds });
    };
    const startSlot = (slot: number) => {
      const data = payload(bytes, slot);
      const stamp = new Uint32Array(data.buffer, 0, 1);
      let startMs = 0;
      const next = () => {
        startMs = nowMs();
        if (startMs >= untilMs) return endSlot();
        // No two writes have the same content.
        stamp[0] = writeCount += 2;
        const offset = Math.floor(Math.random() * places) * bytes;
        if (readShare > 0 && Math.random() < readShare) target.read(slot, offset, bytes, done);
        else target.write(slot, offset, data, done);
      };
      const done = (error: Error | null) => {
        if (error !== null) return reject(error);
        const endMs = nowMs();
        if (endMs >= fromMs && endMs < untilMs) samples.add(startMs, endMs);
        next();
      };
      next();
    };
    for (let slot = 0; slot < depth; slot++) startSlot(slot);
  });
}

/** Writes the whole span once, so that reads find something there. */
export async function fill(target: Target, spanBytes: number): Promise<void> {
  const pieceBytes = 1 << 20;
  let offset = 0;
  const fillSlot = (slot: number) => {
    const data = payload(pieceBytes, slot);
    return new Promise<void>((resolve, reject) => {
      const next = (error: Error | null) => {
        if (error !== null) return reject(error);
        if (offset >= spanBytes) return resolve();
        const at = offset;
        offset += pieceBytes;
        target.write(slot, at, data.subarray(0, Math.min(pieceBytes, spanBytes - at)), next);
      };
      next(null);
    });
  };
  await Promise.all([0, 1, 2, 3].map(fillSlot));
}

/** Nothing in it is zero, which would be a hole and no block. */
export function payload(bytes: number, seed: number): Uint8Array {
  const data = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) data[i] = ((i * 31 + (i >> 8) * 17 + seed * 7) & 0x7f) | 1;
  return data;
}
