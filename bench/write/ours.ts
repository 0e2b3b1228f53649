// mirrorvol under load: the source in this process (embedded) or in one of its own behind NBD, the mirror
// always a node of its own.

import type { BenchFolder } from "../support/folders.ts";
import { untilInSync, untilMirrored } from "../support/in_sync.ts";
import { NbdTarget } from "../support/nbd_target.ts";
import { makePair, openSource, watchCps } from "../support/pair.ts";
import { type Shape, shapeName, VOLUME } from "../support/shape.ts";
import { SourceProcess } from "../support/source_process.ts";
import { VolumeTarget } from "../support/volume_target.ts";
import type { Subject } from "./subject.ts";

const WHO = "mirrorvol";

export async function embedded(folder: BenchFolder, name: string, shape: Shape): Promise<Subject> {
  const { mirror, options } = await makePair(folder, name, shape);
  const volume = await openSource(options);
  const cps = watchCps(volume);
  return {
    who: WHO,
    params: { by: "embedded", volume: shapeName(shape) },
    target: new VolumeTarget(volume),
    cps: () => cps,
    settle: async () => untilMirrored(await volume.consistencyPoint(), () => mirror.volume()),
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
  const { mirror, options } = await makePair(folder, name, shape);
  const source = await SourceProcess.start(options);
  await untilInSync(() => source.status());
  const target = await NbdTarget.connect({ port: source.port, name: VOLUME, isFua: true });
  return {
    who: WHO,
    params: { by: "nbd", volume: shapeName(shape) },
    uri: `nbd://127.0.0.1:${source.port}/${VOLUME}`,
    target,
    cps: () => source.cps,
    settle: async () => untilMirrored(await source.consistencyPoint(), () => mirror.volume()),
    close: async () => {
      await target.close();
      await source.kill();
      await mirror.stop();
    },
  };
}
