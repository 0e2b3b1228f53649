// Digests, checksums and copies that others offer. Each is called as its documentation says; what a package
// has to copy into its own memory first is part of its time.

import { Buffer } from "node:buffer";
import zlib from "node:zlib";
import type { Recorder } from "../support/rows.ts";
import type { Case } from "./measure.ts";
import { tryRequire } from "./optional.ts";
import { fillNoise, type Matrix, sizeName } from "./sizes.ts";

/** The polynomial of CRC-32C, its bits in reverse. */
const CASTAGNOLI = 0x82f63b78;

type Digest = (data: Uint8Array) => unknown;

export async function digestPeers(recorder: Recorder, { sizes }: Matrix): Promise<Case[]> {
  const digests = [...(await wasmDigests()), ...nativeDigests(recorder), ...zlibDigests(recorder)];
  return sizes.flatMap((bytes) => {
    const data = Buffer.alloc(bytes);
    fillNoise(data);
    const params = { size: sizeName(bytes), place: "warm" };
    const ofDigest = ([who, what, digest]: readonly [string, string, Digest]) => {
      return { who, what, params, bytes, run: () => digest(data) };
    };
    const target = Buffer.alloc(bytes);
    const copy = { who: "Buffer.copy", what: "copy", params, bytes, run: () => data.copy(target) };
    return [copy, ...digests.map(ofDigest)];
  });
}

async function wasmDigests(): Promise<[string, string, Digest][]> {
  const { createCRC32, createXXHash3 } = await import("hash-wasm");
  const xxh3 = await createXXHash3();
  const crc32c = await createCRC32(CASTAGNOLI);
  const { h64Raw } = await (await import("xxhash-wasm")).default();
  return [
    ["hash-wasm", "xxh3-64", (data) => xxh3.init().update(data).digest("binary")],
    ["hash-wasm", "crc-32c", (data) => crc32c.init().update(data).digest("binary")],
    ["xxhash-wasm", "xxh64", (data) => h64Raw(data)],
  ];
}

interface NodeRsXxhash {
  xxh64(data: Uint8Array): bigint;
  xxh3: { xxh64(data: Uint8Array): bigint };
}

function nativeDigests(recorder: Recorder): [string, string, Digest][] {
  const digests: [string, string, Digest][] = [];
  const xxhash = tryRequire<NodeRsXxhash>("@node-rs/xxhash", recorder);
  if (xxhash !== null) {
    digests.push(["@node-rs/xxhash", "xxh3-64", (data) => xxhash.xxh3.xxh64(data)]);
    digests.push(["@node-rs/xxhash", "xxh64", (data) => xxhash.xxh64(data)]);
  }
  const crc = tryRequire<{ crc32c: Digest; crc32: Digest }>("@node-rs/crc32", recorder);
  if (crc !== null) digests.push(["@node-rs/crc32", "crc-32c", (data) => crc.crc32c(data)]);
  return digests;
}

function zlibDigests(recorder: Recorder): [string, string, Digest][] {
  // Newer than the types of Node 20.
  const { crc32 } = zlib as unknown as { crc32?: Digest };
  if (crc32 !== undefined) return [["zlib", "crc-32", crc32]];
  recorder.skip("zlib", "this runtime has no zlib.crc32");
  return [];
}
