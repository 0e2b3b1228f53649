// Lost data units from living ones, line by line, in the bit-sliced layout of parity.ts.
//
// Seen from lost unit a, the equation of Q has no factors left but powers of g, and so has that of R:
//
//     Q / g^a:   d_a = Q / g^a + sum over i < a of d_i / g^(a-i) + sum over i > a of d_i g^(i-a)
//     R g^a:     d_a = R g^a   + sum over i < a of d_i g^(a-i)   + sum over i > a of d_i / g^(i-a)
//
// So two walks towards a restore it, one that adds and doubles, one that adds and halves. The units above a
// are walked downwards from zeros, those below upwards from the parity. No multiplication is left.
//
// If b > a is lost too, it reads as zeros, and the walks end at T = d_a + x d_b with x = g^(b-a), or 1/x for
// R. With S = d_a + d_b out of P:    d_b = (T + S) / (x + 1)    d_a = S + d_b
//
// Times a constant c: of v, g v, g^2 v and g^3 v those are added whose bit is set in c. The branches on its
// bits go the same way for every line, so they are nearly free (masks instead were a third slower).
//
// Walks are tables of pointers: from `doubled` to `halved` the one that doubles, from there to `end` the one
// that halves; the first pointer of each is where it starts. Bytes `from` to `to` are computed, multiples of
// 64. Outputs must not overlap what is read or each other. Nothing needs to be aligned.

/** The end of both walks: one lost unit. */
export function recoverOne(
  doubled: usize,
  halved: usize,
  end: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  for (let at = from; at < to; at += 64) {
    let data = <usize>load<u32>(doubled) + at;
    let s0 = v128.load(data);
    let s1 = v128.load(data, 16);
    let s2 = v128.load(data, 32);
    let s3 = v128.load(data, 48);
    for (let unit = doubled + 4; unit < halved; unit += 4) {
      data = <usize>load<u32>(unit) + at;
      const high = v128.xor(s3, v128.load(data, 48));
      s3 = v128.xor(s2, v128.load(data, 32));
      s2 = v128.xor(s1, v128.load(data, 16));
      s1 = v128.xor(v128.xor(s0, high), v128.load(data));
      s0 = high;
    }
    data = <usize>load<u32>(halved) + at;
    let t0 = v128.load(data);
    let t1 = v128.load(data, 16);
    let t2 = v128.load(data, 32);
    let t3 = v128.load(data, 48);
    for (let unit = halved + 4; unit < end; unit += 4) {
      data = <usize>load<u32>(unit) + at;
      const low = v128.xor(t0, v128.load(data));
      t0 = v128.xor(v128.xor(t1, low), v128.load(data, 16));
      t1 = v128.xor(t2, v128.load(data, 32));
      t2 = v128.xor(t3, v128.load(data, 48));
      t3 = low;
    }
    v128.store(out + at, v128.xor(s0, t0));
    v128.store(out + at, v128.xor(s1, t1), 16);
    v128.store(out + at, v128.xor(s2, t2), 32);
    v128.store(out + at, v128.xor(s3, t3), 48);
  }
}

/** Two lost units; `c` is 1 / (x + 1), or 1 / (1/x + 1) for R. The walks' starts are no part of P's sum. */
export function recoverTwo(
  doubled: usize,
  halved: usize,
  end: usize,
  p: usize,
  c: u32,
  outA: usize,
  outB: usize,
  from: usize,
  to: usize,
): void {
  for (let at = from; at < to; at += 64) {
    let data = <usize>load<u32>(doubled) + at;
    let s0 = v128.load(data);
    let s1 = v128.load(data, 16);
    let s2 = v128.load(data, 32);
    let s3 = v128.load(data, 48);
    let p0 = v128.load(p + at);
    let p1 = v128.load(p + at, 16);
    let p2 = v128.load(p + at, 32);
    let p3 = v128.load(p + at, 48);
    for (let unit = doubled + 4; unit < halved; unit += 4) {
      data = <usize>load<u32>(unit) + at;
      const d3 = v128.load(data, 48);
      const high = v128.xor(s3, d3);
      p3 = v128.xor(p3, d3);
      const d2 = v128.load(data, 32);
      s3 = v128.xor(s2, d2);
      p2 = v128.xor(p2, d2);
      const d1 = v128.load(data, 16);
      s2 = v128.xor(s1, d1);
      p1 = v128.xor(p1, d1);
      const d0 = v128.load(data);
      s1 = v128.xor(v128.xor(s0, high), d0);
      p0 = v128.xor(p0, d0);
      s0 = high;
    }
    data = <usize>load<u32>(halved) + at;
    let t0 = v128.load(data);
    let t1 = v128.load(data, 16);
    let t2 = v128.load(data, 32);
    let t3 = v128.load(data, 48);
    for (let unit = halved + 4; unit < end; unit += 4) {
      data = <usize>load<u32>(unit) + at;
      const d0 = v128.load(data);
      const low = v128.xor(t0, d0);
      p0 = v128.xor(p0, d0);
      const d1 = v128.load(data, 16);
      t0 = v128.xor(v128.xor(t1, low), d1);
      p1 = v128.xor(p1, d1);
      const d2 = v128.load(data, 32);
      t1 = v128.xor(t2, d2);
      p2 = v128.xor(p2, d2);
      const d3 = v128.load(data, 48);
      t2 = v128.xor(t3, d3);
      p3 = v128.xor(p3, d3);
      t3 = low;
    }
    let v0 = v128.xor(v128.xor(s0, t0), p0);
    let v1 = v128.xor(v128.xor(s1, t1), p1);
    let v2 = v128.xor(v128.xor(s2, t2), p2);
    let v3 = v128.xor(v128.xor(s3, t3), p3);
    let b0 = i64x2.splat(0);
    let b1 = b0;
    let b2 = b0;
    let b3 = b0;
    for (let bits = c; bits != 0; bits >>= 1) {
      if (bits & 1) {
        b0 = v128.xor(b0, v0);
        b1 = v128.xor(b1, v1);
        b2 = v128.xor(b2, v2);
        b3 = v128.xor(b3, v3);
      }
      const high = v3;
      v3 = v2;
      v2 = v1;
      v1 = v128.xor(v0, high);
      v0 = high;
    }
    v128.store(outB + at, b0);
    v128.store(outB + at, b1, 16);
    v128.store(outB + at, b2, 32);
    v128.store(outB + at, b3, 48);
    v128.store(outA + at, v128.xor(p0, b0));
    v128.store(outA + at, v128.xor(p1, b1), 16);
    v128.store(outA + at, v128.xor(p2, b2), 32);
    v128.store(outA + at, v128.xor(p3, b3), 48);
  }
}
