// Operations on whole ranges in the bit-sliced layout of parity.ts, multiples of 64 bytes.
//
// A constant c times (v0 .. v3) is the sum of those of v, g v, g^2 v, g^3 v whose bit is set in c. The bits
// become masks of all ones or all zeros, so that there is one loop for every c and no branch in it.

/** target += source */
export function addTo(target: usize, source: usize, bytes: usize): void {
  for (let at: usize = 0; at < bytes; at += 64) {
    const to = target + at;
    const from = source + at;
    v128.store(to, v128.xor(v128.load(to), v128.load(from)));
    v128.store(to, v128.xor(v128.load(to, 16), v128.load(from, 16)), 16);
    v128.store(to, v128.xor(v128.load(to, 32), v128.load(from, 32)), 32);
    v128.store(to, v128.xor(v128.load(to, 48), v128.load(from, 48)), 48);
  }
}

/** target += c * source; target and source are different */
export function addProduct(target: usize, source: usize, c: u32, bytes: usize): void {
  if (c == 1) return addTo(target, source, bytes);
  const m0 = maskOf(c, 0);
  const m1 = maskOf(c, 1);
  const m2 = maskOf(c, 2);
  const m3 = maskOf(c, 3);
  for (let at: usize = 0; at < bytes; at += 64) {
    const from = source + at;
    const v0 = v128.load(from);
    const v1 = v128.load(from, 16);
    const v2 = v128.load(from, 32);
    const v3 = v128.load(from, 48);
    // v = (v0 v1 v2 v3), g v = (v3 v03 v1 v2), g^2 v = (v2 v23 v03 v1), g^3 v = (v1 v12 v23 v03)
    const v03 = v128.xor(v0, v3);
    const v23 = v128.xor(v2, v3);
    const v12 = v128.xor(v1, v2);
    const to = target + at;
    v128.store(to, v128.xor(v128.load(to), masked(v0, v3, v2, v1, m0, m1, m2, m3)));
    v128.store(to, v128.xor(v128.load(to, 16), masked(v1, v03, v23, v12, m0, m1, m2, m3)), 16);
    v128.store(to, v128.xor(v128.load(to, 32), masked(v2, v1, v03, v23, m0, m1, m2, m3)), 32);
    v128.store(to, v128.xor(v128.load(to, 48), masked(v3, v2, v1, v03, m0, m1, m2, m3)), 48);
  }
}

/** target = c * target */
export function scale(target: usize, c: u32, bytes: usize): void {
  if (c == 1) return;
  const m0 = maskOf(c, 0);
  const m1 = maskOf(c, 1);
  const m2 = maskOf(c, 2);
  const m3 = maskOf(c, 3);
  for (let at: usize = 0; at < bytes; at += 64) {
    const to = target + at;
    const v0 = v128.load(to);
    const v1 = v128.load(to, 16);
    const v2 = v128.load(to, 32);
    const v3 = v128.load(to, 48);
    const v03 = v128.xor(v0, v3);
    const v23 = v128.xor(v2, v3);
    const v12 = v128.xor(v1, v2);
    v128.store(to, masked(v0, v3, v2, v1, m0, m1, m2, m3));
    v128.store(to, masked(v1, v03, v23, v12, m0, m1, m2, m3), 16);
    v128.store(to, masked(v2, v1, v03, v23, m0, m1, m2, m3), 32);
    v128.store(to, masked(v3, v2, v1, v03, m0, m1, m2, m3), 48);
  }
}

function maskOf(c: u32, bit: u32): v128 {
  return i32x4.splat(0 - <i32>((c >> bit) & 1));
}

function masked(a: v128, b: v128, c: v128, d: v128, m0: v128, m1: v128, m2: v128, m3: v128): v128 {
  const low = v128.xor(v128.and(a, m0), v128.and(b, m1));
  const high = v128.xor(v128.and(c, m2), v128.and(d, m3));
  return v128.xor(low, high);
}
