// The rows of one load: rate, bytes, percentiles; those split by whether a consistency point ran.

import type { RecordableHistogram } from "node:perf_hooks";
import type { LoadResult } from "../support/load.ts";
import type { Figure, Params, Recorder } from "../support/rows.ts";
import { emptySplit, type Interval, median, percentiles, sortInto } from "../support/samples.ts";

/** The rate is the median of the rounds, the percentiles are over all of them. */
export function record(
  recorder: Recorder,
  { who, params }: { readonly who: string; readonly params: Params },
  bytes: number,
  results: readonly LoadResult[],
  cps: readonly Interval[] | null,
): void {
  const rate = median(results.map(({ operationsPerSecond }) => operationsPerSecond));
  const split = emptySplit();
  for (const { samples } of results) sortInto(split, samples, cps ?? []);
  const rates: Figure[] = [
    ["rate", rate, "1/s"],
    ["throughput", (rate * bytes) / 1e6, "MB/s"],
  ];
  recorder.addAll(who, params, [...rates, ...inMicroseconds(split.all)]);
  // What never ran has no percentiles to compare.
  if (split.during.count === 0 || split.between.count === 0) return;
  recorder.addAll(who, { ...params, cp: "running" }, inMicroseconds(split.during));
  recorder.addAll(who, { ...params, cp: "none" }, inMicroseconds(split.between));
}

function inMicroseconds(histogram: RecordableHistogram): Figure[] {
  const named = percentiles(histogram).map(([name, us]): Figure => [name, us, "us"]);
  return [...named, ["operations", histogram.count, "1"]];
}
