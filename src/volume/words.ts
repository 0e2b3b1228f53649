// Map nodes and pointers are read and written as arrays of little-endian 32-bit words: a u64 is two words, and
// as a number it is exact up to 2^53, which no block number, cp or commit of ours ever reaches.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { assert } from "../kernel/errors.ts";

const HIGH = 0x1_0000_0000;

assert(new Uint8Array(new Uint32Array([1]).buffer)[0] === 1, "mirrorvol needs a little-endian machine");

export function readU64(words: Uint32Array, at: number): number {
  return words[at]! + words[at + 1]! * HIGH;
}

export function writeU64(words: Uint32Array, at: number, value: number): void {
  words[at] = value >>> 0;
  words[at + 1] = Math.floor(value / HIGH);
}

/** The words of a view whose offset is a multiple of 4. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
}

export function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** A zeroed 4 KiB node. */
export function newNode(): Uint32Array {
  return new Uint32Array(BLOCK_BYTES / 4);
}

export function hashEquals(a: Uint32Array, aAt: number, b: Uint32Array, bAt: number): boolean {
  return (
    a[aAt] === b[bAt] && a[aAt + 1] === b[bAt + 1] && a[aAt + 2] === b[bAt + 2] && a[aAt + 3] === b[bAt + 3]
  );
}

export function hashIsZero(words: Uint32Array, at: number): boolean {
  return (words[at]! | words[at + 1]! | words[at + 2]! | words[at + 3]!) === 0;
}

export function copyWords(
  from: Uint32Array,
  fromAt: number,
  to: Uint32Array,
  toAt: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) to[toAt + i] = from[fromAt + i]!;
}

export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
