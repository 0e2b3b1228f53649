// The small pieces of XXH3: primes, the folded 128-bit product, and the two final mixes.

export const PRIME32_1: u64 = 0x9e3779b1;
export const PRIME32_2: u64 = 0x85ebca77;
export const PRIME32_3: u64 = 0xc2b2ae3d;
export const PRIME64_1: u64 = 0x9e3779b185ebca87;
export const PRIME64_2: u64 = 0xc2b2ae3d27d4eb4f;
export const PRIME64_3: u64 = 0x165667b19e3779f9;
export const PRIME64_4: u64 = 0x85ebca77c2b2ae63;
export const PRIME64_5: u64 = 0x27d4eb2f165667c5;
export const PRIME_MX1: u64 = 0x165667919e3779f9;
export const PRIME_MX2: u64 = 0x9fb21c651e98df25;

/** The upper 64 bits of the 128-bit product. */
export function multiplyHigh(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff;
  const aHigh = a >> 32;
  const bLow = b & 0xffffffff;
  const bHigh = b >> 32;
  const crossed = ((aLow * bLow) >> 32) + ((aHigh * bLow) & 0xffffffff) + aLow * bHigh;
  return ((aHigh * bLow) >> 32) + (crossed >> 32) + aHigh * bHigh;
}

/** Both halves of the 128-bit product, one upon the other. */
export function fold(a: u64, b: u64): u64 {
  return (a * b) ^ multiplyHigh(a, b);
}

/** Sixteen bytes of data against sixteen of the secret. */
export function mix16(data: usize, secret: usize): u64 {
  return fold(load<u64>(data) ^ load<u64>(secret), load<u64>(data, 8) ^ load<u64>(secret, 8));
}

export function avalanche(hash: u64): u64 {
  hash ^= hash >> 37;
  hash *= PRIME_MX1;
  return hash ^ (hash >> 32);
}

/** The avalanche of XXH64, which XXH3 uses for the shortest data. */
export function avalanche64(hash: u64): u64 {
  hash ^= hash >> 33;
  hash *= PRIME64_2;
  hash ^= hash >> 29;
  hash *= PRIME64_3;
  return hash ^ (hash >> 32);
}
