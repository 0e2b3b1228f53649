// Where the units of a row lie: pure arithmetic, known to writer, reader and repair alike.
//
// A row has k + m units: unit 0..k-1 are data, k is P, k+1 is Q, k+2 is R. A segment uses n = k + m member
// slots; in ascending order they are its places 0..n-1, whatever gaps the slots have. Unit u of stripe s lies
// on place
//
//     place(s, u) = (u + s * k) mod n         and back:      unit(s, place) = (place - s * k) mod n
//
// which is the left-symmetric layout, for any m: parity moves m places to the left from stripe to stripe,
// and the data goes on right behind it. Number the data units of all rows one after the other (d = s * k + u):
// data unit d lies on place d mod n. So any n consecutive blocks lie on n different members, reads in order
// keep every member busy, and every member carries the same share of parity.
//
//   k = 3, m = 1, slots 0 1 2 3              k = 4, m = 2, slots 0 1 2 4 5 6 (slot 3 is missing)
//
//   stripe  slot 0   1    2    3             stripe  slot 0   1    2    4    5    6
//      0         D0   D1   D2   P               0         D0   D1   D2   D3   P    Q
//      1         D4   D5   P    D3              1         D6   D7   P    Q    D4   D5
//      2         D8   P    D6   D7              2         P    Q    D8   D9   D10  D11
//      3         P    D9   D10  D11             3         as stripe 0
//
// A pvbn names one unit of one row: stripe * PVBN_STRIDE + slot + 1, so that 0 names none. It stays below
// 2^53, so it is exact in a double. Slots, not places, are in it: a reader needs no geometry as long as the
// member is healthy.

import { DATA_UNITS_MAX, MEMBERS_MAX, PARITY_UNITS_MAX, PVBN_STRIDE } from "../../assembly/format.ts";
import { assert } from "../kernel/errors.ts";

/** How a segment spreads a row: k data units and m parity units over the slots of the bitmap `members`. */
export interface SegmentGeometry {
  readonly k: number;
  readonly m: number;
  readonly members: number;
}

/**
 * The best geometry that the living members (a bitmap of slots) allow: full parity as long as one data unit
 * is left beside it, then fewer data units, then fewer parity units; null when no member lives. It uses the
 * first k + m living slots; the rest are spares.
 */
export function geometryFor(
  present: number,
  wanted: { readonly k: number; readonly m: number },
): SegmentGeometry | null {
  assertUnits(wanted.k, wanted.m);
  const living = slotsOf(present);
  if (living.length === 0) return null;
  const m = Math.min(wanted.m, living.length - 1);
  const k = Math.min(wanted.k, living.length - m);
  return { k, m, members: bitmapOf(living.slice(0, k + m)) };
}

export function pvbnOf(stripe: number, slot: number): number {
  return stripe * PVBN_STRIDE + slot + 1;
}

export function stripeOf(pvbn: number): number {
  return Math.floor(pvbn / PVBN_STRIDE);
}

export function slotOf(pvbn: number): number {
  return (pvbn % PVBN_STRIDE) - 1;
}

/** The slots of a bitmap, ascending. */
export function slotsOf(bitmap: number): number[] {
  const slots: number[] = [];
  for (let slot = 0; slot < MEMBERS_MAX; slot++) {
    if (bitmap & (1 << slot)) slots.push(slot);
  }
  return slots;
}

export function bitmapOf(slots: readonly number[]): number {
  return slots.reduce((bitmap, slot) => bitmap | (1 << slot), 0);
}

/** The number of bits set. */
export function countOf(bitmap: number): number {
  let count = 0;
  for (; bitmap !== 0; bitmap &= bitmap - 1) count++;
  return count;
}

/** The rotation of one geometry: between the units of a row and the slots that hold them. */
export class RowLayout {
  readonly k: number;
  readonly m: number;
  /** k + m. */
  readonly unitCount: number;
  /** The slot of each place. */
  readonly slots: readonly number[];

  constructor(geometry: SegmentGeometry) {
    const { k, m, members } = geometry;
    assertUnits(k, m);
    this.k = k;
    this.m = m;
    this.unitCount = k + m;
    this.slots = slotsOf(members);
    assert(
      this.slots.length === k + m,
      `raid: geometry ${k}+${m} has ${this.slots.length} members, not ${k + m}`,
    );
  }

  placeOf(stripe: number, unit: number): number {
    return (unit + stripe * this.k) % this.unitCount;
  }

  unitAt(stripe: number, place: number): number {
    const shift = (stripe * this.k) % this.unitCount;
    return (place - shift + this.unitCount) % this.unitCount;
  }

  slotOfUnit(stripe: number, unit: number): number {
    return this.slots[this.placeOf(stripe, unit)]!;
  }
}

function assertUnits(k: number, m: number): void {
  assert(Number.isInteger(k) && k >= 1 && k <= DATA_UNITS_MAX, `raid: ${k} data units`);
  assert(Number.isInteger(m) && m >= 0 && m <= PARITY_UNITS_MAX, `raid: ${m} parity units`);
}
