// @ronomon/reed-solomon: native code in the thread pool, so it is measured with four calls in flight, as it
// is meant to be used. It builds itself with node-gyp when it is installed; that wants Node's headers, which
// may have to be fetched, so it is no dependency of ours: `npm install --no-save @ronomon/reed-solomon`.

import { Buffer } from "node:buffer";
import type { Recorder } from "../support/rows.ts";
import { tryRequire } from "./optional.ts";
import { fillNoise, PEER_DATA_UNITS as K, type Matrix, sizeName } from "./sizes.ts";

const IN_FLIGHT = 4;

interface Ronomon {
  create(k: number, m: number): unknown;
  encode(
    context: unknown,
    sources: number,
    targets: number,
    buffer: Buffer,
    bufferOffset: number,
    bufferSize: number,
    parity: Buffer,
    parityOffset: number,
    paritySize: number,
    end: (error?: Error) => void,
  ): void;
}

export async function measureRonomon(recorder: Recorder, { sizes }: Matrix): Promise<void> {
  const ronomon = tryRequire<Ronomon>("@ronomon/reed-solomon", recorder);
  if (ronomon === null) return;
  for (const bytes of sizes) {
    for (const m of [1, 2, 3]) {
      const rate = await encodeFor(ronomon, bytes, m, recorder.isQuick ? 50 : 300);
      const params = { kernel: "encode", size: sizeName(bytes), k: K, place: "warm", m };
      recorder.add("@ronomon/reed-solomon", params, "throughput", rate, "GB/s");
    }
  }
}

async function encodeFor(ronomon: Ronomon, bytes: number, m: number, ms: number): Promise<number> {
  const endMs = performance.now() + ms;
  let count = 0;
  const lane = async () => {
    const context = ronomon.create(K, m);
    const buffer = Buffer.alloc(K * bytes);
    const parity = Buffer.alloc(m * bytes);
    fillNoise(buffer);
    const [sources, targets] = [(1 << K) - 1, ((1 << m) - 1) << K];
    while (performance.now() < endMs) {
      await new Promise<void>((resolve, reject) => {
        ronomon.encode(
          context,
          sources,
          targets,
          buffer,
          0,
          buffer.length,
          parity,
          0,
          parity.length,
          (error) => (error ? reject(error) : resolve()),
        );
      });
      count++;
    }
  };
  const startMs = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return (count * K * bytes) / (performance.now() - startMs) / 1e6;
}
