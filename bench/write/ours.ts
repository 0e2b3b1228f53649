// mirrorvol under load: the source in this process (embedded) or in one of its own behind NBD, the mirror always a
// node of its own.

import { mkdirSync } from "node:fs";
import { type OpenVolumeOptions, Volume } from "../../src/index.ts";
import { nowMs } from "../support/clock.ts";
import type { BenchFolder } from "../support/folders.ts";
import { untilInSync } from "../support/in_sync.ts";
import { MirrorNode } from "../support/mirror_node.ts";
import { NbdTarget } from "../support/nbd_target.ts";
import type { Interval } from "../support/samples.ts";
import { type Shape, shapeName, VOLUME, volumeConfig } from "../support/shape.ts";
import { SourceProcess } from "../support/source_process.ts";
import { VolumeTarget } from "../support/volume_target.ts";
import type { Subject } from "./subject.ts";

const WHO = "mirrorvol";

interface Prepared {
  readonly mirror: MirrorNode;
  readonly options: OpenVolumeOptions;
}

async function prepare(folder: BenchFolder, name: string, shape: Shape): Promise<Prepared> {
  const mirror = await MirrorNode.start(folder.at(`${name}-mirror`), shape);
  const at = folder.at(`${name}-source`);
  mkdirSync(at);
  const config = volumeConfig(shape, at);
  await Volume.create(config);
  return { mirror, options: { ...config, mirror: { url: mirror.url } } };
}

export async function embedded(folder: BenchFolder, name: string, shape: Shape): Promise<Subject> {
  const { mirror, options } = await prepare(folder, name, shape);
  const volume = await Volume.open(options);
  await untilInSync(() => volume.status());
  const cps: Interval[] = [];
  volume.addEventListener("consistencypoint", (event) => {
    const endMs = nowMs();
    cps.push({ startMs: endMs - (event as CustomEvent<{ ms: number }>).detail.ms, endMs });
  });
  return {
    who: WHO,
    params: { by: "embedded", volume: shapeName(shape) },
    target: new VolumeTarget(volume),
    cps: () => cps,
    canRead: true,
    settle: async () => {
      await volume.consistencyPoint();
    },
    close: async () => {
      await volume.close();
      await mirror.stop();
    },
  };
}

export async function byNbd(
  folder: BenchFolder,
  name: string,
  shape: Shape,
): Promise<Subject & { readonly uri: string }> {
  const { mirror, options } = await prepare(folder, name, shape);
  const source = await SourceProcess.start(options);
  await untilInSync(() => source.status());
  const target = await NbdTarget.connect({ port: source.port, name: VOLUME, isFua: true });
  return {
    who: WHO,
    params: { by: "nbd", volume: shapeName(shape) },
    uri: `nbd://127.0.0.1:${source.port}/${VOLUME}`,
    target,
    cps: () => source.cps,
    canRead: true,
    settle: () => source.consistencyPoint(),
    close: async () => {
      await target.close();
      await source.kill();
      await mirror.stop();
    },
  };
}
