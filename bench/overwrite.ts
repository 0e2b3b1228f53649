// Random 4 KiB overwrites for longer than the log holds: what consistency points and the cleaner cost in the
// long run. The same load on a log that is so large that none is made is what it is compared with. No mirror:
// 4+2, 70% full.

import { Volume } from "../src/index.ts";
import { type BenchFolder, withFolder } from "./support/folders.ts";
import { fill, type Load, runLoad } from "./support/load.ts";
import { makeVolume, watchCps } from "./support/pair.ts";
import type { Recorder } from "./support/rows.ts";
import { MIB, type Shape } from "./support/shape.ts";
import { VolumeTarget } from "./support/volume_target.ts";
import { record } from "./write/record.ts";

const FULL_SHARE = 0.7;
const WRITE_BYTES = 4096;

interface Run {
  readonly cps: "as usual" | "held back";
  readonly logBytes: number;
  readonly seconds: number;
}

export async function overwrite(recorder: Recorder): Promise<void> {
  const { isQuick } = recorder;
  const runs: Run[] = [
    { cps: "held back", logBytes: (isQuick ? 512 : 2048) * MIB, seconds: isQuick ? 1 : 5 },
    { cps: "as usual", logBytes: (isQuick ? 16 : 32) * MIB, seconds: isQuick ? 3 : 20 },
  ];
  for (const run of runs) await withFolder((folder) => measure(folder, recorder, run));
}

async function measure(
  folder: BenchFolder,
  recorder: Recorder,
  { cps, logBytes, seconds }: Run,
): Promise<void> {
  const sizeBytes = (recorder.isQuick ? 256 : 1024) * MIB;
  const shape: Shape = {
    sizeBytes,
    memberCount: 6,
    parity: 2,
    logCopies: 2,
    logBytes,
    cpIntervalMs: 3_600_000,
  };
  const volume = await Volume.open(await makeVolume(folder, "overwrite", shape));
  try {
    const target = new VolumeTarget(volume);
    const spanBytes = Math.floor((sizeBytes * FULL_SHARE) / MIB) * MIB;
    await fill(target, spanBytes);
    await volume.consistencyPoint();
    const seen = watchCps(volume);
    const load: Load = {
      depth: 32,
      bytes: WRITE_BYTES,
      readShare: 0,
      spanBytes,
      seconds,
      warmUpSeconds: 0.3,
    };
    const before = volume.status().segments.evacuated;
    const result = await runLoad(target, load);
    const params = { cps, volume: "4+2", size: "4 KiB", depth: load.depth };
    record(recorder, { who: "mirrorvol", params }, WRITE_BYTES, [result], seen);
    const { evacuated } = volume.status().segments;
    recorder.addAll("mirrorvol", params, [
      ["consistency points", seen.length, "1"],
      ["segments cleaned", evacuated - before, "1"],
      ["written", (result.samples.count * WRITE_BYTES) / MIB, "MiB"],
    ]);
  } finally {
    await volume.close();
  }
}
