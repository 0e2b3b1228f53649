// Parity: P, Q and R over 1 to 15 data units, in GF(16), bit-sliced.
//
// A symbol has four bits. Of each 64-byte group of a unit, bit b of 128 symbols is the 16-byte vector b, so
// XOR adds 128 symbols at once, and a multiplication by the generator g is a renaming of vectors and one
// XOR. With x^4 = x + 1:
//
//     (v0, v1, v2, v3) * g     = (v3, v0 + v3, v1, v2)
//     (v0, v1, v2, v3) * g^-1  = (v0 + v1, v2, v3, v0)
//
//     P = sum d_i        Q = sum g^i d_i        R = sum g^-i d_i         i = 0 .. k-1, k at most 15
//
// Any m of the k + m units may be lost. Take rows of {1, y, 1/y} and as many columns, y = g^i. One row: no
// element is zero. Two rows: columns scaled by y where needed are (1, y), (1, 1/y) or (1, y^2), and y^2 is
// another for each y. Three rows: columns scaled by y are (y, y^2, 1). All are Vandermonde, and the y differ
// for i below 15, so every such matrix can be inverted. k = 1 gives P = Q = R = d_0: mirrors.
//
// Q and R are Horner's rule from the last unit down to the first: double (or halve) and add.
//
// One whole 64-byte line of every unit at a time, the sums in locals, and one unit a turn: V8 hoists the loads
// of a basic block and then has them all alive, so that a loop with four units written out spills and is a
// third slower on Node 20. V8 unrolls the short loop by itself and then renames registers instead of moving
// vectors. The sums start as the last unit's line, not as zeros: a turn less, a tenth faster.
//
// Node traps on addresses beyond the memory by its page tables; Deno 2.9 compares every address before it is
// used, two a cycle, which is what bounds P there: three quarters of a copy's speed, on Node nine tenths.
//
// The functions compute bytes `from` to `to` (multiples of 64); `units` points to k pointers. Outputs must not
// overlap sources or each other. Nothing needs to be aligned; aligned is faster.

import { DATA_UNITS_MAX, PARITY_UNITS_MAX } from "./format";
import { PROMISE_PARITY_BYTES, PROMISE_PARITY_SHAPE } from "./layout";
import { promised } from "./promise";

/** `units`: k data pointers, then m parity pointers. */
export function encodeParity(units: usize, k: u32, m: u32, bytes: usize): void {
  promised(k >= 1 && k <= <u32>DATA_UNITS_MAX && m <= <u32>PARITY_UNITS_MAX, PROMISE_PARITY_SHAPE);
  promised(bytes % 64 == 0, PROMISE_PARITY_BYTES);
  encodeRows((1 << m) - 1, units, k, units + ((<usize>k) << 2), 0, bytes);
}

/**
 * The rows whose bits are set in `rows` (1 is P, 2 is Q, 4 is R). `outs` points to one pointer for each row
 * that is set, in this order.
 */
export function encodeRows(rows: u32, units: usize, k: u32, outs: usize, from: usize, to: usize): void {
  const first: usize = load<u32>(outs);
  const second: usize = load<u32>(outs, 4);
  if (rows == 3) return encodePQ(units, k, first, second, from, to);
  if (rows == 7) return encodePQR(units, k, first, second, load<u32>(outs, 8), from, to);
  for (let row: u32 = 0; row < 3; row++) {
    if (((rows >> row) & 1) == 0) continue;
    encodeRow(row, units, k, load<u32>(outs), from, to);
    outs += 4;
  }
}

function encodeRow(row: u32, units: usize, k: u32, out: usize, from: usize, to: usize): void {
  if (row == 0) encodeP(units, k, out, from, to);
  else if (row == 1) encodeQ(units, k, out, from, to);
  else encodeR(units, k, out, from, to);
}

/** P alone: d_0 + .. + d_(k-1). */
function encodeP(units: usize, k: u32, p: usize, from: usize, to: usize): void {
  const last = units + ((<usize>k) << 2) - 4;
  for (let at = from; at < to; at += 64) {
    const first = <usize>load<u32>(last) + at;
    let p0 = v128.load(first);
    let p1 = v128.load(first, 16);
    let p2 = v128.load(first, 32);
    let p3 = v128.load(first, 48);
    let unit = last;
    while (unit > units) {
      unit -= 4;
      const data = <usize>load<u32>(unit) + at;
      p0 = v128.xor(p0, v128.load(data));
      p1 = v128.xor(p1, v128.load(data, 16));
      p2 = v128.xor(p2, v128.load(data, 32));
      p3 = v128.xor(p3, v128.load(data, 48));
    }
    v128.store(p + at, p0);
    v128.store(p + at, p1, 16);
    v128.store(p + at, p2, 32);
    v128.store(p + at, p3, 48);
  }
}

/** Q alone: ((d_(k-1) g + d_(k-2)) g + ..) g + d_0. */
function encodeQ(units: usize, k: u32, q: usize, from: usize, to: usize): void {
  const last = units + ((<usize>k) << 2) - 4;
  for (let at = from; at < to; at += 64) {
    const first = <usize>load<u32>(last) + at;
    let q0 = v128.load(first);
    let q1 = v128.load(first, 16);
    let q2 = v128.load(first, 32);
    let q3 = v128.load(first, 48);
    let unit = last;
    while (unit > units) {
      unit -= 4;
      const data = <usize>load<u32>(unit) + at;
      const high = q3;
      const d3 = v128.load(data, 48);
      q3 = v128.xor(q2, d3);
      const d2 = v128.load(data, 32);
      q2 = v128.xor(q1, d2);
      const d1 = v128.load(data, 16);
      q1 = v128.xor(v128.xor(q0, high), d1);
      const d0 = v128.load(data);
      q0 = v128.xor(high, d0);
    }
    v128.store(q + at, q0);
    v128.store(q + at, q1, 16);
    v128.store(q + at, q2, 32);
    v128.store(q + at, q3, 48);
  }
}

