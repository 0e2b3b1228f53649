// Lost units from the others: any combination of at most m of the k + m units.
//
//   lost data   parity that is there   way
//   1           P                      P stands in for the lost unit: encode P
//   1           Q or R                 walk to the lost unit from both ends (recover.ts)
//   2           P, and Q or R          the same, with P beside it
//   2           Q and R                three unknowns, P is the third
//   3           P, Q and R             three unknowns
//
// Lost parity is encoded again afterwards, from whole data.
//
// Three unknowns: the sums over the living data are encoded into the lost units' buffers and the parity is
// added, which leaves the syndromes
//
//     S_r = sum over the lost units u of coefficient(r, u) u
//
// with the coefficients (1, g^i, g^-i) of data unit i, and (1, 0, 0) of P, of which nothing is known to add.
// The inverse of this matrix goes to `solve`. It exists: parity.ts.
//
// Lost data units read as zeros meanwhile: their pointers are sent to the zero page, and the work goes in
// pieces of one page, which also keeps it in the first-level cache.

import { coefficient, inverse, power, times } from "./field";
import { DATA_UNITS_MAX, PARITY_UNITS_MAX } from "./format";
import {
  FACTORS_OFFSET,
  PROMISE_LOST_COUNT,
  PROMISE_PARITY_BYTES,
  PROMISE_PARITY_SHAPE,
  WORK_OUTPUTS_OFFSET,
  WORK_PARITY_OFFSET,
  WORK_UNITS_OFFSET,
  ZERO_PAGE_BYTES,
  ZERO_PAGE_OFFSET,
} from "./layout";
import { encodeRows } from "./parity";
import { promised } from "./promise";
import { recoverOne, recoverTwo } from "./recover";
import { solve } from "./solve";

const WORK: usize = WORK_UNITS_OFFSET;
const OUTPUTS: usize = WORK_OUTPUTS_OFFSET;
const PARITY: usize = WORK_PARITY_OFFSET;
const FACTORS: usize = FACTORS_OFFSET;
/** More than any k: no unit. */
const NONE: u32 = 31;

/** `units`: k data pointers, then m parity pointers; bit i of `lostMask`: unit i is lost, and is written. */
export function reconstruct(units: usize, k: u32, m: u32, lostMask: u32, bytes: usize): void {
  promised(k >= 1 && k <= <u32>DATA_UNITS_MAX && m <= <u32>PARITY_UNITS_MAX, PROMISE_PARITY_SHAPE);
  promised(bytes % 64 == 0, PROMISE_PARITY_BYTES);
  promised(lostMask >> (k + m) == 0 && <u32>popcnt(lostMask) <= m, PROMISE_LOST_COUNT);
  const lostData = lostMask & ((1 << k) - 1);
  const lostRows = lostMask >> k;
  const rows = ((1 << m) - 1) & ~lostRows;
  const unknowns = lostData | ((lostRows & 1) << k);
  const count = popcnt(lostData);
  if (count == 3 || (count == 2 && (rows & 1) == 0)) {
    restoreThree(units, k, unknowns, bytes);
    encodeLost(units, k, lostRows & ~1, bytes);
    return;
  }
  if (count == 2) restoreTwo(units, k, lostData, rows, bytes);
  else if (count == 1) restoreOne(units, k, ctz(lostData), rows, bytes);
  encodeLost(units, k, lostRows, bytes);
}

function restoreOne(units: usize, k: u32, lost: u32, rows: u32, bytes: usize): void {
  const row = <u32>ctz(rows);
  const out = pointer(units, lost);
  if (row == 0) {
    for (let unit: u32 = 0; unit < k; unit++) setPointer(WORK, unit, pointer(units, unit));
    setPointer(WORK, lost, pointer(units, k));
    setPointer(OUTPUTS, 0, out);
    encodeRows(1, WORK, k, OUTPUTS, 0, bytes);
    return;
  }
  for (let from: usize = 0; from < bytes; from += ZERO_PAGE_BYTES) {
    const halved = pointWalks(units, k, row, lost, NONE, from);
    recoverOne(WORK, halved, walksEnd(k), out, from, pieceEnd(from, bytes));
  }
}

function restoreTwo(units: usize, k: u32, lostData: u32, rows: u32, bytes: usize): void {
  const a = <u32>ctz(lostData);
  const b = <u32>ctz(lostData & (lostData - 1));
  const row = <u32>ctz(rows & ~1);
  const c = inverse(1 ^ (row == 1 ? power(b - a) : power(15 - (b - a))));
  const p = pointer(units, k);
  const outA = pointer(units, a);
  const outB = pointer(units, b);
  for (let from: usize = 0; from < bytes; from += ZERO_PAGE_BYTES) {
    const halved = pointWalks(units, k, row, a, b, from);
    recoverTwo(WORK, halved, walksEnd(k), p, c, outA, outB, from, pieceEnd(from, bytes));
  }
}

