// Operations on whole ranges in the bit-sliced layout of parity.ts, multiples of 64 bytes.
//
// A constant c times (v0 .. v3) is the sum of those of v, g v, g^2 v, g^3 v whose bit is set in c:
//
//     v = (v0, v1, v2, v3)              g v   = (v3, v0 + v3, v1, v2)
//     g^2 v = (v2, v2 + v3, v0 + v3, v1)    g^3 v = (v1, v1 + v2, v2 + v3, v0 + v3)
//
// The branches on the bits of c go the same way for every line, so they are free, and they keep the basic
// blocks small, which keeps V8 from spilling (masks instead of branches were a third slower).

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
  if (c == 1) addTo(target, source, bytes);
  else multiply(target, target, source, c, bytes);
}

/** target = c * target; `zeros` is a page of zeros, bytes at most a page */
export function scale(target: usize, zeros: usize, c: u32, bytes: usize): void {
  if (c != 1) multiply(target, zeros, target, c, bytes);
}

/** target = base + c * source */
function multiply(target: usize, base: usize, source: usize, c: u32, bytes: usize): void {
  for (let at: usize = 0; at < bytes; at += 64) {
    const from = source + at;
    const v0 = v128.load(from);
    const v1 = v128.load(from, 16);
    const v2 = v128.load(from, 32);
    const v3 = v128.load(from, 48);
    let r0 = v128.load(base + at);
    let r1 = v128.load(base + at, 16);
    let r2 = v128.load(base + at, 32);
    let r3 = v128.load(base + at, 48);
    if (c & 1) {
      r0 = v128.xor(r0, v0);
      r1 = v128.xor(r1, v1);
      r2 = v128.xor(r2, v2);
      r3 = v128.xor(r3, v3);
    }
    const v03 = v128.xor(v0, v3);
    if (c & 2) {
      r0 = v128.xor(r0, v3);
      r1 = v128.xor(r1, v03);
      r2 = v128.xor(r2, v1);
      r3 = v128.xor(r3, v2);
    }
    const v23 = v128.xor(v2, v3);
    if (c & 4) {
      r0 = v128.xor(r0, v2);
      r1 = v128.xor(r1, v23);
      r2 = v128.xor(r2, v03);
      r3 = v128.xor(r3, v1);
    }
    if (c & 8) {
      r0 = v128.xor(r0, v1);
      r1 = v128.xor(r1, v128.xor(v1, v2));
      r2 = v128.xor(r2, v23);
      r3 = v128.xor(r3, v03);
    }
    v128.store(target + at, r0);
    v128.store(target + at, r1, 16);
    v128.store(target + at, r2, 32);
    v128.store(target + at, r3, 48);
  }
}
