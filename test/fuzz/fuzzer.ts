// One target, fuzzed: inputs are made, sealed, run and judged; what did something new joins the pool.
//
// New is an input that reached code of the engine that no input before it had reached (coverage.ts, where the
// runtime has it), or whose verdict has a text that is new. The generator is seeded with the target's name and
// the seed, so the same inputs come again, on every runtime without coverage to the last bit.

import { SeededRandom } from "../support/memory_random.ts";
import { mutate } from "./mutator.ts";
import { shrink } from "./shrink.ts";
import { ACCEPTED, shapeOf, type Target, type Verdict } from "./target.ts";

/** What the fuzzer needs of coverage; absent where there is none, and in `npm test`. */
export interface CoverageProbe<F = unknown> {
  /** What ran since the last call and is new, or null. */
  take(): F | null;
  learn(fresh: F): void;
  close(): void;
}

export interface Limits {
  readonly inputs: number;
  readonly seed: number;
  /** Ends at this time on the clock of `nowMs`, whatever is left of the inputs. */
  readonly endMs?: number;
}

export interface FuzzerOptions {
  readonly target: Target;
  readonly coverage?: CoverageProbe;
  readonly nowMs: () => number;
  /** Heap and buffers in use; absent: memory is not watched. */
  readonly memoryBytes?: () => number;
  /** Told before each run: if that never ends, somebody else knows with what. */
  readonly onRun?: (input: Uint8Array) => void;
  readonly onInteresting?: (input: Uint8Array) => void;
  /** What was thrown outside of any call since it was last asked. */
  readonly takeStray?: () => Promise<unknown>;
}

export interface Found {
  readonly input: Uint8Array;
  readonly error: unknown;
}

export interface Report {
  readonly inputs: number;
  readonly accepted: number;
  readonly verdicts: number;
  readonly interesting: number;
  readonly found: Found | null;
}

/** An input that takes longer is taken for a hang that ended. */
const SLOW_MS = 3_000;
const DEADLINE_MS = 10_000;
/** What one input may take of memory, beside what the machine behind a target needs anyway. */
const MEMORY_BYTES_MAX = 64 * 1024 * 1024;
const POOL_MAX = 2_000;
const BATCH = 256;
/** After so many inputs without anything new, the rest runs without coverage, at full speed. */
const QUIET_BATCHES = 60;
const SEALED = 0.85;

export class Fuzzer {
  readonly #options: FuzzerOptions;
  readonly #target: Target;
  readonly #pool: Uint8Array[] = [];
  readonly #verdicts = new Set<Verdict>();
  #inputs = 0;
  #accepted = 0;
  #interesting = 0;
  /** Null when it is not there, or not any more. */
  #coverage: CoverageProbe | null;
  #quietBatches = 0;

  constructor(options: FuzzerOptions) {
    this.#options = options;
    this.#target = options.target;
    this.#coverage = options.coverage ?? null;
  }

  /** Runs an input as it is; throws what is wrong. */
  async check(input: Uint8Array): Promise<Verdict> {
    const { nowMs, onRun, takeStray } = this.#options;
    onRun?.(input);
    const startMs = nowMs();
    const given = input.slice();
    const verdict = this.#target.check(given);
    const result = typeof verdict === "string" ? verdict : await withDeadline(verdict);
    const stray = await takeStray?.();
    if (stray !== undefined) throw stray;
    if (nowMs() - startMs > SLOW_MS) throw new Error(`took ${Math.round(nowMs() - startMs)} ms`);
    return result;
  }

  /** Seeds and kept inputs first, then new ones until a limit is reached or something is found. */
  async run(kept: readonly Uint8Array[], limits: Limits): Promise<Report> {
    const seeds = await this.#target.seeds();
    const found = (await this.#runKnown([...seeds, ...kept])) ?? (await this.#runFresh(limits));
    return {
      inputs: this.#inputs,
      accepted: this.#accepted,
      verdicts: this.#verdicts.size,
      interesting: this.#interesting,
      found: found === null ? null : await this.#shrunk(found),
    };
  }

  async #runKnown(inputs: readonly Uint8Array[]): Promise<Found | null> {
    this.#pool.push(...inputs, new Uint8Array(0));
    for (const input of inputs) {
      const error = await this.#try(input);
      if (error !== null) return { input, error };
    }
    this.#learn(this.#coverage?.take());
    return null;
  }

