// Four units into one parity row: the innermost loops of parity.ts, written out.
//
// `units` points to four pointers. A row starts from the line at `pFrom` (the zero page for the first group,
// the row itself after that) and ends at `p`. Bytes `from` to `to` of every unit, multiples of 64.

/** P += the units. */
export function addToP(units: usize, p: usize, pFrom: usize, from: usize, to: usize): void {
  const unit0: usize = load<u32>(units);
  const unit1: usize = load<u32>(units, 4);
  const unit2: usize = load<u32>(units, 8);
  const unit3: usize = load<u32>(units, 12);
  for (let at = from; at < to; at += 64) {
    let p0 = v128.load(pFrom + at);
    let p1 = v128.load(pFrom + at, 16);
    let p2 = v128.load(pFrom + at, 32);
    let p3 = v128.load(pFrom + at, 48);
    let d0 = v128.load(unit3 + at);
    let d1 = v128.load(unit3 + at, 16);
    let d2 = v128.load(unit3 + at, 32);
    let d3 = v128.load(unit3 + at, 48);
    p0 = v128.xor(p0, d0);
    p1 = v128.xor(p1, d1);
    p2 = v128.xor(p2, d2);
    p3 = v128.xor(p3, d3);
    d0 = v128.load(unit2 + at);
    d1 = v128.load(unit2 + at, 16);
    d2 = v128.load(unit2 + at, 32);
    d3 = v128.load(unit2 + at, 48);
    p0 = v128.xor(p0, d0);
    p1 = v128.xor(p1, d1);
    p2 = v128.xor(p2, d2);
    p3 = v128.xor(p3, d3);
    d0 = v128.load(unit1 + at);
    d1 = v128.load(unit1 + at, 16);
    d2 = v128.load(unit1 + at, 32);
    d3 = v128.load(unit1 + at, 48);
    p0 = v128.xor(p0, d0);
    p1 = v128.xor(p1, d1);
    p2 = v128.xor(p2, d2);
    p3 = v128.xor(p3, d3);
    d0 = v128.load(unit0 + at);
    d1 = v128.load(unit0 + at, 16);
    d2 = v128.load(unit0 + at, 32);
    d3 = v128.load(unit0 + at, 48);
    p0 = v128.xor(p0, d0);
    p1 = v128.xor(p1, d1);
    p2 = v128.xor(p2, d2);
    p3 = v128.xor(p3, d3);
    v128.store(p + at, p0);
    v128.store(p + at, p1, 16);
    v128.store(p + at, p2, 32);
    v128.store(p + at, p3, 48);
  }
}

/** Q: four times double and add, the last unit first. */
export function addToQ(units: usize, q: usize, qFrom: usize, from: usize, to: usize): void {
  const unit0: usize = load<u32>(units);
  const unit1: usize = load<u32>(units, 4);
  const unit2: usize = load<u32>(units, 8);
  const unit3: usize = load<u32>(units, 12);
  for (let at = from; at < to; at += 64) {
    let q0 = v128.load(qFrom + at);
    let q1 = v128.load(qFrom + at, 16);
    let q2 = v128.load(qFrom + at, 32);
    let q3 = v128.load(qFrom + at, 48);
    let d0 = v128.load(unit3 + at);
    let d1 = v128.load(unit3 + at, 16);
    let d2 = v128.load(unit3 + at, 32);
    let d3 = v128.load(unit3 + at, 48);
    let high = q3;
    q3 = v128.xor(q2, d3);
    q2 = v128.xor(q1, d2);
    q1 = v128.xor(v128.xor(q0, high), d1);
    q0 = v128.xor(high, d0);
    d0 = v128.load(unit2 + at);
    d1 = v128.load(unit2 + at, 16);
    d2 = v128.load(unit2 + at, 32);
    d3 = v128.load(unit2 + at, 48);
    high = q3;
    q3 = v128.xor(q2, d3);
    q2 = v128.xor(q1, d2);
    q1 = v128.xor(v128.xor(q0, high), d1);
    q0 = v128.xor(high, d0);
    d0 = v128.load(unit1 + at);
    d1 = v128.load(unit1 + at, 16);
    d2 = v128.load(unit1 + at, 32);
    d3 = v128.load(unit1 + at, 48);
    high = q3;
    q3 = v128.xor(q2, d3);
    q2 = v128.xor(q1, d2);
    q1 = v128.xor(v128.xor(q0, high), d1);
    q0 = v128.xor(high, d0);
    d0 = v128.load(unit0 + at);
    d1 = v128.load(unit0 + at, 16);
    d2 = v128.load(unit0 + at, 32);
    d3 = v128.load(unit0 + at, 48);
    high = q3;
    q3 = v128.xor(q2, d3);
    q2 = v128.xor(q1, d2);
    q1 = v128.xor(v128.xor(q0, high), d1);
    q0 = v128.xor(high, d0);
    v128.store(q + at, q0);
    v128.store(q + at, q1, 16);
    v128.store(q + at, q2, 32);
    v128.store(q + at, q3, 48);
  }
}

/** R: four times halve and add, the last unit first. */
export function addToR(units: usize, r: usize, rFrom: usize, from: usize, to: usize): void {
  const unit0: usize = load<u32>(units);
  const unit1: usize = load<u32>(units, 4);
  const unit2: usize = load<u32>(units, 8);
  const unit3: usize = load<u32>(units, 12);
  for (let at = from; at < to; at += 64) {
    let r0 = v128.load(rFrom + at);
    let r1 = v128.load(rFrom + at, 16);
    let r2 = v128.load(rFrom + at, 32);
    let r3 = v128.load(rFrom + at, 48);
    let d0 = v128.load(unit3 + at);
    let d1 = v128.load(unit3 + at, 16);
    let d2 = v128.load(unit3 + at, 32);
    let d3 = v128.load(unit3 + at, 48);
    let low = r0;
    r0 = v128.xor(v128.xor(low, r1), d0);
    r1 = v128.xor(r2, d1);
    r2 = v128.xor(r3, d2);
    r3 = v128.xor(low, d3);
    d0 = v128.load(unit2 + at);
    d1 = v128.load(unit2 + at, 16);
    d2 = v128.load(unit2 + at, 32);
    d3 = v128.load(unit2 + at, 48);
    low = r0;
    r0 = v128.xor(v128.xor(low, r1), d0);
    r1 = v128.xor(r2, d1);
    r2 = v128.xor(r3, d2);
    r3 = v128.xor(low, d3);
    d0 = v128.load(unit1 + at);
    d1 = v128.load(unit1 + at, 16);
    d2 = v128.load(unit1 + at, 32);
    d3 = v128.load(unit1 + at, 48);
    low = r0;
    r0 = v128.xor(v128.xor(low, r1), d0);
    r1 = v128.xor(r2, d1);
    r2 = v128.xor(r3, d2);
    r3 = v128.xor(low, d3);
    d0 = v128.load(unit0 + at);
    d1 = v128.load(unit0 + at, 16);
    d2 = v128.load(unit0 + at, 32);
    d3 = v128.load(unit0 + at, 48);
    low = r0;
    r0 = v128.xor(v128.xor(low, r1), d0);
    r1 = v128.xor(r2, d1);
    r2 = v128.xor(r3, d2);
    r3 = v128.xor(low, d3);
    v128.store(r + at, r0);
    v128.store(r + at, r1, 16);
    v128.store(r + at, r2, 32);
    v128.store(r + at, r3, 48);
  }
}
