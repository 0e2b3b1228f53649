// What the volume's tests share: a small volume on simulated storage, and a model of what it must hold.
import { BLOCK_BYTES, LOG_HALF_COUNT } from "../../assembly/format.ts";
import type { Storage } from "../../src/io/disk.ts";
import type { World } from "../../src/io/world.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { Volume, type VolumeConfig, type VolumeOptions } from "../../src/volume/volume.ts";
import { assert } from "../support/harness.ts";
import { pooledKernel } from "../support/kernel_pool.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { SeededRandom } from "../support/memory_random.ts";
import type { MemoryStorage } from "../support/memory_storage.ts";

export const HALF_BYTES = 1024 * 1024 + 8192;

export function smallConfig(changes: Partial<VolumeConfig> = {}): VolumeConfig {
  return {
    name: "orders",
    sizeBytes: 1024 * BLOCK_BYTES,
    members: ["a/m", "b/m", "c/m", "d/m"],
    parity: 1,
    log: ["a/log", "b/log"],
    logBytes: LOG_HALF_COUNT * HALF_BYTES,
    memberBytes: 6 * 1024 * 1024,
    segmentStripes: 32,
    ringBytes: 3 * 1024 * 1024,
    cacheBytes: 1024 * 1024,
    ...changes,
  };
}

export function makeWorld(storage: Storage, seed = 1, clock = new ManualClock()): World {
  const refuse = () => {
    throw new Error("no network in this test");
  };
  return {
    storage,
    clock,
    random: new SeededRandom(seed),
    transport: { connect: refuse, listen: refuse },
    streams: { listen: refuse },
    authenticator: { hmac: refuse },
  };
}

/** For each opening: a world that stopped never gives its memory back. */
export function makeKernel(): Kernel {
  return pooledKernel(12 * 1024 * 1024);
}

export async function makeVolume(storage: Storage, config = smallConfig(), seed = 1): Promise<void> {
  await Volume.create(makeWorld(storage, seed), makeKernel(), config);
}

export function openVolume(
  storage: Storage,
  config = smallConfig(),
  options: VolumeOptions = {},
  clock = new ManualClock(),
): Promise<Volume> {
  return Volume.open(makeWorld(storage, 2, clock), makeKernel(), config, options);
}

/** Bytes that tell block, version and place. */
export function content(lba: number, version: number): Uint8Array {
  const bytes = new Uint8Array(BLOCK_BYTES);
  const words = new Uint32Array(bytes.buffer);
  for (let i = 0; i < words.length; i++)
    words[i] = Math.imul(lba + 1, 2654435761) ^ (version * 97) ^ (i * 40503);
  return bytes;
}

/** A plain copy of what was acknowledged. */
export class Model {
  readonly bytes: Uint8Array;

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes);
  }

  copy(): Model {
    const copy = new Model(this.bytes.length);
    copy.bytes.set(this.bytes);
    return copy;
  }

  write(offset: number, data: Uint8Array): void {
    this.bytes.set(data, offset);
  }

  zero(offset: number, length: number): void {
    this.bytes.fill(0, offset, offset + length);
  }

  /** Only whole blocks. */
  trim(offset: number, length: number): void {
    const first = Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const end = Math.floor((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
    if (end > first) this.bytes.fill(0, first, end);
  }

  async expectEqual(volume: Volume, piece = 256 * 1024): Promise<void> {
    for (let at = 0; at < this.bytes.length; at += piece) {
      const length = Math.min(piece, this.bytes.length - at);
      expectBytes(await volume.read(at, length), this.bytes.subarray(at, at + length), at);
    }
  }
}

export function expectBytes(actual: Uint8Array, expected: Uint8Array, offset = 0): void {
  assert.is(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) {
    if (actual[i] === expected[i]) continue;
    const at = offset + i;
    assert.unreachable(
      `byte ${at} (block ${Math.floor(at / BLOCK_BYTES)}) is ${actual[i]}, not ${expected[i]}`,
    );
  }
}

export interface Prepared {
  readonly storage: MemoryStorage;
  readonly model: Model;
}

/** Makes a closed volume once for each configuration, and gives everybody a copy of it. */
export function preparedOnce(make: (config: VolumeConfig) => Promise<Prepared>) {
  const made = new Map<string, Promise<Prepared>>();
  return async (config: VolumeConfig): Promise<Prepared> => {
    const key = JSON.stringify(config);
    const found = made.get(key) ?? make(config);
    made.set(key, found);
    const { storage, model } = await found;
    return { storage: storage.ifPowerFailedNow("keep"), model: model.copy() };
  };
}

/** One random operation on volume and model alike. */
export async function randomOperation(
  volume: Volume,
  model: Model,
  random: (max: number) => number,
): Promise<void> {
  const kind = random(20);
  const blocks = volume.bytes / BLOCK_BYTES;
  if (kind < 10) {
    const lba = random(blocks);
    const count = Math.min(1 + random(random(8) === 0 ? 64 : 4), blocks - lba);
    const data = new Uint8Array(count * BLOCK_BYTES);
    const version = random(1 << 30);
    for (let i = 0; i < count; i++) data.set(content(lba + i, version), i * BLOCK_BYTES);
    await volume.write(lba * BLOCK_BYTES, data);
    model.write(lba * BLOCK_BYTES, data);
  } else if (kind < 14) {
    const offset = random(volume.bytes - 1);
    const length = Math.min(1 + random(3 * BLOCK_BYTES), volume.bytes - offset);
    const data = new Uint8Array(length).map(() => random(256));
    await volume.write(offset, data);
    model.write(offset, data);
  } else if (kind < 17) {
    const offset = random(volume.bytes - 1);
    const length = Math.min(
      1 + random(random(3) === 0 ? volume.bytes : 20 * BLOCK_BYTES),
      volume.bytes - offset,
    );
    if (kind === 14) {
      await volume.trim(offset, length);
      model.trim(offset, length);
    } else {
      await volume.zero(offset, length);
      model.zero(offset, length);
    }
  } else if (kind < 19) {
    const offset = random(volume.bytes - 1);
    const length = Math.min(1 + random(10 * BLOCK_BYTES), volume.bytes - offset);
    expectBytes(await volume.read(offset, length), model.bytes.subarray(offset, offset + length), offset);
  } else await volume.consistencyPoint();
}

/** A small generator: integers below max. */
export function randomFrom(seed: number): (max: number) => number {
  let state = seed >>> 0 || 1;
  return (max) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % max;
  };
}
