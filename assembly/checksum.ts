// XXH3-64 and XXH3-128, seed 0, default secret: the published algorithm, bit for bit, for every length.
//
//   bytes      way
//   0          a constant
//   1..16      the data laid over itself, one or two multiplications
//   17..128    sixteen bytes from the front and sixteen from the back at a time, moving inwards
//   129..240   sixteen bytes at a time, with a mix after the first 128
//   241..      eight accumulators (digest.ts)
//
// Checksums of headers and payloads are XXH3-64; the names of contents (block map, Merkle tree) XXH3-128.
// Both find every damage that is not made on purpose; neither is cryptographic.

import { begin, feed, feedLast, highResult, lowResult, STRIPE_BYTES } from "./digest";
import { RESULT_OFFSET, SECRET_OFFSET } from "./layout";
import {
  avalanche,
  avalanche64,
  fold,
  mix16,
  multiplyHigh,
  PRIME_MX2,
  PRIME32_2,
  PRIME64_1,
  PRIME64_2,
  PRIME64_4,
} from "./mix";

const SECRET: usize = SECRET_OFFSET;
const RESULT: usize = RESULT_OFFSET;
const SHORT_BYTES_MAX: usize = 240;

/** Writes the default secret. The host calls this once for each memory. */
export function initialize(): void {
  store<u64>(SECRET, 0xbe4ba423396cfeb8);
  store<u64>(SECRET, 0x1cad21f72c81017c, 8);
  store<u64>(SECRET, 0xdb979083e96dd4de, 16);
  store<u64>(SECRET, 0x1f67b3b7a4a44072, 24);
  store<u64>(SECRET, 0x78e5c0cc4ee679cb, 32);
  store<u64>(SECRET, 0x2172ffcc7dd05a82, 40);
  store<u64>(SECRET, 0x8e2443f7744608b8, 48);
  store<u64>(SECRET, 0x4c263a81e69035e0, 56);
  store<u64>(SECRET, 0xcb00c391bb52283c, 64);
  store<u64>(SECRET, 0xa32e531b8b65d088, 72);
  store<u64>(SECRET, 0x4ef90da297486471, 80);
  store<u64>(SECRET, 0xd8acdea946ef1938, 88);
  store<u64>(SECRET, 0x3f349ce33f76faa8, 96);
  store<u64>(SECRET, 0x1d4f0bc7c7bbdcf9, 104);
  store<u64>(SECRET, 0x3159b4cd4be0518a, 112);
  store<u64>(SECRET, 0x647378d9c97e9fc8, 120);
  store<u64>(SECRET, 0xc3ebd33483acc5ea, 128);
  store<u64>(SECRET, 0xeb6313faffa081c5, 136);
  store<u64>(SECRET, 0x49daf0b751dd0d17, 144);
  store<u64>(SECRET, 0x9e68d429265516d3, 152);
  store<u64>(SECRET, 0xfca1477d58be162b, 160);
  store<u64>(SECRET, 0xce31d07ad1b8f88f, 168);
  store<u64>(SECRET, 0x280416958f3acb45, 176);
  store<u64>(SECRET, 0x7e404bbbcafbd7af, 184);
}

/** XXH3-64, left at RESULT_OFFSET. */
export function hash64(data: usize, bytes: usize): void {
  store<u64>(RESULT, checksum(data, bytes));
}

/** XXH3-128, left at RESULT_OFFSET, low half first. */
export function hash128(data: usize, bytes: usize): void {
  hashTo(RESULT, data, bytes);
}

/** XXH3-128 of `count` neighbouring blocks of `bytes` bytes (more than 240), 16 bytes each, into `out`. */
export function hashRun(data: usize, count: usize, bytes: usize, out: usize): void {
  for (let i: usize = 0; i < count; i++) {
    longDigest(data, bytes);
    store<u64>(out, lowResult(bytes));
    store<u64>(out, highResult(bytes), 8);
    data += bytes;
    out += 16;
  }
}

