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
// Any m of the k + m units may be lost. Take rows of {1, y, 1/y} and as many columns, y = g^i: one row is not
// zero; two rows are, after a column is scaled by y where needed, (1, y), (1, 1/y) or (1, y^2), and y^2 is
// another for each y; three rows times y are (y, y^2, 1). All are Vandermonde, all y differ for i below 15,
// so every such matrix can be inverted. k = 1 gives P = Q = R = d_0: mirrors.
//
// Q and R are both Horner's rule from the last unit down to the first: double (or halve) and add. Where the
// count of units is a multiple of four the names of the vectors come back to themselves, so four units are
// written out at a time. Every source is read one whole 64-byte line at a time.
//
// The functions compute bytes `from` to `to` (multiples of 64) of each unit; `units` points to `k` pointers.
// Outputs must not overlap sources or each other. Nothing needs to be aligned, aligned is faster.

import { DATA_UNITS_MAX, PARITY_UNITS_MAX } from "./format";
import { PROMISE_PARITY_BYTES, PROMISE_PARITY_SHAPE } from "./layout";
import { promised } from "./promise";

/** `units`: k data pointers, then m parity pointers. */
export function encodeParity(units: usize, k: u32, m: u32, bytes: usize): void {
  promised(k >= 1 && k <= <u32>DATA_UNITS_MAX && m <= <u32>PARITY_UNITS_MAX, PROMISE_PARITY_SHAPE);
  promised(bytes % 64 == 0, PROMISE_PARITY_BYTES);
  const parity = units + ((<usize>k) << 2);
  if (m == 1) return encodeP(units, k, load<u32>(parity), 0, bytes);
  if (m == 2) return encodePQ(units, k, load<u32>(parity), load<u32>(parity, 4), 0, bytes);
  if (m == 3)
    return encodePQR(units, k, load<u32>(parity), load<u32>(parity, 4), load<u32>(parity, 8), 0, bytes);
}

/** One row alone: 0 is P, 1 is Q, 2 is R. */
export function encodeRow(row: u32, units: usize, k: u32, out: usize, from: usize, to: usize): void {
  if (row == 0) return encodeP(units, k, out, from, to);
  if (row == 1) return encodeQ(units, k, out, from, to);
  return encodeR(units, k, out, from, to);
}

/** P alone. */
export function encodeP(units: usize, k: u32, pOut: usize, from: usize, to: usize): void {
  const last = units + ((<usize>k) << 2);
  for (let at = from; at < to; at += 64) {
    let p0 = i64x2.splat(0);
    let p1 = i64x2.splat(0);
    let p2 = i64x2.splat(0);
    let p3 = i64x2.splat(0);
    let unit = last;
    for (let odd = k & 3; odd > 0; odd--) {
      const data: usize = <usize>load<u32>(unit - 4) + at;
      const d0 = v128.load(data);
      const d1 = v128.load(data, 16);
      const d2 = v128.load(data, 32);
      const d3 = v128.load(data, 48);
      p0 = v128.xor(p0, d0);
      p1 = v128.xor(p1, d1);
      p2 = v128.xor(p2, d2);
      p3 = v128.xor(p3, d3);
      unit -= 4;
    }
    while (unit > units) {
      {
        const data: usize = <usize>load<u32>(unit - 4) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
      }
      {
        const data: usize = <usize>load<u32>(unit - 8) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
      }
      {
        const data: usize = <usize>load<u32>(unit - 12) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
      }
      {
        const data: usize = <usize>load<u32>(unit - 16) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
      }
      unit -= 16;
    }
    v128.store(pOut + at, p0);
    v128.store(pOut + at, p1, 16);
    v128.store(pOut + at, p2, 32);
    v128.store(pOut + at, p3, 48);
  }
}

/** Q alone. */
export function encodeQ(units: usize, k: u32, qOut: usize, from: usize, to: usize): void {
  const last = units + ((<usize>k) << 2);
  for (let at = from; at < to; at += 64) {
    let q0 = i64x2.splat(0);
    let q1 = i64x2.splat(0);
    let q2 = i64x2.splat(0);
    let q3 = i64x2.splat(0);
    let unit = last;
    for (let odd = k & 3; odd > 0; odd--) {
      const data: usize = <usize>load<u32>(unit - 4) + at;
      const d0 = v128.load(data);
      const d1 = v128.load(data, 16);
      const d2 = v128.load(data, 32);
      const d3 = v128.load(data, 48);
      const q = q3;
      q3 = v128.xor(q2, d3);
      q2 = v128.xor(q1, d2);
      q1 = v128.xor(v128.xor(q0, q), d1);
      q0 = v128.xor(q, d0);
      unit -= 4;
    }
    while (unit > units) {
      {
        const data: usize = <usize>load<u32>(unit - 4) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
      }
      {
        const data: usize = <usize>load<u32>(unit - 8) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
      }
      {
        const data: usize = <usize>load<u32>(unit - 12) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
      }
      {
        const data: usize = <usize>load<u32>(unit - 16) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
      }
      unit -= 16;
    }
    v128.store(qOut + at, q0);
    v128.store(qOut + at, q1, 16);
    v128.store(qOut + at, q2, 32);
    v128.store(qOut + at, q3, 48);
  }
}

