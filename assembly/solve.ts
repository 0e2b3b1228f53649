// Three equations with three unknowns, line by line, in the bit-sliced layout of parity.ts.
//
// Of the three lost units x, y and z the first parity row holds the plain sum, so two are multiplied out of
// the three syndromes S, and the last is what is left:
//
//     x = c_0x S_P + c_1x S_Q + c_2x S_R        y = the same with c_0y ..        z = S_P + x + y
//
// A constant times v is the sum of those of v, g v, g^2 v, g^3 v whose bit is set in it. Both constants of a
// row go by the same multiples: their bits lie in pairs, x's below y's, lowest pair first. The branches on
// them go the same way for every line.

/**
 * `sums` points to three pointers, the sums over the living data; x, y and z overwrite them in this order.
 * `parity` points to the three that are added to the sums, `factors` to the three numbers with both
 * constants. Bytes `from` to `to`, multiples of 64.
 */
export function solve(sums: usize, parity: usize, factors: usize, from: usize, to: usize): void {
  const x: usize = load<u32>(sums);
  const y: usize = load<u32>(sums, 4);
  const z: usize = load<u32>(sums, 8);
  const p: usize = load<u32>(parity);
  for (let at = from; at < to; at += 64) {
    let x0 = i64x2.splat(0);
    let x1 = x0;
    let x2 = x0;
    let x3 = x0;
    let y0 = x0;
    let y1 = x0;
    let y2 = x0;
    let y3 = x0;
    for (let row: usize = 0; row < 12; row += 4) {
      const sum = <usize>load<u32>(sums + row) + at;
      const other = <usize>load<u32>(parity + row) + at;
      let v0 = v128.xor(v128.load(sum), v128.load(other));
      let v1 = v128.xor(v128.load(sum, 16), v128.load(other, 16));
      let v2 = v128.xor(v128.load(sum, 32), v128.load(other, 32));
      let v3 = v128.xor(v128.load(sum, 48), v128.load(other, 48));
      for (let pairs = load<u32>(factors + row); pairs != 0; pairs >>= 2) {
        if (pairs & 1) {
          x0 = v128.xor(x0, v0);
          x1 = v128.xor(x1, v1);
          x2 = v128.xor(x2, v2);
          x3 = v128.xor(x3, v3);
        }
        if (pairs & 2) {
          y0 = v128.xor(y0, v0);
          y1 = v128.xor(y1, v1);
          y2 = v128.xor(y2, v2);
          y3 = v128.xor(y3, v3);
        }
        const high = v3;
        v3 = v2;
        v2 = v1;
        v1 = v128.xor(v0, high);
        v0 = high;
      }
    }
    const z0 = v128.xor(v128.load(x + at), v128.load(p + at));
    const z1 = v128.xor(v128.load(x + at, 16), v128.load(p + at, 16));
    const z2 = v128.xor(v128.load(x + at, 32), v128.load(p + at, 32));
    const z3 = v128.xor(v128.load(x + at, 48), v128.load(p + at, 48));
    v128.store(z + at, v128.xor(z0, v128.xor(x0, y0)));
    v128.store(z + at, v128.xor(z1, v128.xor(x1, y1)), 16);
    v128.store(z + at, v128.xor(z2, v128.xor(x2, y2)), 32);
    v128.store(z + at, v128.xor(z3, v128.xor(x3, y3)), 48);
    v128.store(x + at, x0);
    v128.store(x + at, x1, 16);
    v128.store(x + at, x2, 32);
    v128.store(x + at, x3, 48);
    v128.store(y + at, y0);
    v128.store(y + at, y1, 16);
    v128.store(y + at, y2, 32);
    v128.store(y + at, y3, 48);
  }
}
