// Rounds of kill -9 on the same volumes, so that each recovery builds on all the ones before. A round puts load on
// a node, kills at a moment that the seed chooses, starts again, and reads everything back.
//
//   lone      a volume without a mirror
//   source    the source of a pair; it comes back
//   mirror    the mirror of a pair, under load, which goes on when it is back
//   both      both at once; they come back together
//   promote   the source; its mirror is promoted, serves, and is killed too; the old source comes back, finds that
//             it must not serve, and becomes the mirror of the new one
//
// Sometimes a node is killed once more while it recovers, and before some starts its files are checked offline.
import { assert } from "./harness.ts";
import { SeededRandom } from "./memory_random.ts";
import { checkOffline } from "./process_check.ts";
import { ProcessLoad } from "./process_load.ts";
import { ProcessPair } from "./process_pair.ts";
import { MIB, ProcessSide } from "./process_side.ts";

const SIZE_BYTES = 4 * MIB;
/** A log half takes about a hundred writes. */
const WRITES_MAX = 250;
/** A node is ready after a few hundred milliseconds. */
const KILL_WITHIN_MS = 400;
const KILL_AGAIN_CHANCE = 0.15;
const CHECK_CHANCE = 0.1;
const VOLUME = { cpInterval: "200ms" };
/** Short, so that a source soon looks for its mirror again. */
const MIRROR_TIMEOUT_MS = 1_000;
const LOOK_MS = 20;
const WAIT_MS = 20_000;

export interface Rounds {
  /** Returns what was done, in a few words. */
  round(): Promise<string>;
  /** What must hold at the end. */
  finish(): Promise<void>;
  /** Ends the processes and removes the files. */
  close(): Promise<void>;
}

/** What rounds on a lone volume and on a pair have in common. */
class Killer {
  readonly random: SeededRandom;
  readonly load: ProcessLoad;
  /** By side: what must not go back. */
  readonly #positions = new Map<ProcessSide, { generation: number; sequence: number; cp: number }>();

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.load = new ProcessLoad(SIZE_BYTES, seed);
  }

  get writeCount(): number {
    return 1 + this.random.below(WRITES_MAX);
  }

  /** Starts a node that was killed. */
  async restart(side: ProcessSide): Promise<void> {
    if (this.random.chance(CHECK_CHANCE)) await checkOffline(side);
    if (this.random.chance(KILL_AGAIN_CHANCE)) await side.startAndKill(this.random.below(KILL_WITHIN_MS));
    await side.start();
  }

  /** Of a volume that serves: its image never goes back, nor its log behind what was acknowledged. */
  async verify(side: ProcessSide, when: string): Promise<void> {
    await this.load.verify(side, when);
    const { state, generation, acknowledgedSequence: sequence, cp } = await side.status();
    assert.is(state, "serving", when);
    const last = this.#positions.get(side) ?? { generation: 0, sequence: 0, cp: 0 };
    const isForward = generation >= last.generation && sequence >= last.sequence && cp >= last.cp;
    const now = { generation, sequence, cp };
    assert.ok(isForward, `${when}: ${JSON.stringify(last)} was there before, now ${JSON.stringify(now)}`);
    this.#positions.set(side, now);
  }
}

export class LoneRounds implements Rounds {
  readonly side: ProcessSide;
  readonly #killer: Killer;

  static async create(seed: number): Promise<LoneRounds> {
    const shape = { sizeBytes: SIZE_BYTES, memberCount: 3, parity: 1 };
    return new LoneRounds(await ProcessSide.create({ ...shape, volume: VOLUME }), new Killer(seed));
  }

  private constructor(side: ProcessSide, killer: Killer) {
    this.side = side;
    this.#killer = killer;
  }

  get load(): ProcessLoad {
    return this.#killer.load;
  }

  async round(): Promise<string> {
    const { side } = this;
    const killer = this.#killer;
    if (!side.isRunning) await side.start();
    const writes = killer.writeCount;
    await killer.load.untilKilled(side, writes, () => side.kill());
    await killer.restart(side);
    await killer.verify(side, `killed after ${writes} writes`);
    return `lone, killed after ${writes} writes`;
  }

  async finish(): Promise<void> {
    assert.ok(this.load.blocksInDoubt > 0, "no kill came in mid-write");
    await this.side.stop();
    await checkOffline(this.side);
    await this.side.start();
    await this.#killer.verify(this.side, "after an orderly end");
  }

  close(): Promise<void> {
    return this.side.close();
  }
}

