// Which code of the engine an input reached, by V8's own counters: no instrumentation, no addon.
//
// Taking the counters costs milliseconds, far more than most inputs. So they are taken once for a batch; only a
// batch that reached something new is run again, in halves, to find who it was. Counting itself slows the code
// down three times and more: when nothing new was found for long, the fuzzer closes this and goes on without.
//
// V8 reports, for every function that ran, ranges with counts, outer ones first; a range appears only where its
// count differs from the one around it. So ranges are no stable names of blocks: what is remembered is, for each
// function, which of its characters have ever been covered.

import { Session } from "node:inspector";

interface CoverageRange {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

interface FunctionCoverage {
  readonly ranges: readonly CoverageRange[];
}

/** Only the engine counts, wherever it was built to. */
const ENGINE = /\/src\/(?!kernel\/wasm)/;
const OUTSIDE = /\/node_modules\//;

/** What nothing reached before: characters of functions. */
export type Fresh = ReadonlyMap<string, Uint8Array>;

export class Coverage {
  readonly #session = new Session();
  readonly #seen = new Map<string, Uint8Array>();
  #points = 0;

  constructor() {
    this.#session.connect();
    this.#post("Profiler.enable");
    this.#post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Characters of the engine's code that were learned so far. */
  get points(): number {
    return this.#points;
  }

  /** What ran since the last call and was not learned yet; null if that is nothing. */
  take(): Fresh | null {
    const fresh = new Map<string, Uint8Array>();
    const { result } = this.#post("Profiler.takePreciseCoverage") as {
      result: { url: string; functions: FunctionCoverage[] }[];
    };
    for (const { url, functions } of result) {
      if (!ENGINE.test(url) || OUTSIDE.test(url)) continue;
      for (const { ranges } of functions) this.#look(url, ranges, fresh);
    }
    return fresh.size > 0 ? fresh : null;
  }

  learn(fresh: Fresh): void {
    for (const [name, covered] of fresh) {
      const seen = this.#seen.get(name) ?? new Uint8Array(covered.length);
      this.#seen.set(name, seen);
      for (let at = 0; at < covered.length; at += 1) {
        if (covered[at] === 0 || seen[at] === 1) continue;
        seen[at] = 1;
        this.#points += 1;
      }
    }
  }

  /** From here on the code runs at full speed again. */
  close(): void {
    this.#post("Profiler.stopPreciseCoverage");
    this.#session.disconnect();
  }

  #look(url: string, ranges: readonly CoverageRange[], fresh: Map<string, Uint8Array>): void {
    const [whole] = ranges;
    if (whole === undefined || whole.count === 0) return;
    const start = whole.startOffset;
    const name = `${url}:${start}:${whole.endOffset}`;
    const covered = new Uint8Array(whole.endOffset - start);
    for (const { startOffset, endOffset, count } of ranges) {
      covered.fill(count > 0 ? 1 : 0, startOffset - start, endOffset - start);
    }
    const seen = this.#seen.get(name);
    if (covered.some((is, at) => is === 1 && seen?.[at] !== 1)) fresh.set(name, covered);
  }

  /** Calls back before it returns, as all commands of the profiler do. */
  #post(method: string, params: object = {}): unknown {
    let answer: unknown;
    this.#session.post(method, params, (error, result) => {
      if (error !== null) throw error;
      answer = result;
    });
    return answer;
  }
}
