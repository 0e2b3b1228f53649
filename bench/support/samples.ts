// Latencies of one load: when each operation began and ended. They are sorted into histograms afterwards, since
// whether a consistency point ran at that time is known only when it has ended.

import { createHistogram, type RecordableHistogram } from "node:perf_hooks";

/** A time in which something ran. */
export interface Interval {
  readonly startMs: number;
  readonly endMs: number;
}

export class Samples {
  count = 0;
  #starts = new Float64Array(1 << 16);
  #ends = new Float64Array(1 << 16);

  add(startMs: number, endMs: number): void {
    if (this.count === this.#starts.length) this.#grow();
    this.#starts[this.count] = startMs;
    this.#ends[this.count++] = endMs;
  }

  startMs(index: number): number {
    return this.#starts[index]!;
  }

  endMs(index: number): number {
    return this.#ends[index]!;
  }

  #grow(): void {
    const starts = new Float64Array(2 * this.count);
    const ends = new Float64Array(2 * this.count);
    starts.set(this.#starts);
    ends.set(this.#ends);
    this.#starts = starts;
    this.#ends = ends;
  }
}

export interface Split {
  readonly all: RecordableHistogram;
  /** Operations during which a consistency point ran, if only for a part of them. */
  readonly during: RecordableHistogram;
  readonly between: RecordableHistogram;
}

export function emptySplit(): Split {
  return { all: createHistogram(), during: createHistogram(), between: createHistogram() };
}

/** The intervals are in order and do not overlap. */
export function sortInto(split: Split, samples: Samples, intervals: readonly Interval[]): void {
  for (let index = 0; index < samples.count; index++) {
    const [startMs, endMs] = [samples.startMs(index), samples.endMs(index)];
    const ns = Math.max(1, Math.round((endMs - startMs) * 1e6));
    split.all.record(ns);
    (isWithin(startMs, endMs, intervals) ? split.during : split.between).record(ns);
  }
}

/** Did any interval run at some time from start to end? */
export function isWithin(startMs: number, endMs: number, intervals: readonly Interval[]): boolean {
  let [low, high] = [0, intervals.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (intervals[middle]!.endMs <= startMs) low = middle + 1;
    else high = middle;
  }
  return low < intervals.length && intervals[low]!.startMs < endMs;
}

export const PERCENTILES = [
  ["p50", 50],
  ["p99", 99],
  ["p99.9", 99.9],
] as const;

/** Microseconds by name; nothing for a histogram that is empty. */
export function percentiles(histogram: RecordableHistogram): [name: string, us: number][] {
  if (histogram.count === 0) return [];
  const named = PERCENTILES.map(([name, at]): [string, number] => [name, histogram.percentile(at) / 1e3]);
  return [...named, ["max", histogram.max / 1e3]];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
