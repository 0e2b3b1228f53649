// Slow and plain versions of the kernels, written from the definitions: the oracles of test/kernel.

import { createXXHash3, createXXHash128 } from "hash-wasm";

/** Deterministic bytes (a xorshift generator): the same seed gives the same bytes everywhere. */
export function randomBytes(count: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(count);
  let state = (seed * 2654435761 + 1) >>> 0 || 1;
  for (let i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state >>> 11;
  }
  return bytes;
}

/** GF(16) by logarithms: x^4 = x + 1, generator x. */
const EXPONENTS: number[] = [];
const LOGARITHMS: number[] = [];
for (let exponent = 0, element = 1; exponent < 15; exponent++) {
  EXPONENTS[exponent] = element;
  LOGARITHMS[element] = exponent;
  element = element & 8 ? ((element << 1) ^ 0x13) & 15 : element << 1;
}

export function multiply(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : EXPONENTS[(LOGARITHMS[a]! + LOGARITHMS[b]!) % 15]!;
}

/** The symbols of a unit: bit b of 128 symbols is the 16-byte vector b of each 64-byte group. */
function toSymbols(unit: Uint8Array): Uint8Array {
  const symbols = new Uint8Array(unit.length * 2);
  for (let i = 0; i < symbols.length; i++) {
    const at = placeOf(i);
    for (let bit = 0; bit < 4; bit++) symbols[i]! |= ((unit[at.byte + bit * 16]! >> at.bit) & 1) << bit;
  }
  return symbols;
}

function fromSymbols(symbols: Uint8Array): Uint8Array {
  const unit = new Uint8Array(symbols.length / 2);
  for (let i = 0; i < symbols.length; i++) {
    const at = placeOf(i);
    for (let bit = 0; bit < 4; bit++) unit[at.byte + bit * 16]! |= ((symbols[i]! >> bit) & 1) << at.bit;
  }
  return unit;
}

function placeOf(symbol: number): { byte: number; bit: number } {
  const inGroup = symbol % 128;
  return { byte: Math.floor(symbol / 128) * 64 + (inGroup >> 3), bit: inGroup & 7 };
}

/** What data unit `unit` counts in parity row `row`: 1, g^i and g^-i. */
export function parityCoefficient(row: number, unit: number): number {
  return EXPONENTS[([0, 1, 14][row]! * unit) % 15]!;
}

/** P, Q and R (the first m of them) of the data units. */
export function scalarParity(data: Uint8Array[], m: number): Uint8Array[] {
  const symbols = data.map(toSymbols);
  return [0, 1, 2].slice(0, m).map((row) => {
    const sum = new Uint8Array(symbols[0]!.length);
    symbols.forEach((unit, index) => {
      const coefficient = parityCoefficient(row, index);
      for (let i = 0; i < sum.length; i++) sum[i]! ^= multiply(coefficient, unit[i]!);
    });
    return fromSymbols(sum);
  });
}

const xxh3 = await createXXHash3();
const xxh128 = await createXXHash128();

/** XXH3-64 by hash-wasm, in hexadecimal, most significant digit first. */
export function oracle64(data: Uint8Array): string {
  return xxh3.init().update(data).digest("hex");
}

export function oracle128(data: Uint8Array): string {
  return xxh128.init().update(data).digest("hex");
}

/** The words of a kernel's result, least significant first, as one hexadecimal number. */
export function toHex(words: Uint32Array): string {
  return [...words].reverse().reduce((text, word) => text + word.toString(16).padStart(8, "0"), "");
}
