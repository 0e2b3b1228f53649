// A group over simulated disks, and a model of what it must hold: pvbn -> content and hash.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { bitmapOf, type SegmentGeometry, slotOf, stripeOf } from "../../src/raid/geometry.ts";
import { RaidGroup } from "../../src/raid/raid_group.ts";
import type { ReadRequest } from "../../src/raid/reader.ts";
import type { Run } from "../../src/raid/run.ts";
import { assert } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { FaultyDisk } from "./faulty_disk.ts";

export const DATA_OFFSET = 2 * BLOCK_BYTES;
export const SEGMENT_STRIPES = 40;
export const SEGMENTS = 3;

export interface Stored {
  readonly content: Uint8Array;
  readonly hash: Uint32Array;
}

export interface FixtureOptions {
  readonly slots: number;
  readonly geometry: SegmentGeometry;
  readonly kernel?: Kernel;
}

export const sharedKernel = Kernel.createSync({ memoryBytes: 16 * 1024 * 1024 });

export class Fixture {
  readonly kernel: Kernel;
  readonly storage = new MemoryStorage();
  readonly disks: FaultyDisk[] = [];
  readonly stored = new Map<number, Stored>();
  readonly failed: { slot: number; error: Error }[] = [];
  readonly corrupt: { pvbn: number; reason: string }[] = [];
  /** May be changed between runs. */
  geometry: SegmentGeometry;
  /** Segments that have another. */
  readonly geometryOf = new Map<number, SegmentGeometry>();
  group!: RaidGroup;
  /** The group before this one has given its memory back. */
  closed: Promise<void> = Promise.resolve();
  #seed = 1;

  private constructor(options: FixtureOptions) {
    this.kernel = options.kernel ?? sharedKernel;
    this.geometry = options.geometry;
  }

  static async make(options: FixtureOptions): Promise<Fixture> {
    const fixture = new Fixture(options);
    for (let slot = 0; slot < options.slots; slot++)
      fixture.disks.push(await fixture.newDisk(`member${slot}`));
    fixture.reopen(0);
    return fixture;
  }

  async newDisk(path: string): Promise<FaultyDisk> {
    const bytes = DATA_OFFSET + SEGMENTS * SEGMENT_STRIPES * BLOCK_BYTES;
    return new FaultyDisk(await this.storage.create(path, bytes, "sparse"));
  }

  /** A group over the same disks, without those of a bitmap. */
  reopen(missing: number): RaidGroup {
    this.closed = this.group?.close() ?? this.closed;
    this.failed.length = 0;
    this.corrupt.length = 0;
    this.group = new RaidGroup({
      kernel: this.kernel,
      disks: this.disks.map((disk, slot) => (missing & (1 << slot) ? null : disk)),
      dataOffset: DATA_OFFSET,
      segmentStripes: SEGMENT_STRIPES,
      geometryOf: (segment) => this.geometryOf.get(segment) ?? this.geometry,
      onMemberFailed: (slot, error) => this.failed.push({ slot, error }),
      onCorruption: (pvbn, reason) => this.corrupt.push({ pvbn, reason }),
    });
    return this.group;
  }

  /** Puts `count` new blocks into the run; the model learns them. */
  fill(run: Run, count: number): number[] {
    return Array.from({ length: count }, () => {
      const { pvbn, block } = run.next();
      block.set(randomBlock(this.#seed++));
      this.learn(pvbn, block.slice());
      return pvbn;
    });
  }

  learn(pvbn: number, content: Uint8Array): void {
    const hash = new Uint32Array(4);
    this.kernel.hashBlock(content, hash);
    this.stored.set(pvbn, { content, hash });
  }

  /** Writes `count` blocks from a stripe on; their pvbns. */
  async write(firstStripe: number, rows: number, count: number): Promise<number[]> {
    const segment = Math.floor(firstStripe / SEGMENT_STRIPES);
    const { k } = this.geometryOf.get(segment) ?? this.geometry;
    const run = await this.group.beginRun(segment, firstStripe, rows);
    try {
      const pvbns = this.fill(run, count);
      assert.is(await run.write(), Math.ceil(count / k));
      return pvbns;
    } finally {
      run.release();
    }
  }

  requests(pvbns: readonly number[]): ReadRequest[] {
    return pvbns.map((pvbn, index) => {
      // Hashes in one array, as in a node of a map.
      const hash = new Uint32Array(4 * (index + 1));
      hash.set(this.stored.get(pvbn)!.hash, 4 * index);
      return { pvbn, out: new Uint8Array(BLOCK_BYTES), hash, hashIndex: 4 * index };
    });
  }

  /** Reads all in one call and compares with the model. */
  async check(pvbns: readonly number[]): Promise<void> {
    const requests = this.requests(pvbns);
    await this.group.read(requests);
    for (const { pvbn, out } of requests) {
      assert.ok(isSame(out, this.stored.get(pvbn)!.content), `the content of ${pvbn} is another`);
    }
  }

  async readError(pvbns: readonly number[]): Promise<Error & { code?: string }> {
    return this.group.read(this.requests(pvbns)).then(
      () => assert.unreachable("the read should have failed") as never,
      (error: Error) => error,
    );
  }

  /** Changes a unit behind the group's back. */
  poke(slot: number, stripe: number, content: Uint8Array): void {
    this.storage.poke(this.disks[slot]!.path, byteAt(stripe), content);
  }

  peek(slot: number, stripe: number): Uint8Array {
    return this.storage.peek(this.disks[slot]!.path, byteAt(stripe), BLOCK_BYTES);
  }

  /** Flips one bit of a unit. */
  damage(slot: number, stripe: number): void {
    const content = this.peek(slot, stripe);
    content[(stripe * 97) % BLOCK_BYTES]! ^= 0x10;
    this.poke(slot, stripe, content);
  }

  damageBlock(pvbn: number): void {
    this.damage(slotOf(pvbn), stripeOf(pvbn));
  }
}

export function byteAt(stripe: number): number {
  return DATA_OFFSET + stripe * BLOCK_BYTES;
}

export function stripeAt(offset: number): number {
  return (offset - DATA_OFFSET) / BLOCK_BYTES;
}

/** k + m on the first slots. */
export function plain(k: number, m: number): SegmentGeometry {
  return { k, m, members: (1 << (k + m)) - 1 };
}

export function randomBlock(seed: number): Uint8Array {
  const words = new Uint32Array(BLOCK_BYTES / 4);
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  return new Uint8Array(words.buffer);
}

export function isSame(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false;
  for (let index = 0; index < left.length; index++) {
    if (left[index] !== right[index]) return false;
  }
  return true;
}

/** All subsets of 0..count-1 with `size` members, as bitmaps. */
export function subsets(count: number, size: number): number[] {
  if (size === 0) return [0];
  const found: number[] = [];
  for (let last = size - 1; last < count; last++) {
    for (const rest of subsets(last, size - 1)) found.push(rest | (1 << last));
  }
  return found;
}

export function allGeometries(): { k: number; m: number }[] {
  return Array.from({ length: 15 * 4 }, (_, index) => ({ k: 1 + (index >> 2), m: index & 3 }));
}

export { bitmapOf, slotOf, stripeOf };
