// The floor: bench/native/floor.c, on the same file system, with the same number of log copies, and with the
// same NBD hop where that is compared.

import { sleep } from "../support/clock.ts";
import type { BenchFolder } from "../support/folders.ts";
import { NbdTarget } from "../support/nbd_target.ts";
import { Program } from "../support/programs.ts";
import type { Recorder } from "../support/rows.ts";
import { Samples } from "../support/samples.ts";
import { MIB } from "../support/shape.ts";
import type { NamedLoad } from "./loads.ts";
import { record } from "./record.ts";
import type { Subject } from "./subject.ts";
import { nothingToDo } from "./subject.ts";

const LOG_BYTES = 64 * MIB;
const CALM_MS = 300;

export interface FloorOptions {
  readonly folder: BenchFolder;
  readonly program: string;
  readonly logCopies: number;
}

function logsOf({ folder, logCopies }: FloorOptions, name: string): string[] {
  return Array.from({ length: logCopies }, (_, i) => folder.at(`floor-${name}-${logCopies}-${i}`));
}

async function startMirror(options: FloorOptions, name: string): Promise<{ mirror: Program; port: string }> {
  const mirror = new Program(options.program, [
    "mirror",
    `${LOG_BYTES}`,
    ...logsOf(options, `${name}-mirror`),
  ]);
  return { mirror, port: await mirror.firstLine() };
}

export async function floorByNbd(options: FloorOptions, exportBytes: number): Promise<Subject> {
  const { mirror, port } = await startMirror(options, "nbd");
  const logs = logsOf(options, "nbd-source");
  const source = new Program(options.program, ["nbd", port, `${exportBytes}`, `${LOG_BYTES}`, ...logs]);
  const target = await NbdTarget.connect({
    port: Number(await source.firstLine()),
    name: "floor",
    isFua: true,
  });
  return {
    who: "C floor",
    params: { by: "nbd", volume: logsName(options.logCopies) },
    target,
    cps: null,
    settle: nothingToDo,
    close: async () => {
      await target.close();
      await Promise.all([source.kill(), mirror.kill()]);
    },
  };
}

/** Without any hop: the program makes the load itself, in whole batches. Only writes. */
export async function measureDirectFloor(
  recorder: Recorder,
  options: FloorOptions,
  { params, load }: NamedLoad,
): Promise<void> {
  await sleep(CALM_MS);
  const { mirror, port } = await startMirror(options, "direct");
  try {
    const { depth, bytes, seconds } = load;
    const args = ["direct", port, `${depth}`, `${bytes}`, `${seconds}`, `${LOG_BYTES}`];
    const source = new Program(options.program, [...args, ...logsOf(options, "direct-source")]);
    const [head, ...latencies] = (await source.output()).trim().split("\n");
    const [writes, elapsed] = head!.split(" ").map(Number) as [number, number];
    const samples = new Samples();
    for (const ns of latencies) samples.add(0, Number(ns) / 1e6);
    const of = { who: "C floor", params: { by: "itself", volume: logsName(options.logCopies), ...params } };
    record(recorder, of, bytes, [{ samples, operationsPerSecond: writes / elapsed }], null);
  } finally {
    await mirror.kill();
  }
}

function logsName(copies: number): string {
  return `${copies} log${copies > 1 ? "s" : ""}`;
}
