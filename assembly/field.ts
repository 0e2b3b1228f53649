// GF(16) by elements, for the handful of constants that `reconstruct` needs. x^4 = x + 1, g = x, g^15 = 1.

export function times(a: u32, b: u32): u32 {
  let product: u32 = 0;
  for (let bit: u32 = 0; bit < 4; bit++) {
    if ((b >> bit) & 1) product ^= a;
    a = (a << 1) ^ (a & 8 ? 0x13 : 0);
  }
  return product;
}

/** g to the `exponent`, 0 to 15. */
export function power(exponent: u32): u32 {
  let result: u32 = 1;
  for (let i: u32 = 0; i < exponent; i++) result = times(result, 2);
  return result;
}

/** a^14 = 1/a, for a other than 0. */
export function inverse(a: u32): u32 {
  const a2 = times(a, a);
  const a4 = times(a2, a2);
  const a8 = times(a4, a4);
  return times(a8, times(a4, a2));
}

/** The coefficient of data unit `unit` in parity row `row`: 1, g^i, g^-i. */
export function coefficient(row: u32, unit: u32): u32 {
  if (row == 0 || unit == 0) return 1;
  return power(row == 1 ? unit : 15 - unit);
}
