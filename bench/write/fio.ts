// The same by a program that everybody knows. fio's NBD engine cannot ask for FUA: it flushes after every
// write. A mirrorvol write needs no flush after it, so it is measured without one as well.

import { isInstalled } from "../../test/support/process_programs.ts";
import { Program } from "../support/programs.ts";
import type { Figure, Params, Recorder } from "../support/rows.ts";

export interface FioTarget {
  readonly who: string;
  readonly params: Params;
  readonly uri: string;
  readonly flushes: boolean;
}

interface FioReport {
  jobs: [{ write: { iops: number; clat_ns: { percentile: Record<string, number> } } }];
}

export function fioObstacle(): string | null {
  return isInstalled("fio") ? null : "needs fio (Debian: fio)";
}

export async function measureFio(recorder: Recorder, target: FioTarget, spanBytes: number): Promise<void> {
  for (const depth of [1, 32]) {
    const report = await runFio(target, depth, spanBytes, recorder.isQuick ? 1 : 4);
    const { iops, clat_ns } = report.jobs[0].write;
    const how = target.flushes ? "fio, flush after each" : "fio";
    const params = { ...target.params, by: how, load: "write", size: "4 KiB", depth };
    const rate: Figure = ["rate", iops, "1/s"];
    // fio's latencies are those of the writes alone, without the flush after each.
    recorder.addAll(target.who, params, target.flushes ? [rate] : [rate, ...latencies(clat_ns.percentile)]);
  }
}

function latencies(percentile: Record<string, number>): Figure[] {
  const us = (key: string) => percentile[key]! / 1e3;
  return [
    ["p50", us("50.000000"), "us"],
    ["p99", us("99.000000"), "us"],
    ["p99.9", us("99.900000"), "us"],
  ];
}

async function runFio(
  { uri, flushes }: FioTarget,
  depth: number,
  bytes: number,
  seconds: number,
): Promise<FioReport> {
  const load = ["--rw=randwrite", "--bs=4k", `--iodepth=${depth}`, `--size=${bytes}`];
  const time = ["--time_based", `--runtime=${seconds}`, "--ramp_time=0.3"];
  const sync = flushes ? ["--fsync=1"] : [];
  const how = ["--name=bench", "--ioengine=nbd", `--uri=${uri}`, "--output-format=json"];
  const text = await new Program("fio", [...how, ...load, ...time, ...sync]).output();
  return JSON.parse(text.slice(text.indexOf("{"))) as FioReport;
}