/** R alone. */
export function encodeR(units: usize, k: u32, rOut: usize, from: usize, to: usize): void {
  const last = units + ((<usize>k) << 2);
  for (let at = from; at < to; at += 64) {
    let r0 = i64x2.splat(0);
    let r1 = i64x2.splat(0);
    let r2 = i64x2.splat(0);
    let r3 = i64x2.splat(0);
    let unit = last;
    for (let odd = k & 3; odd > 0; odd--) {
      const data: usize = <usize>load<u32>(unit - 4) + at;
      const d0 = v128.load(data);
      const d1 = v128.load(data, 16);
      const d2 = v128.load(data, 32);
      const d3 = v128.load(data, 48);
      const r = r0;
      r0 = v128.xor(v128.xor(r, r1), d0);
      r1 = v128.xor(r2, d1);
      r2 = v128.xor(r3, d2);
      r3 = v128.xor(r, d3);
      unit -= 4;
    }
    while (unit > units) {
      {
        const data: usize = <usize>load<u32>(unit - 4) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        const r = r0;
        r0 = v128.xor(v128.xor(r, r1), d0);
        r1 = v128.xor(r2, d1);
        r2 = v128.xor(r3, d2);
        r3 = v128.xor(r, d3);
      }
      {
        const data: usize = <usize>load<u32>(unit - 8) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        const r = r0;
        r0 = v128.xor(v128.xor(r, r1), d0);
        r1 = v128.xor(r2, d1);
        r2 = v128.xor(r3, d2);
        r3 = v128.xor(r, d3);
      }
      {
        const data: usize = <usize>load<u32>(unit - 12) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        const r = r0;
        r0 = v128.xor(v128.xor(r, r1), d0);
        r1 = v128.xor(r2, d1);
        r2 = v128.xor(r3, d2);
        r3 = v128.xor(r, d3);
      }
      {
        const data: usize = <usize>load<u32>(unit - 16) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        const r = r0;
        r0 = v128.xor(v128.xor(r, r1), d0);
        r1 = v128.xor(r2, d1);
        r2 = v128.xor(r3, d2);
        r3 = v128.xor(r, d3);
      }
      unit -= 16;
    }
    v128.store(rOut + at, r0);
    v128.store(rOut + at, r1, 16);
    v128.store(rOut + at, r2, 32);
    v128.store(rOut + at, r3, 48);
  }
}

/** P and Q in one pass. */
export function encodePQ(units: usize, k: u32, pOut: usize, qOut: usize, from: usize, to: usize): void {
  const last = units + ((<usize>k) << 2);
  for (let at = from; at < to; at += 64) {
    let p0 = i64x2.splat(0);
    let p1 = i64x2.splat(0);
    let p2 = i64x2.splat(0);
    let p3 = i64x2.splat(0);
    let q0 = i64x2.splat(0);
    let q1 = i64x2.splat(0);
    let q2 = i64x2.splat(0);
    let q3 = i64x2.splat(0);
    let unit = last;
    for (let odd = k & 3; odd > 0; odd--) {
      const data: usize = <usize>load<u32>(unit - 4) + at;
      const d0 = v128.load(data);
      const d1 = v128.load(data, 16);
      const d2 = v128.load(data, 32);
      const d3 = v128.load(data, 48);
      p0 = v128.xor(p0, d0);
      p1 = v128.xor(p1, d1);
      p2 = v128.xor(p2, d2);
      p3 = v128.xor(p3, d3);
      const q = q3;
      q3 = v128.xor(q2, d3);
      q2 = v128.xor(q1, d2);
      q1 = v128.xor(v128.xor(q0, q), d1);
      q0 = v128.xor(q, d0);
      unit -= 4;
    }
    while (unit > units) {
      {
        const data: usize = <usize>load<u32>(unit - 4) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
      }
      {
        const data: usize = <usize>load<u32>(unit - 8) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
      }
      {
        const data: usize = <usize>load<u32>(unit - 12) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
      }
      {
        const data: usize = <usize>load<u32>(unit - 16) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
      }
      unit -= 16;
    }
    v128.store(pOut + at, p0);
    v128.store(pOut + at, p1, 16);
    v128.store(pOut + at, p2, 32);
    v128.store(pOut + at, p3, 48);
    v128.store(qOut + at, q0);
    v128.store(qOut + at, q1, 16);
    v128.store(qOut + at, q2, 32);
    v128.store(qOut + at, q3, 48);
  }
}

