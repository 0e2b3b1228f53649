// XXH3-64 and -128 of data that comes in pieces, for what lies outside this memory.
//
// The host stages the data: whole blocks of 1024 bytes in `streamBlocks`, the last 1 to 1024 bytes in
// `streamEnd64` or `streamEnd128`, with the 64 bytes before them in place, as the last stripe may reach back.
// All in all more than 240 bytes; for less the host stages everything and calls hash64 or hash128.

import {
  BLOCK_STRIPES,
  begin,
  DIGEST_BLOCK_BYTES,
  feed,
  feedLast,
  highResult,
  lowResult,
  STRIPE_BYTES,
} from "./digest";
import { PROMISE_DIGEST_PIECE, RESULT_OFFSET } from "./layout";
import { promised } from "./promise";

export function streamBegin(): void {
  begin();
}

export function streamBlocks(data: usize, count: usize): void {
  feed(data, count * BLOCK_STRIPES);
}

export function streamEnd(data: usize, bytes: usize, totalBytes: f64): void {
  promised(bytes > 0 && bytes <= DIGEST_BLOCK_BYTES && totalBytes > 240, PROMISE_DIGEST_PIECE);
  feed(data, (bytes - 1) / STRIPE_BYTES);
  feedLast(data + bytes - STRIPE_BYTES);
  store<u64>(RESULT_OFFSET, lowResult(<u64>totalBytes));
  store<u64>(RESULT_OFFSET, highResult(<u64>totalBytes), 8);
}