/** XXH3-64 as a value, for the other kernels. */
export function checksum(data: usize, bytes: usize): u64 {
  if (bytes > SHORT_BYTES_MAX) {
    longDigest(data, bytes);
    return lowResult(bytes);
  }
  if (bytes > 128) return checksumTo240(data, bytes);
  if (bytes > 16) return checksumTo128(data, bytes);
  if (bytes > 8) return checksumTo16(data, bytes);
  if (bytes > 3) return checksumTo8(data, bytes);
  if (bytes > 0) return avalanche64(laid(data, bytes) ^ (load<u32>(SECRET) ^ load<u32>(SECRET, 4)));
  return avalanche64(load<u64>(SECRET, 56) ^ load<u64>(SECRET, 64));
}

function longDigest(data: usize, bytes: usize): void {
  begin();
  feed(data, (bytes - 1) / STRIPE_BYTES);
  feedLast(data + bytes - STRIPE_BYTES);
}

/** One to three bytes and their count in one word. */
function laid(data: usize, bytes: usize): u64 {
  const first: u32 = load<u8>(data);
  const middle: u32 = load<u8>(data + (bytes >> 1));
  const last: u32 = load<u8>(data + bytes - 1);
  return (first << 16) | (middle << 24) | last | ((<u32>bytes) << 8);
}

function checksumTo8(data: usize, bytes: usize): u64 {
  const ends = <u64>load<u32>(data + bytes - 4) + ((<u64>load<u32>(data)) << 32);
  let hash = ends ^ (load<u64>(SECRET, 8) ^ load<u64>(SECRET, 16));
  hash ^= rotl(hash, 49) ^ rotl(hash, 24);
  hash *= PRIME_MX2;
  hash ^= (hash >> 35) + bytes;
  hash *= PRIME_MX2;
  return hash ^ (hash >> 28);
}

function checksumTo16(data: usize, bytes: usize): u64 {
  const low = load<u64>(data) ^ (load<u64>(SECRET, 24) ^ load<u64>(SECRET, 32));
  const high = load<u64>(data + bytes - 8) ^ (load<u64>(SECRET, 40) ^ load<u64>(SECRET, 48));
  return avalanche(<u64>bytes + bswap(low) + high + fold(low, high));
}

function checksumTo128(data: usize, bytes: usize): u64 {
  let hash = <u64>bytes * PRIME64_1;
  for (let i = <isize>((bytes - 1) >> 5); i >= 0; i--) {
    const at = <usize>i * 16;
    hash += mix16(data + at, SECRET + at * 2);
    hash += mix16(data + bytes - at - 16, SECRET + at * 2 + 16);
  }
  return avalanche(hash);
}

function checksumTo240(data: usize, bytes: usize): u64 {
  let hash = <u64>bytes * PRIME64_1;
  for (let at: usize = 0; at < 128; at += 16) hash += mix16(data + at, SECRET + at);
  hash = avalanche(hash);
  for (let at: usize = 128; at + 16 <= bytes; at += 16) hash += mix16(data + at, SECRET + at - 128 + 3);
  return avalanche(hash + mix16(data + bytes - 16, SECRET + 119));
}

// XXH3-128. The halves of the running state lie at the result's address.

function hashTo(out: usize, data: usize, bytes: usize): void {
  if (bytes > SHORT_BYTES_MAX) {
    hashRun(data, 1, bytes, out);
  } else if (bytes > 16) {
    hashTo240(out, data, bytes);
  } else if (bytes > 8) {
    hashTo16(out, data, bytes);
  } else if (bytes > 3) {
    hashTo8(out, data, bytes);
  } else if (bytes > 0) {
    hashTo3(out, data, bytes);
  } else {
    store<u64>(out, avalanche64(load<u64>(SECRET, 64) ^ load<u64>(SECRET, 72)));
    store<u64>(out, avalanche64(load<u64>(SECRET, 80) ^ load<u64>(SECRET, 88)), 8);
  }
}