/** `unknowns`: a bit for each of the three units, P has bit k. */
function restoreThree(units: usize, k: u32, unknowns: u32, bytes: usize): void {
  fillFactors(k, unknowns);
  for (let row: u32 = 0, rest = unknowns; row < 3; row++, rest &= rest - 1) {
    setPointer(OUTPUTS, row, pointer(units, ctz(rest)));
    setPointer(PARITY, row, pointer(units, k + row));
  }
  for (let from: usize = 0; from < bytes; from += ZERO_PAGE_BYTES) {
    const to = pieceEnd(from, bytes);
    for (let unit: u32 = 0; unit < k; unit++) setPointer(WORK, unit, orZeros(units, unit, unknowns, from));
    setPointer(PARITY, 0, orZeros(units, k, unknowns, from));
    encodeRows(7, WORK, k, OUTPUTS, from, to);
    solve(OUTPUTS, PARITY, FACTORS, from, to);
  }
}

/** Encodes lost parity again; all data is there. */
function encodeLost(units: usize, k: u32, lostRows: u32, bytes: usize): void {
  if (lostRows == 0) return;
  let count: u32 = 0;
  for (let row: u32 = 0; row < <u32>PARITY_UNITS_MAX; row++) {
    if ((lostRows >> row) & 1) setPointer(OUTPUTS, count++, pointer(units, k + row));
  }
  encodeRows(lostRows, units, k, OUTPUTS, 0, bytes);
}

function pieceEnd(from: usize, bytes: usize): usize {
  return min<usize>(from + ZERO_PAGE_BYTES, bytes);
}

function pointer(table: usize, index: u32): usize {
  return load<u32>(table + ((<usize>index) << 2));
}

function setPointer(table: usize, index: u32, value: usize): void {
  store<u32>(table + ((<usize>index) << 2), <u32>value);
}

/** The zero page, addressed so that offset `from` falls on its start. */
function zerosAt(from: usize): usize {
  return <usize>ZERO_PAGE_OFFSET - from;
}

function orZeros(units: usize, unit: u32, lost: u32, from: usize): usize {
  return (lost >> unit) & 1 ? zerosAt(from) : pointer(units, unit);
}

/**
 * Fills the working table with the walks to unit a: the one that doubles, then the one that halves, whose
 * place is returned. For Q the upper units are doubled and the lower ones halved, for R the other way round.
 */
function pointWalks(units: usize, k: u32, row: u32, a: u32, b: u32, from: usize): usize {
  const upperCount = k - a;
  const lowerCount = a + 1;
  const halved = row == 1 ? upperCount : lowerCount;
  const upper = row == 1 ? 0 : lowerCount;
  const lower = row == 1 ? upperCount : 0;
  setPointer(WORK, upper, zerosAt(from));
  for (let i: u32 = 1; i < upperCount; i++) setPointer(WORK, upper + i, orZeros(units, k - i, 1 << b, from));
  setPointer(WORK, lower, pointer(units, k + row));
  for (let i: u32 = 1; i < lowerCount; i++) setPointer(WORK, lower + i, pointer(units, i - 1));
  return WORK + ((<usize>halved) << 2);
}

/** Both walks have k + 1 pointers: all units but a, and two starts. */
function walksEnd(k: u32): usize {
  return WORK + ((<usize>k + 1) << 2);
}

/** The first two rows of the inverse of the unknowns' matrix, by its minors. */
function fillFactors(k: u32, unknowns: u32): void {
  const a = <u32>ctz(unknowns);
  const b = <u32>ctz(unknowns & (unknowns - 1));
  const c = 31 - <u32>clz(unknowns);
  let determinant: u32 = 0;
  for (let row: u32 = 0; row < 3; row++) determinant ^= times(element(row, a, k), minor(row, b, c, k));
  const scale = inverse(determinant);
  for (let row: u32 = 0; row < 3; row++) {
    const x = times(scale, minor(row, b, c, k));
    const y = times(scale, minor(row, a, c, k));
    setPointer(FACTORS, row, spread(x) | (spread(y) << 1));
  }
}

/** The determinant of two columns without one row. */
function minor(without: u32, left: u32, right: u32, k: u32): u32 {
  const upper: u32 = without == 0 ? 1 : 0;
  const lower: u32 = without == 2 ? 1 : 2;
  const falling = times(element(upper, left, k), element(lower, right, k));
  return falling ^ times(element(upper, right, k), element(lower, left, k));
}

/** What unit `unit` counts in parity row `row`; P itself has the number k. */
function element(row: u32, unit: u32, k: u32): u32 {
  if (unit == k) return row == 0 ? 1 : 0;
  return coefficient(row, unit);
}

/** Four bits with a free place above each. */
function spread(bits: u32): u32 {
  return (bits & 1) | ((bits & 2) << 1) | ((bits & 4) << 2) | ((bits & 8) << 3);
}
