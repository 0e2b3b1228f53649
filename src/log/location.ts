// A location names a block of an entry's payload in one number, exact in a double:
//
//     ((half number mod 2^20) * 2^25 + sector of the entry in its file) * 2^8 + index of the block
//
// so `location + 1` is the next block of the same entry. The low bits of the half's number are enough to
// tell a half from the next one that uses its file. Locations live in memory only.
//
// Example: the entry at byte 4096 of half 3 is at sector 8, its third block is (3 * 2^25 + 8) * 256 + 2.

import { BLOCK_BYTES, ENTRY_HEADER_BYTES, ENTRY_PAYLOAD_MAX, SECTOR_BYTES } from "../../assembly/format.ts";
import { assert } from "../kernel/errors.ts";

const BLOCKS_PER_ENTRY = ENTRY_PAYLOAD_MAX / BLOCK_BYTES;
const SECTORS_PER_HALF = 2 ** 25;
const HALF_NUMBERS = 2 ** 20;

assert(BLOCKS_PER_ENTRY * SECTORS_PER_HALF * HALF_NUMBERS === 2 ** 53, "location: a double is not filled");

export const HALF_BYTES_MAX = SECTORS_PER_HALF * SECTOR_BYTES;

export function packLocation(halfNumber: number, entryOffset: number): number {
  const sector = entryOffset / SECTOR_BYTES;
  return ((halfNumber % HALF_NUMBERS) * SECTORS_PER_HALF + sector) * BLOCKS_PER_ENTRY;
}

export function isOfHalf(location: number, halfNumber: number): boolean {
  return Math.floor(location / (SECTORS_PER_HALF * BLOCKS_PER_ENTRY)) === halfNumber % HALF_NUMBERS;
}

/** The byte in the file where the block lies. */
export function offsetOfLocation(location: number): number {
  const sector = Math.floor(location / BLOCKS_PER_ENTRY) % SECTORS_PER_HALF;
  return sector * SECTOR_BYTES + ENTRY_HEADER_BYTES + (location % BLOCKS_PER_ENTRY) * BLOCK_BYTES;
}
