// XXH3 of more than 240 bytes, the long way: eight 64-bit accumulators, fed by stripes of 64 bytes.
//
// Sixteen stripes make a block of 1024 bytes. For stripe n of a block and lane i (data d, secret s at 8 n):
//
//     key = d[i] ^ s[i];   acc[i] += low32(key) * high32(key);   acc[i ^ 1] += d[i]
//
// and after each block the accumulators are scrambled. The last stripe always is the last 64 bytes, even
// where it overlaps the one before.
//
// For speed: two vectors of keys are shuffled into all low and all high halves, so that one shuffle serves
// two multiplications (`i64x2.mul` halves the speed); the data is summed as it lies and the lanes of the sum
// are swapped once a block; the accumulators stay in locals from the first block to the last. Twelve vectors
// live at once: four products, four sums, four of data. No alignment is asked for.
//
// Invariant: between two calls the state is the 64 bytes at ACCUMULATORS_OFFSET and nothing else.

import { ACCUMULATORS_OFFSET, SECRET_OFFSET } from "./layout";
import {
  avalanche,
  fold,
  PRIME32_1,
  PRIME32_2,
  PRIME32_3,
  PRIME64_1,
  PRIME64_2,
  PRIME64_3,
  PRIME64_4,
  PRIME64_5,
} from "./mix";

export const STRIPE_BYTES: usize = 64;
export const DIGEST_BLOCK_BYTES: usize = 1024;
export const BLOCK_STRIPES: usize = 16;
const ACC: usize = ACCUMULATORS_OFFSET;
const SECRET: usize = SECRET_OFFSET;
const SCRAMBLE_SECRET: usize = SECRET_OFFSET + 128;
const LAST_SECRET: usize = SECRET_OFFSET + 121;
const LOW_SECRET: usize = SECRET_OFFSET + 11;
const HIGH_SECRET: usize = SECRET_OFFSET + 117;

/** Whole vectors, as they are loaded again at once: a load across two stores has to wait for both. */
export function begin(): void {
  v128.store(ACC, i64x2(PRIME32_3, PRIME64_1));
  v128.store(ACC, i64x2(PRIME64_2, PRIME64_3), 16);
  v128.store(ACC, i64x2(PRIME64_4, PRIME32_2), 32);
  v128.store(ACC, i64x2(PRIME64_5, PRIME32_1), 48);
}

/**
 * Feeds whole stripes, from the start of a block; after every sixteen of them the accumulators are scrambled.
 * More data must come after them.
 *
 * The break in the middle of a stripe is never taken. It ends a basic block of V8, which loads everything
 * that a block needs first, and would have sixteen vectors alive here: on Node 20 it is worth a tenth.
 */
export function feed(data: usize, stripes: usize): void {
  const last = data + stripes * STRIPE_BYTES;
  let a0 = v128.load(ACC);
  let a1 = v128.load(ACC, 16);
  let a2 = v128.load(ACC, 32);
  let a3 = v128.load(ACC, 48);
  while (data < last) {
    const blockEnd = data + DIGEST_BLOCK_BYTES;
    const end = min(blockEnd, last);
    let s0 = i64x2.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let secret = SECRET;
    while (data < end) {
      const d0 = v128.load(data);
      const d1 = v128.load(data, 16);
      s0 = i64x2.add(s0, d0);
      s1 = i64x2.add(s1, d1);
      const k0 = v128.xor(d0, v128.load(secret));
      const k1 = v128.xor(d1, v128.load(secret, 16));
      const low01 = v128.shuffle<i32>(k0, k1, 0, 2, 4, 6);
      const high01 = v128.shuffle<i32>(k0, k1, 1, 3, 5, 7);
      a0 = i64x2.add(a0, i64x2.extmul_low_i32x4_u(low01, high01));
      a1 = i64x2.add(a1, i64x2.extmul_high_i32x4_u(low01, high01));
      if (data == end) break;
      const d2 = v128.load(data, 32);
      const d3 = v128.load(data, 48);
      s2 = i64x2.add(s2, d2);
      s3 = i64x2.add(s3, d3);
      const k2 = v128.xor(d2, v128.load(secret, 32));
      const k3 = v128.xor(d3, v128.load(secret, 48));
      const low23 = v128.shuffle<i32>(k2, k3, 0, 2, 4, 6);
      const high23 = v128.shuffle<i32>(k2, k3, 1, 3, 5, 7);
      a2 = i64x2.add(a2, i64x2.extmul_low_i32x4_u(low23, high23));
      a3 = i64x2.add(a3, i64x2.extmul_high_i32x4_u(low23, high23));
      data += STRIPE_BYTES;
      secret += 8;
    }
    a0 = sum(a0, s0);
    a1 = sum(a1, s1);
    a2 = sum(a2, s2);
    a3 = sum(a3, s3);
    if (data < blockEnd) break;
    a0 = scrambled(a0, 0);
    a1 = scrambled(a1, 16);
    a2 = scrambled(a2, 32);
    a3 = scrambled(a3, 48);
  }
  v128.store(ACC, a0);
  v128.store(ACC, a1, 16);
  v128.store(ACC, a2, 32);
  v128.store(ACC, a3, 48);
}

