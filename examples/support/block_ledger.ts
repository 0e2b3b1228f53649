// What was written where, and what may be read there: the bookkeeping that turns "nothing was lost" into a
// check.
//
// Each block carries its number, its version and bytes that follow from both, so a block says by itself which
// write it comes from. For each block the ledger holds
//
//   acknowledged   the newest version whose write was acknowledged (0: none, the block is all zeros)
//   issued         the newest version that was sent; more than acknowledged while its write is in doubt
//
// A read is right when it is, in full, the acknowledged version or the one in doubt after it. Anything else,
// an older version above all, is a loss. Only one write of a block may be under way at a time.

import { Buffer } from "node:buffer";

export const BLOCK_BYTES = 4096;

const MAGIC = 0x44454d4f;
const ZEROS = new Uint8Array(BLOCK_BYTES);

export type Verdict =
  | { readonly isRight: true; readonly version: number }
  | { readonly isRight: false; readonly reason: string };

export class BlockLedger {
  readonly blockCount: number;
  readonly #acknowledged: Uint32Array;
  readonly #issued: Uint32Array;

  constructor(blockCount: number) {
    this.blockCount = blockCount;
    this.#acknowledged = new Uint32Array(blockCount);
    this.#issued = new Uint32Array(blockCount);
  }

  isBusy(block: number): boolean {
    return this.#issued[block] !== this.#acknowledged[block];
  }

  /** The content of the next write of these blocks. */
  issue(firstBlock: number, count: number): Uint8Array {
    const data = new Uint8Array(count * BLOCK_BYTES);
    for (let i = 0; i < count; i++) {
      const version = ++this.#issued[firstBlock + i]!;
      fillBlock(data.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), firstBlock + i, version);
    }
    return data;
  }

  acknowledge(firstBlock: number, count: number): void {
    for (let block = firstBlock; block < firstBlock + count; block++) {
      this.#acknowledged[block] = this.#issued[block]!;
    }
  }

  check(block: number, data: Uint8Array): Verdict {
    const acknowledged = this.#acknowledged[block]!;
    const version = versionOf(block, data);
    if (version === null) return { isRight: false, reason: `block ${block} is not what any write wrote` };
    if (version === acknowledged || version === this.#issued[block]) return { isRight: true, version };
    const reason = `block ${block} has version ${version}, acknowledged was ${acknowledged}`;
    return { isRight: false, reason };
  }

  /** After a read: what was in doubt is settled, and must not change any more. */
  settle(block: number, version: number): void {
    this.#acknowledged[block] = version;
    this.#issued[block] = version;
  }

  get blocksInDoubt(): number {
    return this.#issued.reduce(
      (sum, issued, block) => sum + (issued === this.#acknowledged[block] ? 0 : 1),
      0,
    );
  }

  get blocksAcknowledged(): number {
    return this.#acknowledged.reduce((sum, version) => sum + (version > 0 ? 1 : 0), 0);
  }
}

function fillBlock(data: Uint8Array, block: number, version: number): void {
  const words = new Uint32Array(data.buffer, data.byteOffset, BLOCK_BYTES / 4);
  words[0] = MAGIC;
  words[1] = block;
  words[2] = version;
  let state = (Math.imul(block + 1, 0x9e3779b1) ^ Math.imul(version, 0x85ebca6b)) | 1;
  for (let i = 3; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
}

/** The version whose content this is to the last byte; 0 for zeros; null for anything else. */
function versionOf(block: number, data: Uint8Array): number | null {
  if (Buffer.compare(ZEROS, data) === 0) return 0;
  const version = new DataView(data.buffer, data.byteOffset).getUint32(8, true);
  const expected = new Uint8Array(BLOCK_BYTES);
  fillBlock(expected, block, version);
  return Buffer.compare(expected, data) === 0 ? version : null;
}
