// How long the engine ever keeps the event loop of its program: an HTTP server in the same process answers a
// client in another one, while the volume is under full load. The load generator works in this loop too; what
// it takes is in the figures.

import { fork } from "node:child_process";
import { createServer, type Server } from "node:http";
import { extname } from "node:path";
import { createHistogram, monitorEventLoopDelay, type RecordableHistogram } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { KIB, sizeName } from "./kernels/sizes.ts";
import { sleep } from "./support/clock.ts";
import { type BenchFolder, withFolder } from "./support/folders.ts";
import { fill, type Load, runLoad } from "./support/load.ts";
import { makePair, openSource } from "./support/pair.ts";
import type { Figure, Params, Recorder } from "./support/rows.ts";
import { percentiles } from "./support/samples.ts";
import { MIB, type Shape, shapeName } from "./support/shape.ts";
import { VolumeTarget } from "./support/volume_target.ts";

const SHAPE: Shape = { sizeBytes: 512 * MIB, memberCount: 4, parity: 1, logCopies: 2, logBytes: 128 * MIB };
const SPAN_BYTES = 128 * MIB;
const PERIOD_MS = 2;
/** Of the monitor's timer; what it records is this and the delay. */
const RESOLUTION_MS = 1;

export async function loop(recorder: Recorder): Promise<void> {
  await withFolder((folder) => measureAll(folder, recorder));
}

async function measureAll(folder: BenchFolder, recorder: Recorder): Promise<void> {
  const seconds = recorder.isQuick ? 1.5 : 5;
  await measure(recorder, "nothing", {}, () => sleep(seconds * 1e3));
  const { mirror, options } = await makePair(folder, "loop", SHAPE);
  const volume = await openSource(options);
  try {
    const target = new VolumeTarget(volume);
    const params = { volume: shapeName(SHAPE) };
    await fill(target, SPAN_BYTES);
    await measure(recorder, "mirrorvol", { ...params, load: "idle" }, () => sleep(seconds * 1e3));
    for (const [name, bytes, depth, readShare] of [
      ["write", 4 * KIB, 32, 0],
      ["write", 128 * KIB, 8, 0],
      ["read", 4 * KIB, 32, 1],
      ["mixed", 4 * KIB, 32, 0.7],
    ] as const) {
      const load: Load = { depth, bytes, readShare, spanBytes: SPAN_BYTES, seconds, warmUpSeconds: 0 };
      const circumstances = { ...params, load: name, size: sizeName(bytes), depth };
      await measure(recorder, "mirrorvol", circumstances, () => runLoad(target, load));
      await volume.consistencyPoint();
    }
  } finally {
    await volume.close();
    await mirror.stop();
  }
}

async function measure(
  recorder: Recorder,
  who: string,
  params: Params,
  work: () => Promise<unknown>,
): Promise<void> {
  const server = createServer((_request, response) => response.end("here"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = startClient(server);
  const monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  await sleep(200);
  monitor.enable();
  await work();
  monitor.disable();
  const latencies = await stop();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  const delay = (ns: number) => Math.max(0, ns / 1e3 - RESOLUTION_MS * 1e3);
  recorder.addAll(who, { ...params, of: "loop delay" }, [
    ["p50", delay(monitor.percentile(50)), "us"],
    ["p99", delay(monitor.percentile(99)), "us"],
    ["p99.9", delay(monitor.percentile(99.9)), "us"],
    ["max", delay(monitor.max), "us"],
  ]);
  const figures = percentiles(histogramOf(latencies)).map(([name, us]): Figure => [name, us, "us"]);
  recorder.addAll(who, { ...params, of: "HTTP request" }, figures);
}

function histogramOf(latencies: readonly number[]): RecordableHistogram {
  const histogram = createHistogram();
  for (const ms of latencies) histogram.record(Math.max(1, Math.round(ms * 1e6)));
  return histogram;
}

/** Returns what stops it and gives the latencies in milliseconds. */
function startClient(server: Server): () => Promise<number[]> {
  const here = fileURLToPath(import.meta.url);
  const program = fileURLToPath(new URL(`./support/http_client_program${extname(here)}`, import.meta.url));
  const { port } = server.address() as { port: number };
  const child = fork(program, [`${port}`, `${PERIOD_MS}`]);
  return () =>
    new Promise((resolve) => {
      child.once("message", (message: { latencies: number[] }) => resolve(message.latencies));
      child.send("stop");
    });
}