  async #runFresh({ inputs, seed, endMs = Number.POSITIVE_INFINITY }: Limits): Promise<Found | null> {
    const { nowMs, memoryBytes } = this.#options;
    const random = new SeededRandom(seedFor(this.#target.name, seed));
    const batchMax = this.#target.batch ?? BATCH;
    for (let left = inputs; left > 0 && nowMs() < endMs; left -= batchMax) {
      const batch = Array.from({ length: Math.min(batchMax, left) }, () => this.#make(random));
      const before = memoryBytes?.() ?? 0;
      for (const input of batch) {
        const error = await this.#try(input);
        if (error !== null) return { input, error };
      }
      const isLarge = memoryBytes !== undefined && memoryBytes() - before > MEMORY_BYTES_MAX;
      const large = isLarge ? await this.#findLarge(batch) : null;
      if (large !== null) return large;
      await this.#lookForNew(batch);
    }
    return null;
  }

  #make(random: SeededRandom): Uint8Array {
    const { words = [], bytesMax, seal } = this.#target;
    const input = mutate(random, { pool: this.#pool, words, bytesMax });
    return seal !== undefined && random.chance(SEALED) ? seal(input) : input;
  }

  /** Null when the property held. */
  async #try(input: Uint8Array): Promise<unknown> {
    this.#inputs += 1;
    try {
      const verdict = await this.check(input);
      if (verdict === ACCEPTED) this.#accepted += 1;
      if (!this.#verdicts.has(verdict)) {
        this.#verdicts.add(verdict);
        this.#keep(input);
      }
      return null;
    } catch (error) {
      return error ?? new Error("threw nothing");
    }
  }

  async #lookForNew(batch: readonly Uint8Array[]): Promise<void> {
    const fresh = this.#coverage?.take() ?? null;
    this.#quietBatches = fresh === null ? this.#quietBatches + 1 : 0;
    if (fresh !== null) await this.#findNew(batch);
    // What only the whole batch reached, and none of its inputs alone, counts as reached as well.
    this.#learn(fresh);
    if (this.#quietBatches < QUIET_BATCHES) return;
    this.#coverage?.close();
    this.#coverage = null;
  }

  /** A batch reached something new: which of its inputs was it? */
  async #findNew(batch: readonly Uint8Array[]): Promise<void> {
    this.#coverage?.take();
    for (const input of batch) await this.check(input);
    const fresh = this.#coverage?.take() ?? null;
    if (fresh === null) return;
    if (batch.length === 1) {
      this.#learn(fresh);
      return this.#keep(batch[0]!);
    }
    const middle = batch.length >> 1;
    await this.#findNew(batch.slice(0, middle));
    await this.#findNew(batch.slice(middle));
  }

  #learn(fresh: unknown): void {
    if (fresh !== null && fresh !== undefined) this.#coverage?.learn(fresh);
  }

  async #findLarge(batch: readonly Uint8Array[]): Promise<Found | null> {
    const memoryBytes = this.#options.memoryBytes!;
    for (const input of batch) {
      const before = memoryBytes();
      await this.check(input);
      const taken = memoryBytes() - before;
      if (taken > MEMORY_BYTES_MAX) return { input, error: new Error(`takes ${taken} bytes of memory`) };
    }
    return null;
  }

  #keep(input: Uint8Array): void {
    if (this.#pool.length >= POOL_MAX) return;
    this.#pool.push(input);
    this.#interesting += 1;
    this.#options.onInteresting?.(input);
  }

  /** The smallest input that fails in the same way. */
  async #shrunk({ input, error }: Found): Promise<Found> {
    const kind = kindOf(error);
    let smallest: Found = { input, error };
    const failsAlike = async (candidate: Uint8Array) => {
      try {
        await this.check(candidate);
        return false;
      } catch (thrown) {
        if (kindOf(thrown) !== kind) return false;
        smallest = { input: candidate, error: thrown };
        return true;
      }
    };
    await shrink(input, failsAlike, this.#target.seal);
    return smallest;
  }
}

/** A promise that nobody settles is a hang, too; the timer keeps the process there to say so. */
async function withDeadline<T>(work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`did not end within ${DEADLINE_MS} ms`)), DEADLINE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function kindOf(error: unknown): string {
  return error instanceof Error ? `${error.name} ${shapeOf(error.message)}` : typeof error;
}

function seedFor(name: string, seed: number): number {
  let hash = 0x811c9dc5;
  for (const character of name) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  return (hash ^ Math.imul(seed, 0x9e3779b1)) >>> 0;
}
