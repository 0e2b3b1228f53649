import { Kernel } from "../../src/kernel/kernel.ts";
import { assert, suite } from "../support/harness.ts";
import { randomBytes, scalarParity } from "../support/scalar.ts";

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

/** Units one after the other, with a gap of 64 bytes that must stay as it is. */
function makeStripe(k: number, m: number, bytes: number): Stripe {
  const offsets = Array.from({ length: k + m }, (_, unit) => roomOffset + unit * (bytes + 64));
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
