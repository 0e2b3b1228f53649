// A client that keeps a number of writes under way at once, as a database or a file system would: random
// places, one to eight blocks each, overwriting what it wrote before. It ends when it is told to, or when the
// server is gone; what it was told, and nothing else, is in the ledger.
import { BLOCK_BYTES, type BlockLedger } from "./block_ledger.ts";
import type { NbdClient } from "./nbd_client.ts";

const BLOCKS_PER_WRITE_MAX = 8;

export interface StreamOptions {
  readonly client: NbdClient;
  readonly ledger: BlockLedger;
  /** The part of the volume that is this client's own. */
  readonly firstBlock: number;
  readonly blockCount: number;
  readonly queueDepth: number;
  readonly seed: number;
}

export class WriteStream {
  acknowledgedWrites = 0;
  acknowledgedBytes = 0;
  underWay = 0;
  /** Why the stream ended by itself, once it has. */
  failure: Error | null = null;
  readonly #options: StreamOptions;
  #random: number;
  #isStopping = false;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#random = options.seed | 1;
  }

  /** Resolves when nothing is under way any more. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: this.#options.queueDepth }, () => this.#writeInTurn()));
  }

  stop(): void {
    this.#isStopping = true;
  }

  async #writeInTurn(): Promise<void> {
    const { client, ledger } = this.#options;
    while (!this.#isStopping && this.failure === null) {
      const { first, count } = this.#choose();
      const data = ledger.issue(first, count);
      this.underWay++;
      try {
        await client.write(first * BLOCK_BYTES, data);
      } catch (error) {
        this.failure ??= error as Error;
        return;
      } finally {
        this.underWay--;
      }
      ledger.acknowledge(first, count);
      this.acknowledgedWrites++;
      this.acknowledgedBytes += data.length;
    }
  }

  /** A run of blocks that no other write of ours is at. There are far more blocks than writes under way. */
  #choose(): { first: number; count: number } {
    const { ledger, firstBlock, blockCount } = this.#options;
    for (;;) {
      const count = 1 + (this.#next() % BLOCKS_PER_WRITE_MAX);
      const first = firstBlock + (this.#next() % (blockCount - count));
      const isFree = Array.from({ length: count }, (_, i) => !ledger.isBusy(first + i)).every(Boolean);
      if (isFree) return { first, count };
    }
  }

  #next(): number {
    let state = this.#random;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#random = state;
    return state >>> 0;
  }
}

export interface ReadBack {
  readonly blocksRead: number;
  /** What was read and is not right, in words. */
  readonly losses: readonly string[];
}

/** Reads every block of the volume, several reads at once, and settles what was in doubt. */
export async function readBack(
  client: NbdClient,
  ledger: BlockLedger,
  queueDepth: number,
): Promise<ReadBack> {
  const blocksPerRead = 32;
  const losses: string[] = [];
  let next = 0;
  const readInTurn = async () => {
    while (next < ledger.blockCount) {
      const first = next;
      const count = Math.min(blocksPerRead, ledger.blockCount - first);
      next += count;
      const data = await client.read(first * BLOCK_BYTES, count * BLOCK_BYTES);
      for (let i = 0; i < count; i++) {
        const verdict = ledger.check(first + i, data.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
        if (verdict.isRight) ledger.settle(first + i, verdict.version);
        else losses.push(verdict.reason);
      }
    }
  };
  await Promise.all(Array.from({ length: queueDepth }, readInTurn));
  return { blocksRead: ledger.blockCount, losses };
}
