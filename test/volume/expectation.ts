// What a volume must hold at any moment of a workload, for tests that stop it: per block what was acknowledged last,
// and what has been under way since.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { assert } from "../support/harness.ts";
import { content, randomFrom } from "./fixture.ts";

const ZEROS = new Uint8Array(BLOCK_BYTES);

/** What each block may hold: what was acknowledged last, and what has been under way since. */
export class Expectation {
  readonly blocks: number;
  readonly acknowledged: Uint8Array[];
  readonly underWay: Uint8Array[][];
  /** Grows with each promise that was made. */
  promises = 0;

  constructor(blocks: number) {
    this.blocks = blocks;
    this.acknowledged = Array.from({ length: blocks }, () => ZEROS);
    this.underWay = Array.from({ length: blocks }, () => []);
  }

  copy(): Expectation {
    const copy = new Expectation(this.blocks);
    for (let lba = 0; lba < this.blocks; lba++) {
      copy.acknowledged[lba] = this.acknowledged[lba]!;
      copy.underWay[lba] = [...this.underWay[lba]!];
    }
    return copy;
  }

  begin(lba: number, block: Uint8Array): void {
    this.underWay[lba]!.push(block);
  }

  acknowledge(lba: number, block: Uint8Array): void {
    this.acknowledged[lba] = block;
    this.underWay[lba] = [];
    this.promises += 1;
  }
}

/**
 * Rounds of operations one after the other: most write `width` extents at once on different blocks, some six; now
 * and then a trim, a flush, a CP.
 */
export async function workload(
  volume: Volume,
  expectation: Expectation,
  seed: number,
  rounds: number,
  usualWidth = 1,
  afterRound = async (): Promise<void> => {},
): Promise<void> {
  const random = randomFrom(seed);
  for (let i = 0; i < rounds; i++) {
    const kind = random(16);
    if (kind === 0) await volume.consistencyPoint();
    else if (kind === 1) await volume.flush();
    else if (kind === 2) await trim(volume, expectation, random(expectation.blocks - 40), 1 + random(40));
    else {
      const width = kind < 6 ? 6 : usualWidth;
      const first = random(expectation.blocks - width * 4);
      const writes = Array.from({ length: width }, (_, part) => {
        return write(volume, expectation, first + part * 4, 1 + random(4), i * 8 + part);
      });
      await Promise.all(writes);
    }
    await afterRound();
  }
}

export async function write(
  volume: Volume,
  expectation: Expectation,
  lba: number,
  count: number,
  version: number,
): Promise<void> {
  const blocks = Array.from({ length: count }, (_, i) => content(lba + i, version));
  const data = new Uint8Array(count * BLOCK_BYTES);
  for (const [i, block] of blocks.entries()) {
    data.set(block, i * BLOCK_BYTES);
    expectation.begin(lba + i, block);
  }
  await volume.write(lba * BLOCK_BYTES, data);
  for (const [i, block] of blocks.entries()) expectation.acknowledge(lba + i, block);
}

async function trim(volume: Volume, expectation: Expectation, lba: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) expectation.begin(lba + i, ZEROS);
  await volume.trim(lba * BLOCK_BYTES, count * BLOCK_BYTES);
  for (let i = 0; i < count; i++) expectation.acknowledge(lba + i, ZEROS);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Checks what is there, and takes it as acknowledged from now on: once read it stays. */
export async function check(volume: Volume, expectation: Expectation, where: string): Promise<void> {
  const bytes = await volume.read(0, expectation.blocks * BLOCK_BYTES);
  for (let lba = 0; lba < expectation.blocks; lba++) {
    const block = bytes.slice(lba * BLOCK_BYTES, (lba + 1) * BLOCK_BYTES);
    const allowed = [expectation.acknowledged[lba]!, ...expectation.underWay[lba]!];
    if (!allowed.some((each) => isSame(each, block)))
      assert.unreachable(`${where}: block ${lba} is neither old nor new`);
    expectation.acknowledge(lba, block);
  }
}