function hashTo3(out: usize, data: usize, bytes: usize): void {
  const low = <u32>laid(data, bytes);
  const high = rotl(bswap(low), 13);
  store<u64>(out, avalanche64(<u64>low ^ (load<u32>(SECRET) ^ load<u32>(SECRET, 4))));
  store<u64>(out, avalanche64(<u64>high ^ (load<u32>(SECRET, 8) ^ load<u32>(SECRET, 12))), 8);
}

function hashTo8(out: usize, data: usize, bytes: usize): void {
  const ends = <u64>load<u32>(data) + ((<u64>load<u32>(data + bytes - 4)) << 32);
  const keyed = ends ^ (load<u64>(SECRET, 16) ^ load<u64>(SECRET, 24));
  const factor = PRIME64_1 + ((<u64>bytes) << 2);
  let low = keyed * factor;
  const high = multiplyHigh(keyed, factor) + (low << 1);
  low ^= high >> 3;
  low ^= low >> 35;
  low *= PRIME_MX2;
  store<u64>(out, low ^ (low >> 28));
  store<u64>(out, avalanche(high), 8);
}

function hashTo16(out: usize, data: usize, bytes: usize): void {
  const first = load<u64>(data);
  const last = load<u64>(data + bytes - 8);
  const keyed = first ^ last ^ (load<u64>(SECRET, 32) ^ load<u64>(SECRET, 40));
  const flipped = last ^ (load<u64>(SECRET, 48) ^ load<u64>(SECRET, 56));
  const high = multiplyHigh(keyed, PRIME64_1) + flipped + (flipped & 0xffffffff) * (PRIME32_2 - 1);
  const low = (keyed * PRIME64_1 + ((<u64>bytes - 1) << 54)) ^ bswap(high);
  store<u64>(out, avalanche(low * PRIME64_2));
  store<u64>(out, avalanche(multiplyHigh(low, PRIME64_2) + high * PRIME64_2), 8);
}

function hashTo240(out: usize, data: usize, bytes: usize): void {
  store<u64>(out, <u64>bytes * PRIME64_1);
  store<u64>(out, 0, 8);
  if (bytes > 128) mixTo240(out, data, bytes);
  else mixTo128(out, data, bytes);
  const low = load<u64>(out);
  const high = load<u64>(out, 8);
  store<u64>(out, avalanche(low + high));
  store<u64>(out, 0 - avalanche(low * PRIME64_1 + high * PRIME64_4 + <u64>bytes * PRIME64_2), 8);
}

function mixTo128(out: usize, data: usize, bytes: usize): void {
  for (let i = <isize>((bytes - 1) >> 5); i >= 0; i--) {
    const at = <usize>i * 16;
    mix32(out, data + at, data + bytes - at - 16, SECRET + at * 2);
  }
}

function mixTo240(out: usize, data: usize, bytes: usize): void {
  for (let at: usize = 0; at < 128; at += 32) mix32(out, data + at, data + at + 16, SECRET + at);
  store<u64>(out, avalanche(load<u64>(out)));
  store<u64>(out, avalanche(load<u64>(out, 8)), 8);
  for (let at: usize = 128; at + 32 <= bytes; at += 32) {
    mix32(out, data + at, data + at + 16, SECRET + at - 128 + 3);
  }
  mix32(out, data + bytes - 16, data + bytes - 32, SECRET + 103);
}

function mix32(out: usize, first: usize, second: usize, secret: usize): void {
  const low = load<u64>(out) + mix16(first, secret);
  const high = load<u64>(out, 8) + mix16(second, secret + 16);
  store<u64>(out, low ^ (load<u64>(second) + load<u64>(second, 8)));
  store<u64>(out, high ^ (load<u64>(first) + load<u64>(first, 8)), 8);
}
