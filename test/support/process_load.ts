// Load on a node that will be killed: NBD writes at a queue depth, overwriting one another's places; and the
// reading back, which knows what every block may hold.
//
// The moment of a kill is a count of acknowledged writes, not a time: however slow the machine is, something was
// acknowledged and something is under way.
import { BLOCK_BYTES, BlockLedger } from "../../examples/support/block_ledger.ts";
import type { NbdClient } from "../../examples/support/nbd_client.ts";
import { readBack, WriteStream } from "../../examples/support/write_stream.ts";
import { assert } from "./harness.ts";
import { SeededRandom } from "./memory_random.ts";
import type { ProcessSide } from "./process_side.ts";

const QUEUE_DEPTH = 12;
const READ_DEPTH = 8;
const LOOK_MS = 1;

export class ProcessLoad {
  readonly ledger: BlockLedger;
  acknowledgedBytes = 0;
  /** Of all kills together. */
  blocksInDoubt = 0;
  readonly #random: SeededRandom;

  constructor(volumeBytes: number, seed: number) {
    this.ledger = new BlockLedger(volumeBytes / BLOCK_BYTES);
    this.#random = new SeededRandom(seed);
  }

  /** Writes; after that many acknowledged writes calls `kill`, which ends the server. */
  async untilKilled(side: ProcessSide, writeCount: number, kill: () => Promise<void>): Promise<void> {
    await this.#withStream(side, async (stream) => {
      await acknowledged(stream, writeCount);
      await kill();
    });
    this.blocksInDoubt += this.ledger.blocksInDoubt;
  }

  /** Writes before, during and after `disturb`; no write may fail, and some must be acknowledged after it. */
  async throughout(side: ProcessSide, writeCount: number, disturb: () => Promise<void>): Promise<void> {
    await this.#withStream(side, async (stream) => {
      await acknowledged(stream, writeCount);
      await disturb();
      await acknowledged(stream, stream.acknowledgedWrites + QUEUE_DEPTH + 1);
    });
    assert.is(this.ledger.blocksInDoubt, 0, "writes failed");
  }

  /** Every acknowledged write is there, or the one after it that was in doubt; whichever is read, stays. */
  async verify(side: ProcessSide, when: string): Promise<void> {
    const client = await side.connect();
    const { losses } = await readBack(client, this.ledger, READ_DEPTH);
    await client.disconnect();
    assert.equal(losses.slice(0, 8), [], `${when}: ${losses.length} blocks are wrong`);
  }

  async #withStream(side: ProcessSide, use: (stream: WriteStream) => Promise<void>): Promise<void> {
    const client = await side.connect();
    const stream = this.#open(client);
    const over = stream.run();
    try {
      await use(stream);
    } finally {
      stream.stop();
      await over;
      client.destroy();
      this.acknowledgedBytes += stream.acknowledgedBytes;
    }
  }

  #open(client: NbdClient): WriteStream {
    const { ledger } = this;
    const place = { firstBlock: 0, blockCount: ledger.blockCount, queueDepth: QUEUE_DEPTH };
    return new WriteStream({ client, ledger, ...place, seed: this.#random.below(0x7fffffff) });
  }
}

async function acknowledged(stream: WriteStream, count: number): Promise<void> {
  while (stream.acknowledgedWrites < count) {
    if (stream.failure !== null) throw stream.failure;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
