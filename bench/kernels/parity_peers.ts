// Reed-Solomon and XOR that others offer: k = 8, units of each size, encoding and reconstruction.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { ReedSolomonErasure } from "@subspace/reed-solomon-erasure.wasm";
import type { Case } from "./measure.ts";
import { fillNoise, PEER_DATA_UNITS as K, type Matrix, sizeName } from "./sizes.ts";

const PARITY_UNITS = [1, 2, 3];

export function parityPeers({ sizes }: Matrix): Case[] {
  const subspace = loadSubspace();
  return sizes.flatMap((bytes) => [
    plainXor(bytes),
    ...PARITY_UNITS.flatMap((m) => subspaceCases(subspace, bytes, m)),
  ]);
}

function paramsOf(bytes: number, m: number) {
  return { size: sizeName(bytes), k: K, place: "warm", m };
}

/** Four bytes at a time, all sources in one pass: what one would write without a library. */
function plainXor(bytes: number): Case {
  const units = Array.from({ length: K + 1 }, () => new Int32Array(bytes / 4));
  for (const unit of units) fillNoise(new Uint8Array(unit.buffer));
  const [a, b, c, d, e, f, g, h, parity] = units as [
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  const run = () => {
    for (let i = 0; i < parity.length; i++) {
      parity[i] = a[i]! ^ b[i]! ^ c[i]! ^ d[i]! ^ e[i]! ^ f[i]! ^ g[i]! ^ h[i]!;
    }
  };
  return { who: "plain JavaScript", what: "encode", params: paramsOf(bytes, 1), bytes: K * bytes, run };
}

/** Its own way to find its module takes it for a browser in some runtimes. */
function loadSubspace(): ReedSolomonErasure {
  const main = createRequire(import.meta.url).resolve("@subspace/reed-solomon-erasure.wasm");
  return ReedSolomonErasure.fromBytes(readFileSync(join(dirname(main), "reed_solomon_erasure_bg.wasm")));
}

function subspaceCases(subspace: ReedSolomonErasure, bytes: number, m: number): Case[] {
  const shards = new Uint8Array((K + m) * bytes);
  fillNoise(shards);
  const lost = new Set(Array.from({ length: m }, (_, i) => Math.floor((i * K) / m)));
  const isThere = Array.from({ length: K + m }, (_, unit) => !lost.has(unit));
  const common = { who: "@subspace/reed-solomon-erasure", params: paramsOf(bytes, m), bytes: K * bytes };
  return [
    { ...common, what: "encode", run: () => subspace.encode(shards, K, m) },
    { ...common, what: "reconstruct", run: () => subspace.reconstruct(shards, K, m, isThere) },
  ];
}
