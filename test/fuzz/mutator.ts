// From inputs that are known to a new one: one to a few small changes of the kinds that break parsers. Lengths
// and counts get values around their limits, in both byte orders; pieces move, repeat, vanish, or come from
// another input. Everything is drawn from one seeded generator, so a run can be repeated.

import type { SeededRandom } from "../support/memory_random.ts";

export interface Material {
  /** Inputs that did something new, from which others are made. */
  readonly pool: readonly Uint8Array[];
  readonly words: readonly Uint8Array[];
  readonly bytesMax: number;
}

const CHANGES_MAX = 4;
const INTERESTING = [
  0, 1, 2, 3, 4, 7, 8, 15, 16, 24, 25, 31, 32, 63, 64, 65, 80, 126, 127, 128, 255, 256, 511, 512, 513, 4095,
  4096, 4097, 8192, 0x7fff, 0x8000, 0xffff, 0x10000, 0x100000, 0x100001, 0x7fffffff, 0x80000000, 0xfffffffe,
  0xffffffff,
];
const LARGE = [
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
  2n ** 32n,
];

type Change = (input: Uint8Array, random: SeededRandom, material: Material) => Uint8Array;

/** A new input from the pool. Never longer than `bytesMax`. */
export function mutate(random: SeededRandom, material: Material): Uint8Array {
  let input: Uint8Array = pick(random, material.pool).slice();
  const changes = 1 + random.below(CHANGES_MAX);
  for (let done = 0; done < changes; done += 1) input = pick(random, CHANGES)(input, random, material);
  return input.length > material.bytesMax ? input.slice(0, material.bytesMax) : input;
}

function flipBit(input: Uint8Array, random: SeededRandom): Uint8Array {
  if (input.length > 0) input[random.below(input.length)]! ^= 1 << random.below(8);
  return input;
}

function setByte(input: Uint8Array, random: SeededRandom): Uint8Array {
  if (input.length > 0) input[random.below(input.length)] = random.below(256);
  return input;
}

function setNumber(input: Uint8Array, random: SeededRandom): Uint8Array {
  const width = [1, 2, 4, 8][random.below(4)]!;
  if (input.length < width) return input;
  const view = viewOf(input);
  const at = random.below(input.length - width + 1);
  const isLittle = random.chance(0.6);
  const value = random.chance(0.2) ? input.length - at : pick(random, INTERESTING);
  if (width === 1) view.setUint8(at, value);
  else if (width === 2) view.setUint16(at, value, isLittle);
  else if (width === 4) view.setUint32(at, value, isLittle);
  else view.setBigUint64(at, random.chance(0.5) ? pick(random, LARGE) : BigInt(value), isLittle);
  return input;
}

/** A count or a number a little more or a little less. */
function addToNumber(input: Uint8Array, random: SeededRandom): Uint8Array {
  const width = [1, 2, 4][random.below(3)]!;
  if (input.length < width) return input;
  const view = viewOf(input);
  const at = random.below(input.length - width + 1);
  const by = random.below(33) - 16;
  const isLittle = random.chance(0.7);
  if (width === 1) view.setUint8(at, view.getUint8(at) + by);
  else if (width === 2) view.setUint16(at, view.getUint16(at, isLittle) + by, isLittle);
  else view.setUint32(at, view.getUint32(at, isLittle) + by, isLittle);
  return input;
}

function remove(input: Uint8Array, random: SeededRandom): Uint8Array {
  const [from, to] = range(input, random);
  return joined(input.subarray(0, from), input.subarray(to));
}

function cutShort(input: Uint8Array, random: SeededRandom): Uint8Array {
  return input.slice(0, random.below(input.length + 1));
}

function insertBytes(input: Uint8Array, random: SeededRandom): Uint8Array {
  const bytes = random.chance(0.5)
    ? new Uint8Array(1 + random.below(16))
    : random.bytes(1 + random.below(16));
  return insertAt(input, random.below(input.length + 1), bytes);
}

function insertWord(input: Uint8Array, random: SeededRandom, { words }: Material): Uint8Array {
  if (words.length === 0) return insertBytes(input, random);
  return insertAt(input, random.below(input.length + 1), pick(random, words));
}

function overwriteWithWord(input: Uint8Array, random: SeededRandom, { words }: Material): Uint8Array {
  if (words.length === 0) return setByte(input, random);
  const word = pick(random, words);
  if (word.length <= input.length) input.set(word, random.below(input.length - word.length + 1));
  return input;
}

/** A piece is there twice, or thousands of times: nesting, long lists, long strings. */
function repeat(input: Uint8Array, random: SeededRandom, { bytesMax }: Material): Uint8Array {
  const [from, to] = range(input, random, 64);
  if (from === to) return input;
  const piece = input.subarray(from, to);
  const most = Math.max(1, Math.floor((bytesMax - input.length) / piece.length));
  const times = random.chance(0.8) ? 1 : 1 + random.below(Math.min(most, 1 << random.below(15)));
  const pieces = new Uint8Array(piece.length * Math.min(times, most));
  for (let at = 0; at < pieces.length; at += piece.length) pieces.set(piece, at);
  return insertAt(input, to, pieces);
}

function moveWithin(input: Uint8Array, random: SeededRandom): Uint8Array {
  const [from, to] = range(input, random, 512);
  input.copyWithin(random.below(input.length - (to - from) + 1), from, to);
  return input;
}

/** The beginning of this one and the end of another, or a piece of the other in the middle. */
function splice(input: Uint8Array, random: SeededRandom, { pool }: Material): Uint8Array {
  const other = pick(random, pool);
  const [from, to] = range(other, random);
  const at = random.below(input.length + 1);
  if (random.chance(0.5)) return joined(input.subarray(0, at), other.subarray(from));
  return insertAt(input, at, other.subarray(from, to));
}

/** Of a text: a number becomes another one. */
function replaceDigits(input: Uint8Array, random: SeededRandom): Uint8Array {
  const isDigit = (byte: number | undefined) => byte !== undefined && byte >= 48 && byte <= 57;
  const start = random.below(input.length + 1);
  const from = input.findIndex((byte, index) => index >= start && isDigit(byte));
  if (from < 0) return setNumber(input, random);
  let to = from;
  while (isDigit(input[to])) to += 1;
  const value = random.chance(0.3) ? pick(random, LARGE) : BigInt(pick(random, INTERESTING));
  const text = new TextEncoder().encode(`${random.chance(0.1) ? "-" : ""}${value}`);
  return joined(input.subarray(0, from), text, input.subarray(to));
}

const CHANGES: readonly Change[] = [
  flipBit,
  flipBit,
  setByte,
  setNumber,
  setNumber,
  setNumber,
  addToNumber,
  addToNumber,
  remove,
  cutShort,
  insertBytes,
  insertWord,
  overwriteWithWord,
  repeat,
  moveWithin,
  splice,
  replaceDigits,
];

function pick<T>(random: SeededRandom, from: readonly T[]): T {
  return from[random.below(from.length)]!;
}

function range(input: Uint8Array, random: SeededRandom, most = input.length): [from: number, to: number] {
  const from = random.below(input.length + 1);
  const length = random.below(Math.min(most, input.length - from) + 1);
  return [from, from + length];
}

function insertAt(input: Uint8Array, at: number, bytes: Uint8Array): Uint8Array {
  return joined(input.subarray(0, at), bytes, input.subarray(at));
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
