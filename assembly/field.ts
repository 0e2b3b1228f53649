// GF(16) by elements, for the handful of constants that `reconstruct` needs. x^4 = x + 1, g = x, g^15 = 1.
//
// Tables of four bits an entry, each in one number: element e is g to the LOGARITHMS[e]. A call of
// `reconstruct` needs dozens of products, and may be for no more than one block.

const POWERS: u64 = 0x19dfe7a5bc638421;
const LOGARITHMS: u64 = 0xcbd679e3a5824100;

function logarithm(a: u32): u32 {
  return <u32>(LOGARITHMS >> (a << 2)) & 15;
}

/** g to the `exponent`, 0 to 15. */
export function power(exponent: u32): u32 {
  return <u32>(POWERS >> (exponent << 2)) & 15;
}

export function times(a: u32, b: u32): u32 {
  if (a == 0 || b == 0) return 0;
  const exponent = logarithm(a) + logarithm(b);
  return power(exponent < 15 ? exponent : exponent - 15);
}

/** 1/a, for a other than 0. */
export function inverse(a: u32): u32 {
  return power(15 - logarithm(a));
}

/** The coefficient of data unit `unit` in parity row `row`: 1, g^i, g^-i. */
export function coefficient(row: u32, unit: u32): u32 {
  if (row == 0) return 1;
  return power(row == 1 ? unit : 15 - unit);
}
