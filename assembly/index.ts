// What the module exports.

export function placeholder(): i32 {
  return 0;
}
