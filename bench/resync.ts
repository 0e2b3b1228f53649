// Everything at once: a mirror that has nothing is brought up to date, and a volume is checked offline in
// full. Both beside what reading and writing the same amount of bytes in order costs on the same file system.

import { closeSync, fdatasyncSync, openSync, readSync, writeFileSync, writeSync } from "node:fs";
import { mirrorvol } from "../examples/support/processes.ts";
import { Volume } from "../src/index.ts";
import { type BenchFolder, withFolder } from "./support/folders.ts";
import { untilInSync } from "./support/in_sync.ts";
import { fill, payload } from "./support/load.ts";
import { MirrorNode } from "./support/mirror_node.ts";
import { makeVolume } from "./support/pair.ts";
import type { Recorder } from "./support/rows.ts";
import { MIB, type Shape, shapeName, VOLUME, volumeEntry } from "./support/shape.ts";
import { VolumeTarget } from "./support/volume_target.ts";

const PIECE_BYTES = 4 * MIB;

export async function resync(recorder: Recorder): Promise<void> {
  await withFolder((folder) => measureAll(folder, recorder));
}

async function measureAll(folder: BenchFolder, recorder: Recorder): Promise<void> {
  const bytes = (recorder.isQuick ? 64 : 512) * MIB;
  const shape: Shape = { sizeBytes: 2 * bytes, memberCount: 4, parity: 1, logCopies: 2, logBytes: 64 * MIB };
  const options = await makeVolume(folder, "source", shape);
  await fillAlone(options, bytes);
  const params = { volume: shapeName(shape), data: `${bytes / MIB} MiB` };
  const addRate = (who: string, what: string, ms: number) =>
    recorder.add(who, { what, ...params }, "throughput", bytes / ms / 1e3, "MB/s");

  addRate(
    "sequential",
    "write and sync",
    timed(() => writeInOrder(folder.at("floor"), bytes)),
  );
  addRate(
    "sequential",
    "read",
    timed(() => readInOrder(folder.at("floor"), bytes)),
  );
  addRate("mirrorvol", "check", await checkOffline(folder, shape));
  addRate("mirrorvol", "first sync", await firstSync(folder, options, shape));
}

async function fillAlone(options: Parameters<typeof Volume.open>[0], bytes: number): Promise<void> {
  const volume = await Volume.open(options);
  await fill(new VolumeTarget(volume), bytes);
  await volume.consistencyPoint();
  await volume.close();
}

async function checkOffline(folder: BenchFolder, shape: Shape): Promise<number> {
  const config = folder.at("node.json");
  writeFileSync(config, JSON.stringify({ volumes: { [VOLUME]: volumeEntry(shape, folder.at("source")) } }));
  const startMs = performance.now();
  await mirrorvol("check", "--config", config);
  return performance.now() - startMs;
}

/** From the source's opening until both are in sync. */
async function firstSync(
  folder: BenchFolder,
  options: Parameters<typeof Volume.open>[0],
  shape: Shape,
): Promise<number> {
  const mirror = await MirrorNode.start(folder.at("mirror"), shape);
  const startMs = performance.now();
  const volume = await Volume.open({ ...options, mirror: { url: mirror.url } });
  await untilInSync(() => volume.status());
  const ms = performance.now() - startMs;
  await volume.close();
  await mirror.stop();
  return ms;
}

function timed(work: () => void): number {
  const startMs = performance.now();
  work();
  return performance.now() - startMs;
}

function writeInOrder(path: string, bytes: number): void {
  const piece = payload(PIECE_BYTES, 1);
  const file = openSync(path, "w");
  for (let at = 0; at < bytes; at += PIECE_BYTES) writeSync(file, piece, 0, PIECE_BYTES, at);
  fdatasyncSync(file);
  closeSync(file);
}

/** From the page cache, as the others do it. */
function readInOrder(path: string, bytes: number): void {
  const piece = new Uint8Array(PIECE_BYTES);
  const file = openSync(path, "r");
  for (let at = 0; at < bytes; at += PIECE_BYTES) readSync(file, piece, 0, PIECE_BYTES, at);
  closeSync(file);
}