/** R alone: ((d_(k-1) / g + d_(k-2)) / g + ..) / g + d_0. */
function encodeR(units: usize, k: u32, r: usize, from: usize, to: usize): void {
  const last = units + ((<usize>k) << 2) - 4;
  for (let at = from; at < to; at += 64) {
    const first = <usize>load<u32>(last) + at;
    let r0 = v128.load(first);
    let r1 = v128.load(first, 16);
    let r2 = v128.load(first, 32);
    let r3 = v128.load(first, 48);
    let unit = last;
    while (unit > units) {
      unit -= 4;
      const data = <usize>load<u32>(unit) + at;
      const low = r0;
      const d0 = v128.load(data);
      r0 = v128.xor(v128.xor(low, r1), d0);
      const d1 = v128.load(data, 16);
      r1 = v128.xor(r2, d1);
      const d2 = v128.load(data, 32);
      r2 = v128.xor(r3, d2);
      const d3 = v128.load(data, 48);
      r3 = v128.xor(low, d3);
    }
    v128.store(r + at, r0);
    v128.store(r + at, r1, 16);
    v128.store(r + at, r2, 32);
    v128.store(r + at, r3, 48);
  }
}

/** P and Q in one pass. */
function encodePQ(units: usize, k: u32, p: usize, q: usize, from: usize, to: usize): void {
  const last = units + ((<usize>k) << 2) - 4;
  for (let at = from; at < to; at += 64) {
    const first = <usize>load<u32>(last) + at;
    let p0 = v128.load(first);
    let p1 = v128.load(first, 16);
    let p2 = v128.load(first, 32);
    let p3 = v128.load(first, 48);
    let q0 = p0;
    let q1 = p1;
    let q2 = p2;
    let q3 = p3;
    let unit = last;
    while (unit > units) {
      unit -= 4;
      const data = <usize>load<u32>(unit) + at;
      const high = q3;
      const d3 = v128.load(data, 48);
      p3 = v128.xor(p3, d3);
      q3 = v128.xor(q2, d3);
      const d2 = v128.load(data, 32);
      p2 = v128.xor(p2, d2);
      q2 = v128.xor(q1, d2);
      const d1 = v128.load(data, 16);
      p1 = v128.xor(p1, d1);
      q1 = v128.xor(v128.xor(q0, high), d1);
      const d0 = v128.load(data);
      p0 = v128.xor(p0, d0);
      q0 = v128.xor(high, d0);
    }
    v128.store(p + at, p0);
    v128.store(p + at, p1, 16);
    v128.store(p + at, p2, 32);
    v128.store(p + at, p3, 48);
    v128.store(q + at, q0);
    v128.store(q + at, q1, 16);
    v128.store(q + at, q2, 32);
    v128.store(q + at, q3, 48);
  }
}

/** P, Q and R in one pass. */
function encodePQR(units: usize, k: u32, p: usize, q: usize, r: usize, from: usize, to: usize): void {
  const last = units + ((<usize>k) << 2) - 4;
  for (let at = from; at < to; at += 64) {
    const first = <usize>load<u32>(last) + at;
    let p0 = v128.load(first);
    let p1 = v128.load(first, 16);
    let p2 = v128.load(first, 32);
    let p3 = v128.load(first, 48);
    let q0 = p0;
    let q1 = p1;
    let q2 = p2;
    let q3 = p3;
    let r0 = p0;
    let r1 = p1;
    let r2 = p2;
    let r3 = p3;
    let unit = last;
    while (unit > units) {
      unit -= 4;
      const data = <usize>load<u32>(unit) + at;
      const high = q3;
      const low = r0;
      const r_1 = r1;
      const r_2 = r2;
      const r_3 = r3;
      const d3 = v128.load(data, 48);
      p3 = v128.xor(p3, d3);
      q3 = v128.xor(q2, d3);
      r3 = v128.xor(low, d3);
      const d2 = v128.load(data, 32);
      p2 = v128.xor(p2, d2);
      q2 = v128.xor(q1, d2);
      r2 = v128.xor(r_3, d2);
      const d1 = v128.load(data, 16);
      p1 = v128.xor(p1, d1);
      q1 = v128.xor(v128.xor(q0, high), d1);
      r1 = v128.xor(r_2, d1);
      const d0 = v128.load(data);
      p0 = v128.xor(p0, d0);
      q0 = v128.xor(high, d0);
      r0 = v128.xor(v128.xor(low, r_1), d0);
    }
    v128.store(p + at, p0);
    v128.store(p + at, p1, 16);
    v128.store(p + at, p2, 32);
    v128.store(p + at, p3, 48);
    v128.store(q + at, q0);
    v128.store(q + at, q1, 16);
    v128.store(q + at, q2, 32);
    v128.store(q + at, q3, 48);
    v128.store(r + at, r0);
    v128.store(r + at, r1, 16);
    v128.store(r + at, r2, 32);
    v128.store(r + at, r3, 48);
  }
}
