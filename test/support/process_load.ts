// Load on a node that will be killed: NBD writes at a queue depth, overwriting one another's places; and the
// reading back, which knows what every block may hold.
//
//   - a write that was acknowledged is there, or one of the same place that was sent after it;
//   - a write that was in doubt is there as a whole or not at all: it is one entry of the log;
//   - whichever is read, stays.
//
// The moment of a kill is a count of acknowledged writes, not a time: however slow the machine is, something was
// acknowledged and something is under way.
import { BLOCK_BYTES, BlockLedger, type Verdict } from "../../examples/support/block_ledger.ts";
import type { NbdClient } from "../../examples/support/nbd_client.ts";
import { readBack, WriteStream } from "../../examples/support/write_stream.ts";
import { assert } from "./harness.ts";
import { SeededRandom } from "./memory_random.ts";
import type { ProcessSide } from "./process_side.ts";

const QUEUE_DEPTH = 12;
const READ_DEPTH = 8;
const LOOK_MS = 1;
/** Where a block says its version. */
const VERSION = 8;

interface Write {
  readonly first: number;
  readonly count: number;
}

/** A ledger that remembers which blocks were written together. */
class WriteLedger extends BlockLedger {
  readonly #open = new Map<number, Write>();
  readonly #newest = new Map<number, number>();
  /** Of writes in doubt, while the volume is read: by block, whether the newest version was there. */
  readonly #found = new Map<number, boolean>();

  override issue(first: number, count: number): Uint8Array {
    this.#open.set(first, { first, count });
    const data = super.issue(first, count);
    const words = new DataView(data.buffer);
    for (let i = 0; i < count; i++)
      this.#newest.set(first + i, words.getUint32(i * BLOCK_BYTES + VERSION, true));
    return data;
  }

  override acknowledge(first: number, count: number): void {
    this.#open.delete(first);
    super.acknowledge(first, count);
  }

  override check(block: number, data: Uint8Array): Verdict {
    const isInDoubt = this.isBusy(block);
    const verdict = super.check(block, data);
    if (isInDoubt && verdict.isRight) this.#found.set(block, verdict.version === this.#newest.get(block));
    return verdict;
  }

  /** The same knowledge, for a copy of the volume. Nothing may be in doubt. */
  copy(): WriteLedger {
    const copy = new WriteLedger(this.blockCount);
    for (const [block, version] of this.#newest) copy.settle(block, version);
    return copy;
  }

  override settle(block: number, version: number): void {
    this.#newest.set(block, version);
    super.settle(block, version);
  }

  /** After a reading: the writes of which a part was there and a part was not. Then nothing is in doubt. */
  takeTorn(): Write[] {
    const isTorn = ({ first, count }: Write) => {
      const parts = Array.from({ length: count }, (_, index) => this.#found.get(first + index));
      return parts.some((isThere) => isThere !== parts[0]);
    };
    const torn = [...this.#open.values()].filter(isTorn);
    this.#open.clear();
    this.#found.clear();
    return torn;
  }
}

export class ProcessLoad {
  readonly ledger: WriteLedger;
  acknowledgedBytes = 0;
  acknowledgedWrites = 0;
  /** Of all kills together. */
  blocksInDoubt = 0;
  readonly #random: SeededRandom;

  constructor(volumeBytes: number, seed: number, ledger = new WriteLedger(volumeBytes / BLOCK_BYTES)) {
    this.ledger = ledger;
    this.#random = new SeededRandom(seed);
  }

  /** For a copy of the volume, which goes its own way. Nothing may be in doubt. */
  copy(seed: number): ProcessLoad {
    const { ledger } = this;
    return new ProcessLoad(ledger.blockCount * BLOCK_BYTES, seed, ledger.copy());
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

  /** Writes until that many are acknowledged, or the server fails one: then the error is the result. */
  async tryToWrite(side: ProcessSide, writeCount: number): Promise<Error | null> {
    return this.#withStream(side, (stream) =>
      acknowledged(stream, writeCount).then(
        () => null,
        (error) => error as Error,
      ),
    );
  }

  /** Every acknowledged write is there, or the one after it that was in doubt; whichever is read, stays. */
  async verify(side: ProcessSide, when: string): Promise<void> {
    const client = await side.connect();
    const { losses } = await readBack(client, this.ledger, READ_DEPTH);
    await client.disconnect();
    assert.equal(losses.slice(0, 8), [], `${when}: ${losses.length} blocks are wrong`);
    assert.equal(this.ledger.takeTorn(), [], `${when}: writes are there in part`);
  }

  async #withStream<T>(side: ProcessSide, use: (stream: WriteStream) => Promise<T>): Promise<T> {
    const client = await side.connect();
    const stream = this.#open(client);
    const over = stream.run();
    try {
      return await use(stream);
    } finally {
      stream.stop();
      // A server that fails one write may leave others without an answer.
      if (stream.failure !== null) client.destroy();
      await over;
      client.destroy();
      this.acknowledgedBytes += stream.acknowledgedBytes;
      this.acknowledgedWrites += stream.acknowledgedWrites;
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