export type PairRound = "source" | "mirror" | "both" | "promote";

const PAIR_ROUNDS: readonly PairRound[] = ["source", "mirror", "both", "promote"];

export class PairRounds implements Rounds {
  /** Old sources that were made anew. */
  divergences = 0;
  readonly #pair: ProcessPair;
  readonly #killer: Killer;
  #next = 0;

  static async create(seed: number): Promise<PairRounds> {
    const options = { mirrorTimeoutMs: MIRROR_TIMEOUT_MS, volume: VOLUME, portSeed: seed };
    const pair = await ProcessPair.create({ sizeBytes: SIZE_BYTES, ...options });
    try {
      await pair.start();
      return new PairRounds(pair, new Killer(seed));
    } catch (error) {
      await pair.close();
      throw error;
    }
  }

  private constructor(pair: ProcessPair, killer: Killer) {
    this.#pair = pair;
    this.#killer = killer;
  }

  get load(): ProcessLoad {
    return this.#killer.load;
  }

  /** The kinds take turns. */
  async round(): Promise<string> {
    const kind = PAIR_ROUNDS[this.#next++ % PAIR_ROUNDS.length]!;
    const writes = this.#killer.writeCount;
    await this.#rounds[kind](writes, `${kind}, killed after ${writes} writes`);
    await this.#pair.inSync();
    return `${kind}, killed after ${writes} writes`;
  }

  async finish(): Promise<void> {
    assert.ok(this.load.blocksInDoubt > 0, "no kill came in mid-write");
    await this.#pair.source.kill();
    await this.#promote("at the end");
    await this.#pair.mirror.stop();
    await checkOffline(this.#pair.mirror);
    await checkOffline(this.#pair.source);
  }

  close(): Promise<void> {
    return this.#pair.close();
  }

  readonly #rounds: Record<PairRound, (writes: number, when: string) => Promise<void>> = {
    source: async (writes, when) => {
      const { source } = this.#pair;
      await this.load.untilKilled(source, writes, () => source.kill());
      await this.#killer.restart(source);
      await this.#killer.verify(source, when);
    },
    mirror: async (writes, when) => {
      const { source, mirror } = this.#pair;
      await this.load.throughout(source, writes, async () => {
        await mirror.kill();
        await this.#killer.restart(mirror);
      });
      await this.#killer.verify(source, when);
    },
    both: async (writes, when) => {
      const { source, mirror } = this.#pair;
      await this.load.untilKilled(source, writes, async () => {
        await Promise.all([source.kill(), mirror.kill()]);
      });
      await Promise.all([this.#killer.restart(mirror), this.#killer.restart(source)]);
      await this.#killer.verify(source, when);
    },
    promote: async (writes, when) => {
      const { source, mirror } = this.#pair;
      await this.load.untilKilled(source, writes, () => source.kill());
      await this.#promote(when);
      await this.load.untilKilled(mirror, this.#killer.writeCount, () => mirror.kill());
      await this.#killer.restart(mirror);
      await this.#killer.verify(mirror, `${when}, and the promoted mirror too`);
      await this.#killer.restart(source);
      await this.#refused(source);
      await Promise.all([source.kill(), mirror.kill()]);
      await this.#rejoin();
      await this.#killer.verify(mirror, `${when}, with the roles exchanged`);
    },
  };

  /** The mirror alone has everything, and is as good as its source was. */
  async #promote(when: string): Promise<void> {
    await this.#pair.promote();
    assert.is((await this.#pair.mirror.status()).role, "source");
    await this.#killer.verify(this.#pair.mirror, `${when}, on the promoted mirror`);
  }

  /**
   * The old source becomes the mirror of the new one. What it had synced and the new one lacks was in doubt, but it
   * cannot know that: then the two have diverged, and a person gives up what it has.
   */
  async #rejoin(): Promise<void> {
    const pair = this.#pair;
    pair.exchange();
    await Promise.all([pair.mirror.start(), pair.source.start()]);
    if ((await pair.settled()) === "in sync") return;
    this.divergences++;
    await pair.mirror.kill();
    await pair.mirror.createAnew();
    await pair.mirror.start();
    await pair.inSync();
  }

  /** The old source has heard from its mirror that it is none, and nobody can read from it. */
  async #refused(source: ProcessSide): Promise<void> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const { state, reason } = await source.status();
      if (state === "refused") return;
      if (performance.now() > deadline) throw new Error(`the old source is ${state}: ${reason}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
}
