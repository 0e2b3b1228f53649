// Random runs: clients write, links break, machines stop and come back in any order, time passes. Nothing that
// was acknowledged or read is ever lost, and in the end both sides are equal. Each seed is a run of its own; a
// failure names it.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";
import { content, randomFrom } from "../volume/fixture.ts";
import { Pair, TIMEOUT_MS } from "./pair.ts";

export const deadlineMs = 300_000;

const test = suite("torture");
const LBAS = 32;
const STEPS = 40;

/** A model of the volume: per block what it holds for certain, and what it may hold. */
class Expectation {
  readonly certain = new Array<number>(LBAS).fill(0);
  readonly possible: Set<number>[] = Array.from({ length: LBAS }, () => new Set());

  async write(pair: Pair, lba: number, version: number): Promise<void> {
    this.possible[lba]!.add(version);
    await pair.source.volume.write(lba * BLOCK_BYTES, content(lba, version));
    this.#settle(lba, version);
  }

  /** Versions are written in ascending order, one at a time for each block. */
  #settle(lba: number, version: number): void {
    if (version <= this.certain[lba]!) return;
    this.certain[lba] = version;
    for (const each of this.possible[lba]!) if (each <= version) this.possible[lba]!.delete(each);
  }

  check(lba: number, block: Uint8Array): void {
    const allowed = [this.certain[lba]!, ...this.possible[lba]!];
    const found = allowed.find((version) => isVersion(block, lba, version));
    const actual = Array.from({ length: 2000 }, (_, version) => version);
    const holds = found ?? actual.find((version) => isVersion(block, lba, version));
    assert.ok(found !== undefined, `block ${lba} holds version ${holds}, none of ${allowed}`);
    // Once read, a value stays; an older one that was in doubt cannot come back either.
    this.certain[lba] = found!;
    this.possible[lba]!.clear();
  }
}

function isVersion(block: Uint8Array, lba: number, version: number): boolean {
  const expected = version === 0 ? new Uint8Array(BLOCK_BYTES) : content(lba, version);
  return block.every((byte, i) => byte === expected[i]);
}

class Run {
  readonly pair: Pair;
  readonly expectation = new Expectation();
  readonly #random: (max: number) => number;
  #version = 1;
  #isSourceUp = true;
  #isMirrorUp = true;
  /** Blocks with a write under way. */
  readonly #busy = new Set<number>();

  constructor(pair: Pair, seed: number) {
    this.pair = pair;
    this.#random = randomFrom(seed * 7919 + 13);
    for (let i = 0; i < 8; i++) this.#random(2);
  }

  async step(): Promise<void> {
    const kind = this.#random(24);
    if (kind < 9) this.#write(1 + this.#random(8));
    else if (kind < 11) this.#consistencyPoint();
    else if (kind < 13) this.pair.cut();
    else if (kind < 14) this.pair.loseAll();
    else if (kind < 16) this.pair.network.isDown = !this.pair.network.isDown;
    else if (kind < 18) await this.#toggleSource();
    else if (kind < 20) await this.#toggleMirror();
    else if (kind < 22) await this.pair.clock.advance(this.#random(3 * TIMEOUT_MS));
    else await this.#read();
    for (let turn = this.#random(30); turn > 0; turn--) await settle();
  }

  async end(): Promise<void> {
    const { pair } = this;
    pair.network.isDown = false;
    if (!this.#isMirrorUp) await this.#toggleMirror();
    if (!this.#isSourceUp) await this.#toggleSource();
    await pair.untilInSync();
    await pair.until("every write has ended", () => this.#busy.size === 0);
    for (let lba = 0; lba < LBAS; lba++) {
      const read = pair.source.volume.read(lba * BLOCK_BYTES, BLOCK_BYTES);
      this.expectation.check(lba, await pair.waitFor("a read", read));
    }
    await pair.write(LBAS, 1);
    await pair.consistencyPoint();
    await pair.untilEqual();
    await pair.crashSource(this.#random(1000));
    await pair.until("disconnected", () => !pair.service.connected("orders"));
    await pair.waitFor("promotion", pair.service.promote("orders"));
    for (let lba = 0; lba < LBAS; lba++) {
      const read = pair.mirror.volume.read(lba * BLOCK_BYTES, BLOCK_BYTES);
      this.expectation.check(lba, await pair.waitFor("a read", read));
    }
  }

  #write(count: number): void {
    if (!this.#isSourceUp) return;
    for (let i = 0; i < count; i++) {
      const lba = this.#random(LBAS);
      if (this.#busy.has(lba)) continue;
      this.#busy.add(lba);
      const { storage } = this.pair.source;
      this.expectation
        .write(this.pair, lba, this.#version++)
        .catch(() => {})
        .finally(() => {
          if (this.pair.source.storage === storage) this.#busy.delete(lba);
        });
    }
  }

  #consistencyPoint(): void {
    if (this.#isSourceUp) this.pair.source.volume.consistencyPoint().catch(() => {});
  }

  /** A read that does not come soon is given up: the gate may be closed for long. */
  async #read(): Promise<void> {
    if (!this.#isSourceUp) return;
    const lba = this.#random(LBAS);
    if (this.#busy.has(lba)) return;
    this.#busy.add(lba);
    let block: Uint8Array | null = null;
    const abort = new AbortController();
    const { signal } = abort;
    this.pair.source.volume
      .read(lba * BLOCK_BYTES, BLOCK_BYTES, { signal })
      .then((bytes) => {
        block = bytes;
      })
      .catch(() => {});
    for (let turn = 0; turn < 50 && block === null; turn++) await settle();
    if (block !== null) this.expectation.check(lba, block);
    abort.abort();
    this.#busy.delete(lba);
  }

  async #toggleSource(): Promise<void> {
    if (this.#isSourceUp) {
      await this.pair.crashSource(this.#random(1 << 20));
      this.#busy.clear();
    } else await this.pair.openSource();
    this.#isSourceUp = !this.#isSourceUp;
  }

  async #toggleMirror(): Promise<void> {
    if (this.#isMirrorUp) await this.pair.crashMirror(this.#random(1 << 20));
    else await this.pair.openMirror();
    this.#isMirrorUp = !this.#isMirrorUp;
  }
}

async function torture(seed: number, onMirrorLoss: "stop" | "continue"): Promise<void> {
  const pair = await Pair.inSync({ target: { onMirrorLoss }, writeTimeoutMs: 5 * TIMEOUT_MS });
  const run = new Run(pair, seed);
  try {
    for (let step = 0; step < STEPS; step++) await run.step();
    await run.end();
  } catch (error) {
    throw new Error(`seed ${seed}, ${onMirrorLoss}: ${String(error)}\n${pair.describe()}`, { cause: error });
  }
}

const seeds = process.env["MIRRORVOL_SEEDS"]?.split("-").map(Number) ?? [1, 8];

for (const onMirrorLoss of ["stop", "continue"] as const) {
  test(`${onMirrorLoss}: nothing acknowledged or read is lost, and both sides end equal`, async () => {
    for (let seed = seeds[0]!; seed <= seeds[1]!; seed++) await torture(seed, onMirrorLoss);
  });
}

test.run();
