// Looking at data without changing it.

/** 1 if all bytes are zero. Stops at the first group of 64 that is not. */
export function isZero(data: usize, bytes: usize): i32 {
  const end = data + bytes;
  while (data + 64 <= end) {
    const front = v128.or(v128.load(data), v128.load(data, 16));
    const back = v128.or(v128.load(data, 32), v128.load(data, 48));
    if (v128.any_true(v128.or(front, back))) return 0;
    data += 64;
  }
  while (data < end) {
    if (load<u8>(data) != 0) return 0;
    data++;
  }
  return 1;
}
