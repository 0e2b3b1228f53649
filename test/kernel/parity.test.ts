import { Kernel } from "../../src/kernel/kernel.ts";
import { assert, suite } from "../support/harness.ts";
import { multiply, parityCoefficient, randomBytes, scalarParity } from "../support/scalar.ts";

export const deadlineMs = 120_000;

const test = suite("parity");
const kernel = await Kernel.create({ memoryBytes: 8 << 20 });
const room = kernel.arena.allocate(18 * 65_536 + 4096);
const roomOffset = kernel.offsetOf(room);
const UNIT_MAX = 65_536;

interface Stripe {
  k: number;
  m: number;
  bytes: number;
  offsets: number[];
  units: Uint8Array[];
}

/** Units one after the other, with a gap of at least 64 bytes that must stay as it is. */
function makeStripe(k: number, m: number, bytes: number, shift = 0): Stripe {
  const offsets = Array.from(
    { length: k + m },
    (_, unit) => roomOffset + unit * (bytes + 64 + shift) + shift,
  );
  const units = offsets.map((offset) => kernel.bytes.subarray(offset, offset + bytes));
  room.fill(0xa5);
  for (let unit = 0; unit < k; unit++) units[unit]!.set(randomBytes(bytes, unit + bytes + k * 100));
  return { k, m, bytes, offsets, units };
}

function checkGaps({ offsets, bytes }: Stripe): void {
  for (const offset of offsets) {
    const gap = kernel.bytes.subarray(offset + bytes, offset + bytes + 64);
    assert.ok(
      gap.every((byte) => byte === 0xa5),
      "wrote beyond a unit",
    );
  }
}

const isSame = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

function checkEncode(k: number, m: number, bytes: number): void {
  const stripe = makeStripe(k, m, bytes);
  const data = stripe.units.slice(0, k).map((unit) => unit.slice());
  kernel.encodeParity(stripe.offsets, k, m, bytes);
  const wanted = [...data, ...scalarParity(data, m)];
  wanted.forEach((unit, index) => {
    assert.ok(isSame(stripe.units[index]!, unit), `k ${k}, m ${m}, ${bytes} bytes: unit ${index} differs`);
  });
  checkGaps(stripe);
}

function checkReconstruct(stripe: Stripe, lostMask: number): void {
  const { k, m, bytes, units, offsets } = stripe;
  const whole = units.map((unit) => unit.slice());
  units.forEach((unit, index) => (lostMask >> index) & 1 && unit.fill(0x5a));
  kernel.reconstruct(offsets, k, m, lostMask, bytes);
  units.forEach((unit, index) => {
    const what = `k ${k}, m ${m}, ${bytes} bytes, lost ${lostMask.toString(2)}: unit ${index} differs`;
    assert.ok(isSame(unit, whole[index]!), what);
    unit.set(whole[index]!);
  });
  checkGaps(stripe);
}

/** Sets of `size` of the numbers below `count`. */
function choose(count: number, size: number): number[][] {
  if (size === 0) return [[]];
  if (count < size) return [];
  const withLast = choose(count - 1, size - 1).map((set) => [...set, count - 1]);
  return [...choose(count - 1, size), ...withLast];
}

/** In a field where plus is minus, the determinant is the sum over all ways to take one of each row. */
function determinant(rows: number[], units: number[]): number {
  const [row, ...otherRows] = rows;
  if (row === undefined) return 1;
  return units.reduce((sum, unit) => {
    const others = units.filter((other) => other !== unit);
    return sum ^ multiply(parityCoefficient(row, unit), determinant(otherRows, others));
  }, 0);
}

function bitCount(mask: number): number {
  let count = 0;
  for (; mask !== 0; mask &= mask - 1) count++;
  return count;
}

test("equals the scalar definition for every k and m", () => {
  for (let k = 1; k <= 15; k++) {
    for (let m = 0; m <= 3; m++) {
      for (const bytes of [64, 128, 4096]) checkEncode(k, m, bytes);
    }
  }
  checkEncode(5, 3, UNIT_MAX);
});

test("every square part of the matrix can be inverted: any m lost units follow from the others", () => {
  for (let size = 1; size <= 3; size++) {
    for (const rows of choose(3, size)) {
      for (const units of choose(15, size)) {
        assert.is.not(determinant(rows, units), 0, `rows ${rows}, units ${units}`);
      }
    }
  }
});

test("units at odd offsets, and outputs at other ones than sources", () => {
  for (const shift of [1, 7, 33]) {
    const stripe = makeStripe(6, 3, 4160, shift);
    const data = stripe.units.slice(0, 6).map((unit) => unit.slice());
    kernel.encodeParity(stripe.offsets, 6, 3, 4160);
    scalarParity(data, 3).forEach((unit, row) => assert.ok(isSame(stripe.units[6 + row]!, unit)));
    for (const mask of [0b10, 0b1_000_010, 0b11_000_010, 0b100_001, 0b11_000_100, 0b1_100_010, 0b101_010]) {
      checkReconstruct(stripe, mask);
    }
  }
});

test("every combination of losses, for every k and m", () => {
  for (let k = 1; k <= 15; k++) {
    for (let m = 0; m <= 3; m++) {
      const stripe = makeStripe(k, m, 128);
      kernel.encodeParity(stripe.offsets, k, m, 128);
      for (let mask = 0; mask < 1 << (k + m); mask++) {
        if (bitCount(mask) <= m) checkReconstruct(stripe, mask);
      }
    }
  }
});

test("losses in units of several pages, and of a page and a bit", () => {
  for (const bytes of [64, 4096, 4160, UNIT_MAX]) {
    const stripe = makeStripe(8, 3, bytes);
    kernel.encodeParity(stripe.offsets, 8, 3, bytes);
    for (const mask of [
      0b1, 0b10001, 0b10010001, 0b10000000001, 0b11000000001, 0b101_0000_0001, 0b111_0000_0000,
    ]) {
      checkReconstruct(stripe, mask);
    }
  }
});

test("one data unit makes mirrors", () => {
  const stripe = makeStripe(1, 3, 4096);
  kernel.encodeParity(stripe.offsets, 1, 3, 4096);
  for (const unit of stripe.units) assert.ok(isSame(unit, stripe.units[0]!));
});

test("broken promises are refused in words", () => {
  const offsets = Array.from({ length: 18 }, (_, unit) => roomOffset + unit * 4096);
  assert.throws(() => kernel.encodeParity(offsets, 16, 1, 64), /k is 1 to 15/);
  assert.throws(() => kernel.encodeParity(offsets, 2, 1, 65), /multiple of 64/);
  assert.throws(() => kernel.reconstruct(offsets, 4, 1, 0b11, 64), /at most m units/);
  assert.throws(() => kernel.reconstruct(offsets, 4, 2, 1 << 6, 64), /at most m units/);
  assert.throws(() => kernel.encodeParity(offsets.slice(0, 2), 2, 1, 64), /3 units are needed/);
});

test.run();
