// Lost units from the others: any combination of at most m of the k + m units.
//
// With l data units lost, l of the surviving parity rows are taken (the lowest). For each taken row r
//
//     syndrome_r = parity_r + sum over the living data of coefficient(r, i) d_i
//                = sum over the lost data of coefficient(r, i) d_i
//
// which is l equations for l unknowns. They are eliminated in place: syndrome j is computed in the buffer of
// the j-th lost unit, and each step of Gauss on the small matrix is done to the buffers as well. No pivot is
// ever zero, since every square part of the matrix can be inverted (parity.ts), the leading ones included.
// At the end buffer j holds lost unit j. Lost parity is encoded again afterwards, from whole data.
//
// Lost data units read as zeros meanwhile: their pointers are sent to the zero page, and the work goes in
// pieces of one page, which also keeps it in the first-level cache.
//
//     example: units 1 and 4 lost, P and Q there     S_P = d_1 + d_4      S_Q = g d_1 + g^4 d_4
//     S_Q += g S_P;   S_Q *= 1/(g^4 + g)  -> d_4;    S_P += S_Q           -> d_1

import { coefficient, inverse, times } from "./field";
import { DATA_UNITS_MAX, PARITY_UNITS_MAX } from "./format";
import {
  LOST_OFFSET,
  MATRIX_OFFSET,
  PROMISE_LOST_COUNT,
  PROMISE_PARITY_BYTES,
  PROMISE_PARITY_SHAPE,
  ROWS_OFFSET,
  WORK_OUTPUTS_OFFSET,
  WORK_UNITS_OFFSET,
  ZERO_PAGE_BYTES,
  ZERO_PAGE_OFFSET,
} from "./layout";
import { addProduct, addTo, scale } from "./line";
import { encodeRows } from "./parity";
import { promised } from "./promise";

const WORK: usize = WORK_UNITS_OFFSET;
const OUTPUTS: usize = WORK_OUTPUTS_OFFSET;

/** `units`: k data pointers, then m parity pointers; bit i of `lostMask`: unit i is lost, and is written. */
export function reconstruct(units: usize, k: u32, m: u32, lostMask: u32, bytes: usize): void {
  promised(k >= 1 && k <= <u32>DATA_UNITS_MAX && m <= <u32>PARITY_UNITS_MAX, PROMISE_PARITY_SHAPE);
  promised(bytes % 64 == 0, PROMISE_PARITY_BYTES);
  promised(lostMask >> (k + m) == 0 && <u32>popcnt(lostMask) <= m, PROMISE_LOST_COUNT);
  const lost = listLost(k, lostMask);
  if (lost > 0) {
    listRows(k, lostMask, lost);
    for (let from: usize = 0; from < bytes; from += ZERO_PAGE_BYTES) {
      const to: usize = min<usize>(from + ZERO_PAGE_BYTES, bytes);
      pointAt(units, k, lostMask, lost, from);
      encodeRows(rowMask(lost), WORK, k, OUTPUTS, from, to);
      addParity(units, k, lost, from, to);
      eliminate(lost, from, to - from);
    }
  }
  const lostRows = lostMask >> k;
  if (lostRows != 0) encodeLost(units, k, lostRows, bytes);
}

/** Encodes the lost parity again; all data is there. */
function encodeLost(units: usize, k: u32, lostRows: u32, bytes: usize): void {
  let count: u32 = 0;
  for (let row: u32 = 0; row < <u32>PARITY_UNITS_MAX; row++) {
    if ((lostRows >> row) & 1) setPointer(OUTPUTS, count++, pointer(units, k + row));
  }
  encodeRows(lostRows, units, k, OUTPUTS, 0, bytes);
}

function pointer(table: usize, index: u32): usize {
  return load<u32>(table + ((<usize>index) << 2));
}

function setPointer(table: usize, index: u32, value: usize): void {
  store<u32>(table + ((<usize>index) << 2), <u32>value);
}

function number(table: usize, index: u32): u32 {
  return load<u32>(table + ((<usize>index) << 2));
}

/** Lists the lost data units; returns how many. */
function listLost(k: u32, lostMask: u32): u32 {
  let count: u32 = 0;
  for (let unit: u32 = 0; unit < k; unit++) {
    if ((lostMask >> unit) & 1) setPointer(LOST_OFFSET, count++, unit);
  }
  return count;
}

/** Lists the parity rows to use: the first `lost` that are there. */
function listRows(k: u32, lostMask: u32, lost: u32): void {
  let row: u32 = 0;
  for (let count: u32 = 0; count < lost; row++) {
    if (((lostMask >> (k + row)) & 1) == 0) setPointer(ROWS_OFFSET, count++, row);
  }
}

/** Fills the working tables. The zero page is addressed so that offset `from` falls on its start. */
function pointAt(units: usize, k: u32, lostMask: u32, lost: u32, from: usize): void {
  for (let unit: u32 = 0; unit < k; unit++) {
    const isLost = (lostMask >> unit) & 1;
    setPointer(WORK, unit, isLost ? <usize>ZERO_PAGE_OFFSET - from : pointer(units, unit));
  }
  for (let j: u32 = 0; j < lost; j++) setPointer(OUTPUTS, j, pointer(units, number(LOST_OFFSET, j)));
}

/** Bit r is set when parity row r is one of those in use. */
function rowMask(lost: u32): u32 {
  let mask: u32 = 0;
  for (let j: u32 = 0; j < lost; j++) mask |= 1 << number(ROWS_OFFSET, j);
  return mask;
}

function addParity(units: usize, k: u32, lost: u32, from: usize, to: usize): void {
  for (let j: u32 = 0; j < lost; j++) {
    const parity = pointer(units, k + number(ROWS_OFFSET, j));
    addTo(pointer(OUTPUTS, j) + from, parity + from, to - from);
  }
}

/** Gauss and Jordan, on the matrix and on the buffers alike. */
function eliminate(lost: u32, from: usize, bytes: usize): void {
  fillMatrix(lost);
  for (let column: u32 = 0; column < lost; column++) {
    const pivot = pointer(OUTPUTS, column) + from;
    const factor = inverse(element(column, column));
    scaleRow(column, lost, factor);
    scale(pivot, ZERO_PAGE_OFFSET, factor, bytes);
    for (let row: u32 = 0; row < lost; row++) {
      const c = element(row, column);
      if (row == column || c == 0) continue;
      addRow(row, column, lost, c);
      addProduct(pointer(OUTPUTS, row) + from, pivot, c, bytes);
    }
  }
}

function fillMatrix(lost: u32): void {
  for (let row: u32 = 0; row < lost; row++) {
    for (let column: u32 = 0; column < lost; column++) {
      setElement(row, column, coefficient(number(ROWS_OFFSET, row), number(LOST_OFFSET, column)));
    }
  }
}

function scaleRow(row: u32, size: u32, factor: u32): void {
  for (let column: u32 = 0; column < size; column++)
    setElement(row, column, times(element(row, column), factor));
}

function addRow(row: u32, source: u32, size: u32, c: u32): void {
  for (let column: u32 = 0; column < size; column++) {
    setElement(row, column, element(row, column) ^ times(element(source, column), c));
  }
}

function element(row: u32, column: u32): u32 {
  return load<u8>(MATRIX_OFFSET + row * 3 + column);
}

function setElement(row: u32, column: u32, value: u32): void {
  store<u8>(MATRIX_OFFSET + row * 3 + column, value);
}
