// A source with as many clients as it takes, each with far more on its way than the node may hold, while its mirror
// stands still again and again: it lives in the memory that it was given, and loses nothing. What clients send and
// the log cannot take stays in their sockets.
import type { NbdClient } from "../../examples/support/nbd_client.ts";
import { assert, skip, suite } from "../support/harness.ts";
import { cgroupObstacle, ProcessCgroup } from "../support/process_cgroup.ts";
import { ProcessPair } from "../support/process_pair.ts";
import { MIB } from "../support/process_side.ts";
import { isThorough } from "../support/thorough.ts";

export const deadlineMs = 120_000;

/** As many as the NBD server takes. */
const CLIENT_COUNT = 64;
/** Each client offers so many at once: all together, far more than the node may use. */
const QUEUE_DEPTH = 12;
/** Most leave while the mirror stands still; only a thorough run waits until everything is written. */
const LEAVING = isThorough ? 0 : CLIENT_COUNT - 4;
const WRITE_BYTES = MIB;
const MEMORY_BYTES = 288 * MIB;
const STOPS = isThorough ? 20 : 1;
const STOP_MS = 600;
const RUN_MS = 400;

const test = suite("memory limit");

test("64 clients and a mirror that stands still", async () => {
  const obstacle = cgroupObstacle();
  if (obstacle !== null) skip(obstacle);
  const volume = { logSize: "64MiB" };
  const pair = await ProcessPair.create({
    sizeBytes: CLIENT_COUNT * WRITE_BYTES,
    volume,
    mirrorTimeoutMs: 20_000,
    portSeed: 8_000,
  });
  const group = new ProcessCgroup(MEMORY_BYTES);
  try {
    await pair.mirror.start();
    await pair.source.start(group.command);
    await pair.inSync();
    const clients = await Promise.all(Array.from({ length: CLIENT_COUNT }, () => pair.source.connect()));
    const writers = clients.map((client, at) => new Writer(client, at));
    const over = Promise.all(writers.map((writer) => writer.run()));
    for (let stop = 0; stop < STOPS; stop++) {
      process.kill(pair.mirror.process.pid, "SIGSTOP");
      await pause(STOP_MS);
      for (const writer of writers.splice(0, LEAVING)) writer.leave();
      process.kill(pair.mirror.process.pid, "SIGCONT");
      await pause(RUN_MS);
    }
    for (const writer of writers) writer.stop();
    await over;
    for (const writer of writers) await writer.verify();
    const total = writers.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
    assert.ok(total >= writers.length * QUEUE_DEPTH, `${total} writes`);
    const peak = group.peakBytes;
    console.log(`    ${total} MiB written by ${CLIENT_COUNT} clients, at most ${(peak ?? 0) / MIB} MiB used`);
    await Promise.all(writers.map((writer) => writer.disconnect()));
    await pair.source.stop();
  } finally {
    await pair.close();
    await group.close();
  }
});

/** Writes its own part of the volume, over and over. */
class Writer {
  acknowledged = 0;
  readonly #client: NbdClient;
  readonly #offset: number;
  #round = 0;
  #isStopping = false;
  #hasLeft = false;

  constructor(client: NbdClient, at: number) {
    this.#client = client;
    this.#offset = at * WRITE_BYTES;
  }

  async run(): Promise<void> {
    while (!this.#isStopping) {
      this.#round++;
      // The same in all that are on their way together: they may be applied in any order.
      const data = this.#content();
      await Promise.all(Array.from({ length: QUEUE_DEPTH }, () => this.#write(data)));
    }
  }

  stop(): void {
    this.#isStopping = true;
  }

  /** Without a word, and without its answers. */
  leave(): void {
    this.stop();
    this.#hasLeft = true;
    this.#client.destroy();
  }

  disconnect(): Promise<void> {
    return this.#client.disconnect();
  }

  async verify(): Promise<void> {
    const found = await this.#client.read(this.#offset, WRITE_BYTES);
    const expected = this.#content();
    assert.ok(
      found.every((byte, at) => byte === expected[at]),
      `what was written at ${this.#offset}`,
    );
  }

  #content(): Uint8Array {
    return new Uint8Array(WRITE_BYTES).fill(1 + ((this.#offset / WRITE_BYTES + this.#round) % 250));
  }

  async #write(data: Uint8Array): Promise<void> {
    try {
      await this.#client.write(this.#offset, data);
      this.acknowledged++;
    } catch (error) {
      if (!this.#hasLeft) throw error;
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

test.run();
