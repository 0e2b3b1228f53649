// The source is lost while the mirror holds 64 MiB of entries that no consistency point has taken in: how
// long until a client has read the first block from the mirror. Once with the mirror's node running, once
// with one that has to be started first.

import { NbdClient } from "../examples/support/nbd_client.ts";
import { KIB, sizeName } from "./kernels/sizes.ts";
import { sleep } from "./support/clock.ts";
import { type BenchFolder, withFolder } from "./support/folders.ts";
import { untilInSync } from "./support/in_sync.ts";
import { payload } from "./support/load.ts";
import type { MirrorNode } from "./support/mirror_node.ts";
import { NbdTarget } from "./support/nbd_target.ts";
import { makePair } from "./support/pair.ts";
import type { Recorder } from "./support/rows.ts";
import { median } from "./support/samples.ts";
import { MIB, type Shape, shapeName, VOLUME } from "./support/shape.ts";
import { SourceProcess } from "./support/source_process.ts";

const DEPTH = 8;
const LOOK_MS = 2;

const SHAPE: Shape = {
  sizeBytes: 256 * MIB,
  memberCount: 4,
  parity: 1,
  logCopies: 2,
  // A quarter of it is one half: all the writes fit into that.
  logBytes: 336 * MIB,
  cpIntervalMs: 3_600_000,
};

export async function failover(recorder: Recorder): Promise<void> {
  const logged = (recorder.isQuick ? 16 : 64) * MIB;
  const rounds = recorder.isQuick ? 1 : 2;
  for (const entryBytes of [4 * KIB, 64 * KIB]) {
    for (const mirror of ["running", "restarted"] as const) {
      const times: Times[] = [];
      for (let round = 0; round < rounds; round++) {
        times.push(await withFolder((folder) => failOver(folder, mirror, entryBytes, logged)));
      }
      const params = { mirror, volume: shapeName(SHAPE), log: sizeName(logged), entry: sizeName(entryBytes) };
      const middle = (time: keyof Times) => median(times.map((each) => each[time]));
      recorder.addAll("mirrorvol", params, [
        ["promoted", middle("promotedMs"), "ms"],
        ["first read", middle("firstReadMs"), "ms"],
      ]);
    }
  }
}

interface Times {
  readonly promotedMs: number;
  readonly firstReadMs: number;
}

async function failOver(
  folder: BenchFolder,
  state: "running" | "restarted",
  entryBytes: number,
  logged: number,
): Promise<Times> {
  const { mirror, options } = await makePair(folder, "failover", SHAPE);
  const source = await SourceProcess.start(options);
  try {
    await untilInSync(() => source.status());
    await writeAll(source.port, entryBytes, logged);
    await source.kill();
    if (state === "restarted") await mirror.kill();
    else await untilAlone(mirror);
    const startMs = performance.now();
    if (state === "restarted") await mirror.restart();
    await mirror.promote();
    const promotedMs = performance.now() - startMs;
    const client = await NbdClient.connect(`127.0.0.1:${mirror.nbdPort}`, VOLUME);
    const block = await client.read(logged - 4096, 4096);
    const firstReadMs = performance.now() - startMs;
    if (block.every((byte) => byte === 0)) throw new Error("the promoted mirror lacks the last block");
    await client.disconnect();
    return { promotedMs, firstReadMs };
  } finally {
    await source.kill();
    await mirror.stop();
  }
}

/** From the first byte to the last, in entries of one size. */
async function writeAll(port: number, entryBytes: number, bytes: number): Promise<void> {
  const target = await NbdTarget.connect({ port, name: VOLUME, isFua: true });
  const data = payload(entryBytes, 1);
  let offset = 0;
  const slots = Array.from({ length: DEPTH }, (_, slot) => {
    return new Promise<void>((resolve, reject) => {
      const next = (error: Error | null) => {
        if (error !== null) return reject(error);
        if (offset >= bytes) return resolve();
        offset += entryBytes;
        target.write(slot, offset - entryBytes, data, next);
      };
      next(null);
    });
  });
  await Promise.all(slots);
  await target.close();
}

/** The mirror has noticed that the source is gone: a promotion is not refused. */
async function untilAlone(mirror: MirrorNode): Promise<void> {
  while ((await mirror.volume()).source?.state === "in sync") await sleep(LOOK_MS);
}
