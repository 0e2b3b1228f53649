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
// are swapped once a block. Twelve vectors live at once: four products, four sums, four of data.
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
const BLOCK_STRIPES: usize = 16;
const ACC: usize = ACCUMULATORS_OFFSET;
const SECRET: usize = SECRET_OFFSET;
const SCRAMBLE_SECRET: usize = SECRET_OFFSET + 128;
const LAST_SECRET: usize = SECRET_OFFSET + 121;
const LOW_SECRET: usize = SECRET_OFFSET + 11;
const HIGH_SECRET: usize = SECRET_OFFSET + 117;

export function begin(): void {
  store<u64>(ACC, PRIME32_3);
  store<u64>(ACC, PRIME64_1, 8);
  store<u64>(ACC, PRIME64_2, 16);
  store<u64>(ACC, PRIME64_3, 24);
  store<u64>(ACC, PRIME64_4, 32);
  store<u64>(ACC, PRIME32_2, 40);
  store<u64>(ACC, PRIME64_5, 48);
  store<u64>(ACC, PRIME32_1, 56);
}

/** Feeds whole blocks, each followed by the scramble; more data must come after them. */
export function feedBlocks(data: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    accumulate(data, BLOCK_STRIPES, SECRET);
    scramble();
    data += DIGEST_BLOCK_BYTES;
  }
}

/** As feedBlocks, and copies what it reads. The ranges must not overlap. */
export function copyBlocks(target: usize, data: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    accumulateCopy(target, data, BLOCK_STRIPES, SECRET);
    scramble();
    target += DIGEST_BLOCK_BYTES;
    data += DIGEST_BLOCK_BYTES;
  }
}

/** Feeds the last 1 to 1024 bytes. The 64 bytes that end the data must lie in one piece. */
export function feedLast(data: usize, bytes: usize): void {
  accumulate(data, (bytes - 1) / STRIPE_BYTES, SECRET);
  accumulate(data + bytes - STRIPE_BYTES, 1, LAST_SECRET);
}

export function copyLast(target: usize, data: usize, bytes: usize): void {
  accumulateCopy(target, data, (bytes - 1) / STRIPE_BYTES, SECRET);
  accumulateCopy(target + bytes - STRIPE_BYTES, data + bytes - STRIPE_BYTES, 1, LAST_SECRET);
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

function accumulate(data: usize, stripes: usize, secret: usize): void {
  let a0 = v128.load(ACC);
  let a1 = v128.load(ACC, 16);
  let a2 = v128.load(ACC, 32);
  let a3 = v128.load(ACC, 48);
  let s0 = i64x2.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  const end = data + stripes * STRIPE_BYTES;
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
  keep(0, a0, s0);
  keep(16, a1, s1);
  keep(32, a2, s2);
  keep(48, a3, s3);
}

function accumulateCopy(target: usize, data: usize, stripes: usize, secret: usize): void {
  let a0 = v128.load(ACC);
  let a1 = v128.load(ACC, 16);
  let a2 = v128.load(ACC, 32);
  let a3 = v128.load(ACC, 48);
  let s0 = i64x2.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  const end = data + stripes * STRIPE_BYTES;
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
  keep(0, a0, s0);
  keep(16, a1, s1);
  keep(32, a2, s2);
  keep(48, a3, s3);
}

/** Adds the sum of the data, its lanes swapped, to the products, and stores both. */
function keep(at: usize, products: v128, sum: v128): void {
  v128.store(ACC + at, i64x2.add(products, v128.shuffle<i64>(sum, sum, 1, 0)));
}

function scramble(): void {
  const prime = i64x2.splat(PRIME32_1);
  for (let i: usize = 0; i < 64; i += 16) {
    const acc = v128.load(ACC + i);
    const mixed = v128.xor(v128.xor(acc, i64x2.shr_u(acc, 47)), v128.load(SCRAMBLE_SECRET + i));
    v128.store(ACC + i, i64x2.mul(mixed, prime));
  }
}