/** As feed, and copies what it reads. The ranges must not overlap. */
export function feedCopy(target: usize, data: usize, stripes: usize): void {
  const last = data + stripes * STRIPE_BYTES;
  let a0 = v128.load(ACC);
  let a1 = v128.load(ACC, 16);
  let a2 = v128.load(ACC, 32);
  let a3 = v128.load(ACC, 48);
  while (data < last) {
    const blockEnd = data + DIGEST_BLOCK_BYTES;
    const end = min(blockEnd, last);
    let s0 = i64x2.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let secret = SECRET;
    while (data < end) {
      const d0 = v128.load(data);
      const d1 = v128.load(data, 16);
      v128.store(target, d0);
      v128.store(target, d1, 16);
      s0 = i64x2.add(s0, d0);
      s1 = i64x2.add(s1, d1);
      const k0 = v128.xor(d0, v128.load(secret));
      const k1 = v128.xor(d1, v128.load(secret, 16));
      const low01 = v128.shuffle<i32>(k0, k1, 0, 2, 4, 6);
      const high01 = v128.shuffle<i32>(k0, k1, 1, 3, 5, 7);
      a0 = i64x2.add(a0, i64x2.extmul_low_i32x4_u(low01, high01));
      a1 = i64x2.add(a1, i64x2.extmul_high_i32x4_u(low01, high01));
      if (data == end) break;
      const d2 = v128.load(data, 32);
      const d3 = v128.load(data, 48);
      v128.store(target, d2, 32);
      v128.store(target, d3, 48);
      s2 = i64x2.add(s2, d2);
      s3 = i64x2.add(s3, d3);
      const k2 = v128.xor(d2, v128.load(secret, 32));
      const k3 = v128.xor(d3, v128.load(secret, 48));
      const low23 = v128.shuffle<i32>(k2, k3, 0, 2, 4, 6);
      const high23 = v128.shuffle<i32>(k2, k3, 1, 3, 5, 7);
      a2 = i64x2.add(a2, i64x2.extmul_low_i32x4_u(low23, high23));
      a3 = i64x2.add(a3, i64x2.extmul_high_i32x4_u(low23, high23));
      data += STRIPE_BYTES;
      target += STRIPE_BYTES;
      secret += 8;
    }
    a0 = sum(a0, s0);
    a1 = sum(a1, s1);
    a2 = sum(a2, s2);
    a3 = sum(a3, s3);
    if (data < blockEnd) break;
    a0 = scrambled(a0, 0);
    a1 = scrambled(a1, 16);
    a2 = scrambled(a2, 32);
    a3 = scrambled(a3, 48);
  }
  v128.store(ACC, a0);
  v128.store(ACC, a1, 16);
  v128.store(ACC, a2, 32);
  v128.store(ACC, a3, 48);
}

/** Feeds the last 64 bytes, which may have been fed in part before. */
export function feedLast(data: usize): void {
  for (let at: usize = 0; at < STRIPE_BYTES; at += 16) {
    const d = v128.load(data + at);
    const key = v128.xor(d, v128.load(LAST_SECRET + at));
    const low = v128.shuffle<i32>(key, key, 0, 2, 0, 2);
    const high = v128.shuffle<i32>(key, key, 1, 3, 1, 3);
    const products = i64x2.add(v128.load(ACC + at), i64x2.extmul_low_i32x4_u(low, high));
    v128.store(ACC + at, sum(products, d));
  }
}

/** As feedLast, and copies the 64 bytes. The ranges must not overlap. */
export function feedLastCopy(target: usize, data: usize): void {
  for (let at: usize = 0; at < STRIPE_BYTES; at += 16) v128.store(target + at, v128.load(data + at));
  feedLast(data);
}

export function lowResult(bytes: u64): u64 {
  return merge(LOW_SECRET, bytes * PRIME64_1);
}

export function highResult(bytes: u64): u64 {
  return merge(HIGH_SECRET, ~(bytes * PRIME64_2));
}

function merge(secret: usize, start: u64): u64 {
  let result = start;
  for (let i: usize = 0; i < 64; i += 16) {
    const low = load<u64>(ACC + i) ^ load<u64>(secret + i);
    const high = load<u64>(ACC + i, 8) ^ load<u64>(secret + i, 8);
    result += fold(low, high);
  }
  return avalanche(result);
}

/** The products and the data, its lanes swapped. */
function sum(products: v128, data: v128): v128 {
  return i64x2.add(products, v128.shuffle<i64>(data, data, 1, 0));
}

function scrambled(acc: v128, at: usize): v128 {
  const mixed = v128.xor(v128.xor(acc, i64x2.shr_u(acc, 47)), v128.load(SCRAMBLE_SECRET + at));
  return i64x2.mul(mixed, i64x2.splat(PRIME32_1));
}
