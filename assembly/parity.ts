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
// Q and R are Horner's rule from the last unit down to the first: double (or halve) and add. Four units are
// taken at a time, so that their pointers are in registers, and after four doublings the vectors carry their
// own names again. Missing units beyond the last are the zero page, which changes nothing at that end; as
// that is one page, the work goes in pieces of one page, which also keeps the rows in the first-level cache.
//
// Outputs must not overlap sources or each other. Nothing needs to be aligned; aligned is faster.

import { DATA_UNITS_MAX, PARITY_UNITS_MAX } from "./format";
import {
  GROUPS_OFFSET,
  PROMISE_PARITY_BYTES,
  PROMISE_PARITY_SHAPE,
  ZERO_PAGE_BYTES,
  ZERO_PAGE_OFFSET,
} from "./layout";
import { addToP, addToQ, addToR } from "./parity_row";
import { addToPQ, addToPQR } from "./parity_rows";
import { promised } from "./promise";

const GROUPS: usize = GROUPS_OFFSET;
const GROUP_BYTES: usize = 16;

/** `units`: k data pointers, then m parity pointers. */
export function encodeParity(units: usize, k: u32, m: u32, bytes: usize): void {
  promised(k >= 1 && k <= <u32>DATA_UNITS_MAX && m <= <u32>PARITY_UNITS_MAX, PROMISE_PARITY_SHAPE);
  promised(bytes % 64 == 0, PROMISE_PARITY_BYTES);
  const parity = units + ((<usize>k) << 2);
  for (let from: usize = 0; from < bytes; from += ZERO_PAGE_BYTES) {
    const to: usize = min<usize>(from + ZERO_PAGE_BYTES, bytes);
    encodeRows((1 << m) - 1, units, k, parity, from, to);
  }
}

/**
 * The rows whose bits are set in `rows` (1 is P, 2 is Q, 4 is R), at most one page of them. `outs` points to
 * one pointer for each row that is set, in this order.
 */
export function encodeRows(rows: u32, units: usize, k: u32, outs: usize, from: usize, to: usize): void {
  const end = pointAtGroups(units, k, from);
  if (rows == 3) return encodePQ(end, load<u32>(outs), load<u32>(outs, 4), from, to);
  if (rows == 7) return encodePQR(end, load<u32>(outs), load<u32>(outs, 4), load<u32>(outs, 8), from, to);
  for (let row: u32 = 0; row < 3; row++) {
    if (((rows >> row) & 1) == 0) continue;
    encodeRow(row, end, load<u32>(outs), from, to);
    outs += 4;
  }
}

/** The zero page, addressed so that offset `from` falls on its start. */
export function zerosAt(from: usize): usize {
  return <usize>ZERO_PAGE_OFFSET - from;
}

/** Copies the pointers, filled up to whole groups; returns where the last group ends. */
function pointAtGroups(units: usize, k: u32, from: usize): usize {
  const bytes = (<usize>k) << 2;
  const end = (bytes + GROUP_BYTES - 1) & ~(GROUP_BYTES - 1);
  for (let at: usize = 0; at < bytes; at += 4) store<u32>(GROUPS + at, load<u32>(units + at));
  for (let at = bytes; at < end; at += 4) store<u32>(GROUPS + at, <u32>zerosAt(from));
  return GROUPS + end;
}

function encodePQ(group: usize, p: usize, q: usize, from: usize, to: usize): void {
  let pFrom = zerosAt(from);
  let qFrom = pFrom;
  while (group > GROUPS) {
    group -= GROUP_BYTES;
    addToPQ(group, p, pFrom, q, qFrom, from, to);
    pFrom = p;
    qFrom = q;
  }
}

function encodePQR(group: usize, p: usize, q: usize, r: usize, from: usize, to: usize): void {
  let pFrom = zerosAt(from);
  let qFrom = pFrom;
  let rFrom = pFrom;
  while (group > GROUPS) {
    group -= GROUP_BYTES;
    addToPQR(group, p, pFrom, q, qFrom, r, rFrom, from, to);
    pFrom = p;
    qFrom = q;
    rFrom = r;
  }
}

function encodeRow(row: u32, group: usize, out: usize, from: usize, to: usize): void {
  let outFrom = zerosAt(from);
  while (group > GROUPS) {
    group -= GROUP_BYTES;
    if (row == 0) addToP(group, out, outFrom, from, to);
    else if (row == 1) addToQ(group, out, outFrom, from, to);
    else addToR(group, out, outFrom, from, to);
    outFrom = out;
  }
}
