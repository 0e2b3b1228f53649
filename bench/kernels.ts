// The kernels, one after the other, in GB/s of source data: warm, 4 KiB units, k = 8 where parity is made.
// `npm run bench`. Compare ratios within one run; absolute figures belong to the machine.

import benny from "benny";
import { BLOCK_BYTES, ENTRY_HEADER_BYTES, ENTRY_PAYLOAD_BYTES } from "../assembly/format.ts";
import { Kernel } from "../src/kernel/kernel.ts";

const K = 8;
/** Units a power of two apart would share their sets in the first-level cache. */
const STRIDE_BYTES = BLOCK_BYTES + 192;
const RUN_BYTES = 8 * BLOCK_BYTES;

const kernel = await Kernel.create();
const room = kernel.arena.allocate(1 << 20);
for (let i = 0; i < room.length; i++) room[i] = (i * 2654435761) >>> 13;
const base = kernel.offsetOf(room);
const target = base + (1 << 19);
const units = Uint32Array.from({ length: K + 3 }, (_, unit) => base + unit * STRIDE_BYTES);
const outside = room.slice(0, BLOCK_BYTES);
const out = new Uint32Array(64);

function encodeEntry(payloadBytes: number): void {
  kernel.view.setUint32(target + ENTRY_PAYLOAD_BYTES, payloadBytes, true);
  kernel.encodeEntryAt(target, base, payloadBytes);
}

interface Case {
  name: string;
  /** Source bytes of one call. */
  bytes: number;
  run: () => void;
}

const parity = (m: number) => () => kernel.encodeParity(units, K, m, BLOCK_BYTES);
const recover = (m: number, lostMask: number) => () => kernel.reconstruct(units, K, m, lostMask, BLOCK_BYTES);
const copyFrom = base;
const copyTo = target + ENTRY_HEADER_BYTES;

const cases: Case[] = [
  {
    name: "copy 32 KiB",
    bytes: RUN_BYTES,
    run: () => kernel.bytes.copyWithin(copyTo, copyFrom, copyFrom + RUN_BYTES),
  },
  { name: "P", bytes: K * BLOCK_BYTES, run: parity(1) },
  { name: "P+Q", bytes: K * BLOCK_BYTES, run: parity(2) },
  { name: "P+Q+R", bytes: K * BLOCK_BYTES, run: parity(3) },
  { name: "recover 1 of 8+1", bytes: K * BLOCK_BYTES, run: recover(1, 0b10) },
  { name: "recover 2 of 8+2", bytes: K * BLOCK_BYTES, run: recover(2, 0b10010) },
  { name: "recover 3 of 8+3", bytes: K * BLOCK_BYTES, run: recover(3, 0b1010010) },
  { name: "XXH3-64 of 4 KiB", bytes: BLOCK_BYTES, run: () => kernel.checksum64At(base, BLOCK_BYTES, out) },
  { name: "XXH3-64 of 4 KiB from outside", bytes: BLOCK_BYTES, run: () => kernel.checksum64(outside, out) },
  { name: "XXH3-128 of 8 blocks", bytes: RUN_BYTES, run: () => kernel.hashBlocksAt(base, 8, out) },
  { name: "entry of 4 KiB: copy, checksums", bytes: BLOCK_BYTES, run: () => encodeEntry(BLOCK_BYTES) },
  { name: "entry of 32 KiB", bytes: RUN_BYTES, run: () => encodeEntry(RUN_BYTES) },
];

const options = { minSamples: 20, maxTime: 0.5 };
await benny.suite(
  "kernels",
  ...cases.map((each) => benny.add(each.name, each.run, options)),
  benny.complete((summary) => {
    for (const result of summary.results) {
      const bytes = cases.find((each) => each.name === result.name)!.bytes;
      console.log(`${result.name.padEnd(34)} ${((bytes * result.ops) / 1e9).toFixed(1).padStart(7)} GB/s`);
    }
  }),
);
