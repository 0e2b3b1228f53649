import { MEMBERS_MAX } from "../../assembly/format.ts";
import { erasureSets } from "../../src/raid/erasures.ts";
import {
  bitmapOf,
  countOf,
  geometryFor,
  pvbnOf,
  RowLayout,
  slotOf,
  slotsOf,
  stripeOf,
} from "../../src/raid/geometry.ts";
import { lowestUnits } from "../../src/raid/row_window.ts";
import { assert, suite } from "../support/harness.ts";
import { allGeometries, plain, subsets } from "./fixture.ts";

const test = suite("raid geometry");
/** The last is the largest stripe whose pvbns are exact. */
const STRIPES = [0, 1, 2, 3, 17, 12_345, 2 ** 32 + 1, 2 ** 48 - 1];

test("place and unit are a bijection for every geometry, on slots with gaps too", () => {
  for (const { k, m } of allGeometries()) {
    const slots = Array.from(
      { length: k + m },
      (_, place) => place + (place > 2 ? 4 : 0) + (place > 5 ? 2 : 0),
    );
    const layout = new RowLayout({ k, m, members: bitmapOf(slots) });
    for (const stripe of STRIPES) {
      const used = new Set<number>();
      for (let unit = 0; unit < k + m; unit++) {
        const place = layout.placeOf(stripe, unit);
        assert.is(layout.unitAt(stripe, place), unit);
        assert.is(layout.slotOfUnit(stripe, unit), slots[place]);
        used.add(place);
      }
      assert.equal(
        [...used].sort((a, b) => a - b),
        [...slots.keys()],
      );
    }
  }
});

test("every member carries the same share of parity, and n consecutive blocks lie on n members", () => {
  for (const { k, m } of allGeometries()) {
    const n = k + m;
    const layout = new RowLayout(plain(k, m));
    const parity = new Array<number>(n).fill(0);
    const order: number[] = [];
    for (let stripe = 0; stripe < n; stripe++) {
      for (let unit = 0; unit < k; unit++) order.push(layout.placeOf(stripe, unit));
      for (let unit = k; unit < n; unit++) parity[layout.placeOf(stripe, unit)]!++;
    }
    assert.equal(parity, new Array(n).fill(m));
    for (let from = 0; from + n <= order.length; from++) {
      assert.is(new Set(order.slice(from, from + n)).size, n);
    }
  }
});

test("the drawings of geometry.ts", () => {
  const row = (layout: RowLayout, stripe: number) =>
    layout.slots.map((_, place) => {
      const unit = layout.unitAt(stripe, place);
      return unit < layout.k ? `D${stripe * layout.k + unit}` : "PQR"[unit - layout.k];
    });
  const narrow = new RowLayout(plain(3, 1));
  assert.equal(row(narrow, 0), ["D0", "D1", "D2", "P"]);
  assert.equal(row(narrow, 1), ["D4", "D5", "P", "D3"]);
  assert.equal(row(narrow, 2), ["D8", "P", "D6", "D7"]);
  assert.equal(row(narrow, 3), ["P", "D9", "D10", "D11"]);
  const wide = new RowLayout({ k: 4, m: 2, members: 0b1110111 });
  assert.equal(wide.slots, [0, 1, 2, 4, 5, 6]);
  assert.equal(row(wide, 0), ["D0", "D1", "D2", "D3", "P", "Q"]);
  assert.equal(row(wide, 1), ["D6", "D7", "P", "Q", "D4", "D5"]);
  assert.equal(row(wide, 2), ["P", "Q", "D8", "D9", "D10", "D11"]);
  assert.equal(
    row(wide, 3)
      .map((name) => name![0])
      .join(""),
    "DDDDPQ",
  );
});

test("pvbn <-> stripe and slot, exact up to 2^53", () => {
  for (const stripe of STRIPES) {
    for (let slot = 0; slot < MEMBERS_MAX; slot++) {
      const pvbn = pvbnOf(stripe, slot);
      assert.ok(Number.isSafeInteger(pvbn) && pvbn > 0, "0 names no block");
      assert.is(stripeOf(pvbn), stripe);
      assert.is(slotOf(pvbn), slot);
    }
  }
});

test("geometryFor keeps parity before width, for every set of living members", () => {
  for (const { k, m } of [
    { k: 1, m: 1 },
    { k: 2, m: 1 },
    { k: 3, m: 2 },
    { k: 4, m: 3 },
    { k: 3, m: 0 },
  ]) {
    for (let present = 1; present < 1 << 7; present++) {
      const living = countOf(present);
      const geometry = geometryFor(present, { k, m })!;
      assert.is(geometry.m, living > m ? m : living - 1);
      assert.is(geometry.k, living >= k + m ? k : living > m ? living - m : 1);
      assert.is(countOf(geometry.members), geometry.k + geometry.m);
      assert.equal(slotsOf(geometry.members), slotsOf(present).slice(0, geometry.k + geometry.m));
    }
  }
  assert.is(geometryFor(0, { k: 2, m: 1 }), null);
  assert.equal(geometryFor(0b11101, { k: 2, m: 1 }), { k: 2, m: 1, members: 0b1101 });
  assert.equal(geometryFor(0b10100, { k: 2, m: 1 }), { k: 1, m: 1, members: 0b10100 });
  assert.equal(geometryFor(0b10000, { k: 4, m: 2 }), { k: 1, m: 0, members: 0b10000 });
  assert.throws(() => geometryFor(1, { k: 16, m: 1 }), /16 data units/);
  assert.throws(() => geometryFor(1, { k: 1, m: 4 }), /4 parity units/);
});

test("a geometry whose bitmap does not fit is refused", () => {
  assert.throws(() => new RowLayout({ k: 2, m: 1, members: 0b11 }), /2 members, not 3/);
});

test("erasure sets: all that contain the known ones, each once, small ones first", () => {
  for (const known of [0b1, 0b100010]) {
    const sets = [...erasureSets(known, 7, 3)];
    const expected = [0, 1, 2, 3]
      .flatMap((size) => subsets(7, size))
      .filter((set) => (set & known) === known);
    assert.is(new Set(sets).size, sets.length);
    assert.equal(
      [...sets].sort((a, b) => a - b),
      expected.sort((a, b) => a - b),
    );
    for (let index = 1; index < sets.length; index++) {
      assert.ok(countOf(sets[index - 1]!) <= countOf(sets[index]!));
    }
  }
  assert.equal([...erasureSets(0b111, 7, 2)], []);
});

test("the lowest units of a bitmap", () => {
  assert.is(lowestUnits(0b1011010, 2), 0b1010);
  assert.is(lowestUnits(0b1011010, 9), 0b1011010);
  assert.is(lowestUnits(0b1011010, 0), 0);
});

test.run();
