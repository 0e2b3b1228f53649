// Bytes for a byte: what one byte of payload costs on the wire, in the log and on the members, for random
// writes of one size after whose last a consistency point is made. Parity and the second log copy are part of
// it.

import { KIB, sizeName } from "./kernels/sizes.ts";
import { countingWorld, WriteCount } from "./support/counting_world.ts";
import { type BenchFolder, withFolder } from "./support/folders.ts";
import { payload } from "./support/load.ts";
import { makePair, openSource } from "./support/pair.ts";
import type { Recorder } from "./support/rows.ts";
import { MIB, type Shape, shapeName } from "./support/shape.ts";

const SHAPES: Shape[] = [
  { sizeBytes: 256 * MIB, memberCount: 4, parity: 1, logCopies: 2, logBytes: 128 * MIB },
  { sizeBytes: 256 * MIB, memberCount: 1, parity: 0, logCopies: 1, logBytes: 128 * MIB },
];
const DEPTHS = [1, 32];

export async function wire(recorder: Recorder): Promise<void> {
  for (const shape of SHAPES) {
    for (const bytes of [4 * KIB, 64 * KIB, 1024 * KIB]) {
      for (const depth of DEPTHS)
        await withFolder((folder) => measure(folder, recorder, shape, bytes, depth));
    }
  }
}

async function measure(
  folder: BenchFolder,
  recorder: Recorder,
  shape: Shape,
  bytes: number,
  depth: number,
): Promise<void> {
  const { mirror, options } = await makePair(folder, "wire", shape);
  const count = new WriteCount();
  const volume = await openSource({ ...options, world: countingWorld(count) });
  try {
    const total = (recorder.isQuick || depth === 1 ? 4 : 32) * MIB;
    const before = { ...count, ...volume.status().mirror!.wire };
    let left = total / bytes;
    const data = payload(bytes, 1);
    const slot = async () => {
      while (left-- > 0) await volume.write(placeOf(shape.sizeBytes, bytes), data);
    };
    await Promise.all(Array.from({ length: depth }, slot));
    await volume.consistencyPoint();
    const after = { ...count, ...volume.status().mirror!.wire };
    const perByte = (key: keyof typeof after) => (after[key] - before[key]) / total;
    recorder.addAll("mirrorvol", { volume: shapeName(shape), size: sizeName(bytes), depth }, [
      ["wire out", perByte("sentBytes"), "bytes per byte"],
      ["wire in", perByte("receivedBytes"), "bytes per byte"],
      ["log", perByte("logBytes"), "bytes per byte"],
      ["members", perByte("memberBytes"), "bytes per byte"],
      ["syncs", (after.syncs - before.syncs) / (total / bytes), "per write"],
    ]);
  } finally {
    await volume.close();
    await mirror.stop();
  }
}

function placeOf(volumeBytes: number, bytes: number): number {
  return Math.floor(Math.random() * (volumeBytes / bytes)) * bytes;
}
