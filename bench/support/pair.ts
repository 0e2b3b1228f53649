// A source's volume, made and not opened, and the node that mirrors it, running.

import { mkdirSync } from "node:fs";
import { type OpenVolumeOptions, Volume } from "../../src/index.ts";
import { nowMs } from "./clock.ts";
import type { BenchFolder } from "./folders.ts";
import { untilInSync } from "./in_sync.ts";
import { MirrorNode } from "./mirror_node.ts";
import type { Interval } from "./samples.ts";
import { type Shape, volumeConfig } from "./shape.ts";

export interface Pair {
  readonly mirror: MirrorNode;
  /** With the mirror's address. */
  readonly options: OpenVolumeOptions;
}

/** `name` tells apart the pairs of one folder. */
export async function makePair(folder: BenchFolder, name: string, shape: Shape): Promise<Pair> {
  const options = await makeVolume(folder, `${name}-source`, shape);
  const mirror = await MirrorNode.start(folder.at(`${name}-mirror`), shape);
  return { mirror, options: { ...options, mirror: { url: mirror.url } } };
}

export async function makeVolume(
  folder: BenchFolder,
  name: string,
  shape: Shape,
): Promise<OpenVolumeOptions> {
  mkdirSync(folder.at(name));
  const config = volumeConfig(shape, folder.at(name));
  await Volume.create(config);
  return config;
}

/** The source in this process, in sync. */
export async function openSource(options: OpenVolumeOptions): Promise<Volume> {
  const volume = await Volume.open(options);
  await untilInSync(() => volume.status());
  return volume;
}

/** When consistency points run, from now on. */
export function watchCps(volume: Volume): readonly Interval[] {
  const cps: Interval[] = [];
  volume.addEventListener("consistencypoint", (event) => {
    const endMs = nowMs();
    cps.push({ startMs: endMs - (event as CustomEvent<{ ms: number }>).detail.ms, endMs });
  });
  return cps;
}
