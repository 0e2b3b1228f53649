// Resident memory: of a node with one small volume that does nothing, and of two nodes with many mirrored
// volumes, each of which has been written to.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mirrorvol, NodeProcess } from "../examples/support/processes.ts";
import type { NodeStatus, ServedStatus } from "../src/node/status.ts";
import { sleep } from "./support/clock.ts";
import { type BenchFolder, withFolder } from "./support/folders.ts";
import { untilInSync } from "./support/in_sync.ts";
import { type Load, runLoad } from "./support/load.ts";
import { MirrorNode } from "./support/mirror_node.ts";
import { NbdTarget } from "./support/nbd_target.ts";
import type { Figure, Recorder } from "./support/rows.ts";
import { MIB, type Shape, volumeEntry } from "./support/shape.ts";

const SHAPE: Shape = {
  sizeBytes: 64 * MIB,
  memberCount: 2,
  parity: 1,
  logCopies: 1,
  logBytes: 8 * MIB,
};
const IDLE_MS = 1_500;

export async function memory(recorder: Recorder): Promise<void> {
  const empty = Number(evaluate("console.log(process.memoryUsage.rss())"));
  recorder.add("empty process", {}, "resident", empty / MIB, "MiB");
  await withFolder((folder) => measureIdle(folder, recorder));
  await withFolder((folder) => measureMany(folder, recorder, recorder.isQuick ? 8 : 64));
}

function evaluate(code: string): string {
  const args = "Deno" in globalThis ? ["eval", code] : ["-e", code];
  return execFileSync(process.execPath, args, { encoding: "utf8" });
}

async function measureIdle(folder: BenchFolder, recorder: Recorder): Promise<void> {
  const source = await startSource(folder, ["idle"], null);
  await sleep(IDLE_MS);
  recorder.addAll("mirrorvol", { node: "source", volumes: 1, state: "idle" }, residentOf(source.pid));
  await source.stop();
}

async function measureMany(folder: BenchFolder, recorder: Recorder, count: number): Promise<void> {
  const names = Array.from({ length: count }, (_, i) => `volume${i}`);
  const mirror = await MirrorNode.start(folder.at("mirror"), SHAPE, names);
  const source = await startSource(folder, names, mirror.url);
  try {
    const show = (state: string) => {
      recorder.addAll("mirrorvol", { node: "source", volumes: count, state }, residentOf(source.pid));
      recorder.addAll("mirrorvol", { node: "mirror", volumes: count, state }, residentOf(mirror.pid));
    };
    for (const name of names) await untilInSync(() => statusOf(source, name));
    await sleep(IDLE_MS);
    show("idle");
    await writeToAll(source, names);
    await sleep(IDLE_MS);
    show("after load");
  } finally {
    await source.stop();
    await mirror.stop();
  }
}

async function startSource(
  folder: BenchFolder,
  names: readonly string[],
  url: string | null,
): Promise<NodeProcess> {
  const at = folder.at("source");
  mkdirSync(at);
  const mirror = url === null ? {} : { mirror: { url } };
  const volumes = names.map((name) => [name, { ...volumeEntry(SHAPE, at, name), ...mirror }]);
  const listeners = { nbd: "127.0.0.1:0", http: "127.0.0.1:0" };
  const config = folder.at("source.json");
  writeFileSync(config, JSON.stringify({ ...listeners, volumes: Object.fromEntries(volumes) }));
  await mirrorvol("create", "--config", config);
  return NodeProcess.serve(config);
}

async function statusOf(node: NodeProcess, name: string): Promise<ServedStatus> {
  const response = await fetch(`http://${node.ready.http}/status`);
  const { volumes } = (await response.json()) as NodeStatus;
  return volumes.find((each) => each.name === name) as ServedStatus;
}

/** All at the same time, for a few of their consistency points. */
async function writeToAll(source: NodeProcess, names: readonly string[]): Promise<void> {
  const port = Number(source.ready.nbd!.split(":").pop());
  const load: Load = {
    depth: 2,
    bytes: 16_384,
    readShare: 0.2,
    spanBytes: SHAPE.sizeBytes / 2,
    seconds: 3,
    warmUpSeconds: 0,
  };
  const targets = await Promise.all(names.map((name) => NbdTarget.connect({ port, name, isFua: true })));
  await Promise.all(targets.map((target) => runLoad(target, load)));
  await Promise.all(targets.map((target) => target.close()));
}

/** What it has, and the most that it had. */
function residentOf(pid: number): Figure[] {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const mib = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(status)![1]) / 1024;
  return [
    ["resident", mib("VmRSS"), "MiB"],
    ["peak", mib("VmHWM"), "MiB"],
  ];
}