/** P, Q and R in one pass. */
export function encodePQR(
  units: usize,
  k: u32,
  pOut: usize,
  qOut: usize,
  rOut: usize,
  from: usize,
  to: usize,
): void {
  const last = units + ((<usize>k) << 2);
  for (let at = from; at < to; at += 64) {
    let p0 = i64x2.splat(0);
    let p1 = i64x2.splat(0);
    let p2 = i64x2.splat(0);
    let p3 = i64x2.splat(0);
    let q0 = i64x2.splat(0);
    let q1 = i64x2.splat(0);
    let q2 = i64x2.splat(0);
    let q3 = i64x2.splat(0);
    let r0 = i64x2.splat(0);
    let r1 = i64x2.splat(0);
    let r2 = i64x2.splat(0);
    let r3 = i64x2.splat(0);
    let unit = last;
    for (let odd = k & 3; odd > 0; odd--) {
      const data: usize = <usize>load<u32>(unit - 4) + at;
      const d0 = v128.load(data);
      const d1 = v128.load(data, 16);
      const d2 = v128.load(data, 32);
      const d3 = v128.load(data, 48);
      p0 = v128.xor(p0, d0);
      p1 = v128.xor(p1, d1);
      p2 = v128.xor(p2, d2);
      p3 = v128.xor(p3, d3);
      const q = q3;
      q3 = v128.xor(q2, d3);
      q2 = v128.xor(q1, d2);
      q1 = v128.xor(v128.xor(q0, q), d1);
      q0 = v128.xor(q, d0);
      const r = r0;
      r0 = v128.xor(v128.xor(r, r1), d0);
      r1 = v128.xor(r2, d1);
      r2 = v128.xor(r3, d2);
      r3 = v128.xor(r, d3);
      unit -= 4;
    }
    while (unit > units) {
      {
        const data: usize = <usize>load<u32>(unit - 4) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
        const r = r0;
        r0 = v128.xor(v128.xor(r, r1), d0);
        r1 = v128.xor(r2, d1);
        r2 = v128.xor(r3, d2);
        r3 = v128.xor(r, d3);
      }
      {
        const data: usize = <usize>load<u32>(unit - 8) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
        const r = r0;
        r0 = v128.xor(v128.xor(r, r1), d0);
        r1 = v128.xor(r2, d1);
        r2 = v128.xor(r3, d2);
        r3 = v128.xor(r, d3);
      }
      {
        const data: usize = <usize>load<u32>(unit - 12) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
        const r = r0;
        r0 = v128.xor(v128.xor(r, r1), d0);
        r1 = v128.xor(r2, d1);
        r2 = v128.xor(r3, d2);
        r3 = v128.xor(r, d3);
      }
      {
        const data: usize = <usize>load<u32>(unit - 16) + at;
        const d0 = v128.load(data);
        const d1 = v128.load(data, 16);
        const d2 = v128.load(data, 32);
        const d3 = v128.load(data, 48);
        p0 = v128.xor(p0, d0);
        p1 = v128.xor(p1, d1);
        p2 = v128.xor(p2, d2);
        p3 = v128.xor(p3, d3);
        const q = q3;
        q3 = v128.xor(q2, d3);
        q2 = v128.xor(q1, d2);
        q1 = v128.xor(v128.xor(q0, q), d1);
        q0 = v128.xor(q, d0);
        const r = r0;
        r0 = v128.xor(v128.xor(r, r1), d0);
        r1 = v128.xor(r2, d1);
        r2 = v128.xor(r3, d2);
        r3 = v128.xor(r, d3);
      }
      unit -= 16;
    }
    v128.store(pOut + at, p0);
    v128.store(pOut + at, p1, 16);
    v128.store(pOut + at, p2, 32);
    v128.store(pOut + at, p3, 48);
    v128.store(qOut + at, q0);
    v128.store(qOut + at, q1, 16);
    v128.store(qOut + at, q2, 32);
    v128.store(qOut + at, q3, 48);
    v128.store(rOut + at, r0);
    v128.store(rOut + at, r1, 16);
    v128.store(rOut + at, r2, 32);
    v128.store(rOut + at, r3, 48);
  }
}
