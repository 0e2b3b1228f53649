// A log entry: 80 bytes of header, then the payload (the table is in format.ts).
//
// The header has a checksum of its own, so that no length is used before it is verified:
//
//     payloadChecksum = XXH3-64 of the payload (of nothing, if there is none)
//     headerChecksum  = XXH3-64 of the header's bytes 8 to 80, hence of payloadChecksum too
//
// `encodeEntry` copies the payload behind the header and digests it on the way, in one pass over it.

import { checksum } from "./checksum";
import { begin, feedCopy, feedLastCopy, lowResult, STRIPE_BYTES } from "./digest";
import {
  BLOCK_BYTES,
  ENTRY_BLOCK_COUNT,
  ENTRY_FAULT_HEADER_CHECKSUM,
  ENTRY_FAULT_MAGIC,
  ENTRY_FAULT_PAYLOAD_CHECKSUM,
  ENTRY_FAULT_SIZE,
  ENTRY_FAULT_VERSION,
  ENTRY_HEADER_BYTES,
  ENTRY_HEADER_CHECKSUM,
  ENTRY_KIND,
  ENTRY_KIND_TRIM,
  ENTRY_KIND_WRITE,
  ENTRY_MAGIC,
  ENTRY_MAGIC_AT,
  ENTRY_PAYLOAD_BYTES,
  ENTRY_PAYLOAD_CHECKSUM,
  ENTRY_PAYLOAD_MAX,
  ENTRY_VERSION,
  FORMAT_VERSION,
} from "./format";
import { PROMISE_ENTRY_OVERLAP, PROMISE_ENTRY_SIZE } from "./layout";
import { promised } from "./promise";

/** Below this the digest does not go by stripes, and copying first costs nothing. */
const FUSED_BYTES_MIN: usize = 241;
const COVERED_FROM: usize = ENTRY_PAYLOAD_CHECKSUM;
const COVERED_BYTES: usize = ENTRY_HEADER_BYTES - ENTRY_PAYLOAD_CHECKSUM;

/**
 * Completes the entry at `entry`, whose header fields are in place except for the two checksums.
 * `source` is where the payload lies: behind the header already, or anywhere that does not overlap it.
 */
export function encodeEntry(entry: usize, source: usize, bytes: usize): void {
  const payload = entry + ENTRY_HEADER_BYTES;
  const isSizeRight = bytes <= <usize>ENTRY_PAYLOAD_MAX && bytes == load<u32>(entry + ENTRY_PAYLOAD_BYTES);
  promised(isSizeRight, PROMISE_ENTRY_SIZE);
  const isApart = source + bytes <= entry || source >= payload + bytes;
  promised(source == payload || isApart || bytes == 0, PROMISE_ENTRY_OVERLAP);
  const sum = source == payload ? checksum(payload, bytes) : copyAndChecksum(payload, source, bytes);
  store<u64>(entry + ENTRY_PAYLOAD_CHECKSUM, sum);
  store<u64>(entry + ENTRY_HEADER_CHECKSUM, checksum(entry + COVERED_FROM, COVERED_BYTES));
}

/** 0, or the ENTRY_FAULT_* that says what is wrong with the header. */
export function checkEntryHeader(entry: usize): i32 {
  if (load<u32>(entry + ENTRY_MAGIC_AT) != ENTRY_MAGIC) return ENTRY_FAULT_MAGIC;
  const sum = checksum(entry + COVERED_FROM, COVERED_BYTES);
  if (load<u64>(entry + ENTRY_HEADER_CHECKSUM) != sum) return ENTRY_FAULT_HEADER_CHECKSUM;
  if (load<u8>(entry + ENTRY_VERSION) != FORMAT_VERSION) return ENTRY_FAULT_VERSION;
  return hasRightSize(entry) ? 0 : ENTRY_FAULT_SIZE;
}

/** The header must have been checked: its length is used here. */
export function checkEntryPayload(entry: usize): i32 {
  const bytes: usize = load<u32>(entry + ENTRY_PAYLOAD_BYTES);
  if (bytes > <usize>ENTRY_PAYLOAD_MAX) return ENTRY_FAULT_SIZE;
  const sum = checksum(entry + ENTRY_HEADER_BYTES, bytes);
  return load<u64>(entry + ENTRY_PAYLOAD_CHECKSUM) == sum ? 0 : ENTRY_FAULT_PAYLOAD_CHECKSUM;
}

/** A write carries its blocks, a trim carries nothing; other kinds may carry what fits. */
function hasRightSize(entry: usize): bool {
  const bytes: u64 = load<u32>(entry + ENTRY_PAYLOAD_BYTES);
  const kind: i32 = load<u8>(entry + ENTRY_KIND);
  if (kind == ENTRY_KIND_WRITE) {
    const wanted = <u64>load<u32>(entry + ENTRY_BLOCK_COUNT) * BLOCK_BYTES;
    return bytes == wanted && bytes <= <u64>ENTRY_PAYLOAD_MAX;
  }
  return kind == ENTRY_KIND_TRIM ? bytes == 0 : bytes <= <u64>ENTRY_PAYLOAD_MAX;
}

function copyAndChecksum(target: usize, source: usize, bytes: usize): u64 {
  if (bytes < FUSED_BYTES_MIN) {
    memory.copy(target, source, bytes);
    return checksum(target, bytes);
  }
  const last = bytes - STRIPE_BYTES;
  begin();
  feedCopy(target, source, (bytes - 1) / STRIPE_BYTES);
  feedLastCopy(target + last, source + last);
  return lowResult(bytes);
}
