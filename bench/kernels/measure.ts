// Runs kernels through benny, and makes rows of them: GB/s of source data, as a quarter of the samples reach
// or exceed (others use the machine too; what was interrupted says nothing about a kernel). benny's own
// report is not used: it has no bytes.

import benny from "benny";
import type { Params, Recorder } from "../support/rows.ts";

export interface Case {
  readonly who: string;
  readonly what: string;
  readonly params: Params;
  /** Source bytes of one call. */
  readonly bytes: number;
  readonly run: () => unknown;
}

/** Warm: the same data again and again. Memory: the next data each time, more of it than the caches hold. */
export const PLACES = ["warm", "memory"] as const;
export type Place = (typeof PLACES)[number];

/** More than any cache of a processor that this may run on. */
export const MEMORY_BYTES = 192 * 1024 ** 2;

/**
 * Many short samples, like those of the C program: on a machine that is shared, a long one always holds a
 * time in which somebody else was running.
 */
const SAMPLES = { minTime: 0.002, minSamples: 25, maxTime: 0.1 };
const QUICK = { minSamples: 9, maxTime: 0.05 };

const WARM_UP_MS = 40;

/** Of what benny counts as one call. */
const SAMPLE_BYTES = 512 * 1024;

export async function measure(recorder: Recorder, cases: readonly Case[]): Promise<void> {
  const options = { ...SAMPLES, ...(recorder.isQuick ? QUICK : {}) };
  for (const each of cases) {
    const { who, what, params, bytes, run } = each;
    warmUp(run);
    const calls = Math.ceil(SAMPLE_BYTES / bytes);
    const seconds = quartile(await sample(what, repeat(run, calls), options)) / calls;
    recorder.add(who, { kernel: what, ...params }, "throughput", bytes / seconds / 1e9, "GB/s");
  }
}

/** A quarter of the samples took no longer. */
function quartile(seconds: readonly number[]): number {
  return [...seconds].sort((a, b) => a - b)[seconds.length >> 2]!;
}

/** benny announces every suite on the console; here each is one case. */
async function sample(what: string, run: () => unknown, options: object): Promise<readonly number[]> {
  const { log } = console;
  console.log = () => {};
  try {
    const summary = await benny.suite(what, benny.add(what, run, options));
    return summary.results[0]!.details.sampleResults;
  } finally {
    console.log = log;
  }
}

/** benny takes some hundred nanoseconds around what it calls: as much as a kernel does for a small unit. */
function repeat(run: () => unknown, calls: number): () => void {
  return () => {
    for (let i = 0; i < calls; i++) run();
  };
}

/** Until the optimizing compiler, which works beside us, is done: or the first samples would be others. */
function warmUp(run: () => unknown): void {
  const end = performance.now() + WARM_UP_MS;
  do for (let i = 0; i < 16; i++) run();
  while (performance.now() < end);
}
