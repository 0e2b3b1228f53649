// One log entry: 80 bytes of header (the table is in assembly/format.ts), then the payload.
//
// Invariants:
//   - nothing of a header is used, least of all its length, before its checksum was verified;
//   - a checksum is two 32-bit words here: a BigInt for every write would be garbage for every write;
//   - in a file an entry takes whole sectors (`paddedBytes`), so that no two entries share one.
//
// All functions work on offsets into the kernel's memory.

import {
  BLOCK_BYTES,
  ENTRY_BLOCK_COUNT,
  ENTRY_DURABLE_THROUGH,
  ENTRY_FAULT_HEADER_CHECKSUM,
  ENTRY_FAULT_MAGIC,
  ENTRY_FAULT_PAYLOAD_CHECKSUM,
  ENTRY_FAULT_SIZE,
  ENTRY_FAULT_VERSION,
  ENTRY_FLAGS,
  ENTRY_GENERATION,
  ENTRY_GENERATION_ID,
  ENTRY_HEADER_BYTES,
  ENTRY_HEADER_CHECKSUM,
  ENTRY_KIND,
  ENTRY_KIND_SEAL,
  ENTRY_KIND_TRIM,
  ENTRY_KIND_WRITE,
  ENTRY_LBA,
  ENTRY_MAGIC,
  ENTRY_MAGIC_AT,
  ENTRY_MIRROR_LAG,
  ENTRY_PAYLOAD_BYTES,
  ENTRY_PAYLOAD_MAX,
  ENTRY_PREVIOUS,
  ENTRY_SEQUENCE,
  ENTRY_VERSION,
  FORMAT_VERSION,
  SECTOR_BYTES,
} from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";

const WORD = 2 ** 32;

/** A u64 that is compared and copied, never computed with. */
export interface Checksum {
  low: number;
  high: number;
}

export interface EntryHeader {
  readonly sequence: number;
  readonly kind: number;
  readonly lba: number;
  readonly blockCount: number;
  readonly payloadBytes: number;
  readonly generation: number;
  readonly generationId: bigint;
  readonly durableThrough: number;
  /** How many of the entries through that one the mirror was not known to have synced. */
  readonly mirrorLag: number;
  readonly flags: number;
}

/** What `encodeEntry` writes; the log keeps one and changes it from entry to entry. */
export interface EntryFields {
  sequence: number;
  durableThrough: number;
  mirrorLag: number;
  generation: number;
  readonly generationId: Checksum;
  readonly previous: Checksum;
  kind: number;
  lba: number;
  blockCount: number;
  payloadBytes: number;
}

/** What an entry of that payload takes of a file. */
export function paddedBytes(payloadBytes: number): number {
  return Math.ceil((ENTRY_HEADER_BYTES + payloadBytes) / SECTOR_BYTES) * SECTOR_BYTES;
}

/** What a seal takes. */
export const SEAL_BYTES = paddedBytes(0);
/** The largest entry with its padding. */
export const ENTRY_BYTES_MAX = paddedBytes(ENTRY_PAYLOAD_MAX);

/** Writes the header at `at`; the payload lies at `source` (behind the header, or apart from the entry). */
export function encodeEntry(kernel: Kernel, at: number, fields: EntryFields, source: number): void {
  const view = kernel.view;
  writeChecksum(view, at + ENTRY_PREVIOUS, fields.previous);
  writeU64(view, at + ENTRY_SEQUENCE, fields.sequence);
  writeU64(view, at + ENTRY_DURABLE_THROUGH, fields.durableThrough);
  writeChecksum(view, at + ENTRY_GENERATION_ID, fields.generationId);
  writeU64(view, at + ENTRY_LBA, fields.lba);
  view.setUint32(at + ENTRY_GENERATION, fields.generation, true);
  view.setUint32(at + ENTRY_BLOCK_COUNT, fields.blockCount, true);
  view.setUint32(at + ENTRY_PAYLOAD_BYTES, fields.payloadBytes, true);
  view.setUint8(at + ENTRY_KIND, fields.kind);
  view.setUint8(at + ENTRY_VERSION, FORMAT_VERSION);
  view.setUint16(at + ENTRY_FLAGS, 0, true);
  view.setUint32(at + ENTRY_MAGIC_AT, ENTRY_MAGIC, true);
  view.setUint32(at + ENTRY_MIRROR_LAG, fields.mirrorLag, true);
  kernel.encodeEntryAt(at, source, fields.payloadBytes);
}

/** The header's fields. Only for a header whose check found nothing. */
function decodeEntry(view: DataView, at: number): EntryHeader {
  return {
    sequence: readU64(view, at + ENTRY_SEQUENCE),
    kind: view.getUint8(at + ENTRY_KIND),
    lba: readU64(view, at + ENTRY_LBA),
    blockCount: view.getUint32(at + ENTRY_BLOCK_COUNT, true),
    payloadBytes: view.getUint32(at + ENTRY_PAYLOAD_BYTES, true),
    generation: view.getUint32(at + ENTRY_GENERATION, true),
    generationId: view.getBigUint64(at + ENTRY_GENERATION_ID, true),
    durableThrough: readU64(view, at + ENTRY_DURABLE_THROUGH),
    mirrorLag: view.getUint32(at + ENTRY_MIRROR_LAG, true),
    flags: view.getUint16(at + ENTRY_FLAGS, true),
  };
}

/** What is wrong with the fields of a header that was written as it is, or null. */
function validateEntry(header: EntryHeader): string | null {
  const { sequence, kind, lba, blockCount, payloadBytes, durableThrough } = header;
  if (!Number.isSafeInteger(sequence) || sequence < 1) return `${sequence} is no sequence`;
  if (!(durableThrough < sequence))
    return `durable through ${durableThrough}, but its sequence is ${sequence}`;
  if (header.mirrorLag > durableThrough)
    return `a mirror ${header.mirrorLag} entries behind entry ${durableThrough}`;
  if (!Number.isSafeInteger(lba)) return `${lba} is no block number`;
  if (header.flags !== 0) return `unknown flags ${header.flags}`;
  if (kind < ENTRY_KIND_WRITE || kind > ENTRY_KIND_SEAL) return `${kind} is no kind`;
  if (payloadBytes > ENTRY_PAYLOAD_MAX) return `a payload of ${payloadBytes} bytes`;
  const hasBlocks = kind === ENTRY_KIND_WRITE || kind === ENTRY_KIND_TRIM;
  if (hasBlocks && blockCount === 0) return "no blocks";
  if (kind === ENTRY_KIND_WRITE && payloadBytes !== blockCount * BLOCK_BYTES)
    return "blocks and bytes differ";
  if (kind === ENTRY_KIND_TRIM && payloadBytes !== 0) return "a trim with a payload";
  if (kind === ENTRY_KIND_SEAL && (payloadBytes !== 0 || blockCount !== 0)) return "a seal with a payload";
  return null;
}

/** Reads and checks a header of which `roomBytes` bytes, and its payload as far as it goes, are there. */
export function readHeader(kernel: Kernel, at: number, roomBytes: number): EntryHeader | null {
  if (roomBytes < ENTRY_HEADER_BYTES || kernel.view.getUint32(at + ENTRY_MAGIC_AT, true) !== ENTRY_MAGIC) {
    return null;
  }
  if (kernel.checkEntryHeaderAt(at) !== 0) return null;
  const header = decodeEntry(kernel.view, at);
  return validateEntry(header) === null ? header : null;
}

export function isPayloadThere(kernel: Kernel, at: number, header: EntryHeader, roomBytes: number): boolean {
  if (ENTRY_HEADER_BYTES + header.payloadBytes > roomBytes) return false;
  return kernel.checkEntryPayloadAt(at) === 0;
}

const FAULTS: Record<number, readonly [code: `ERR_${string}`, text: string]> = {
  [ENTRY_FAULT_MAGIC]: ["ERR_ENTRY_FORMAT", "not a log entry"],
  [ENTRY_FAULT_VERSION]: ["ERR_ENTRY_FORMAT", "another format version"],
  [ENTRY_FAULT_SIZE]: ["ERR_ENTRY_FORMAT", "kind, block count and payload size do not fit together"],
  [ENTRY_FAULT_HEADER_CHECKSUM]: ["ERR_ENTRY_CHECKSUM", "the header's checksum is wrong"],
  [ENTRY_FAULT_PAYLOAD_CHECKSUM]: ["ERR_ENTRY_CHECKSUM", "the payload's checksum is wrong"],
};

/** Checks a whole entry of exactly `bytes` bytes that came from outside, and throws what is wrong with it. */
export function checkForeignEntry(kernel: Kernel, at: number, bytes: number): EntryHeader {
  throwFault(kernel.checkEntryHeaderAt(at));
  const header = decodeEntry(kernel.view, at);
  const wrong = validateEntry(header);
  if (wrong !== null) throw new MirrorvolError("ERR_ENTRY_FORMAT", `log entry: ${wrong}`);
  if (ENTRY_HEADER_BYTES + header.payloadBytes !== bytes) {
    const text = `log entry ${header.sequence}: ${bytes} bytes, but its header names ${header.payloadBytes} of payload`;
    throw new MirrorvolError("ERR_ENTRY_FORMAT", text);
  }
  throwFault(kernel.checkEntryPayloadAt(at));
  return header;
}

function throwFault(fault: number): void {
  if (fault === 0) return;
  const [code, text] = FAULTS[fault] ?? ["ERR_ENTRY_FORMAT", `fault ${fault}`];
  throw new MirrorvolError(code, `log entry: ${text}`);
}

/** An entry's own checksum: what its successor names. */
export function readOwnChecksum(view: DataView, at: number, into: Checksum): void {
  readChecksum(view, at + ENTRY_HEADER_CHECKSUM, into);
}

export function isPrevious(view: DataView, at: number, chain: Checksum): boolean {
  return isChecksum(view, at + ENTRY_PREVIOUS, chain);
}

export function isOwnChecksum(view: DataView, at: number, chain: Checksum): boolean {
  return isChecksum(view, at + ENTRY_HEADER_CHECKSUM, chain);
}

function isChecksum(view: DataView, at: number, wanted: Checksum): boolean {
  return view.getUint32(at, true) === wanted.low && view.getUint32(at + 4, true) === wanted.high;
}

function readChecksum(view: DataView, at: number, into: Checksum): void {
  into.low = view.getUint32(at, true);
  into.high = view.getUint32(at + 4, true);
}

function writeChecksum(view: DataView, at: number, checksum: Checksum): void {
  view.setUint32(at, checksum.low, true);
  view.setUint32(at + 4, checksum.high, true);
}

export function checksumOf(value: bigint): Checksum {
  return { low: Number(value & 0xffffffffn), high: Number((value >> 32n) & 0xffffffffn) };
}

export function bigintOf(checksum: Checksum): bigint {
  return (BigInt(checksum.high) << 32n) | BigInt(checksum.low);
}

/** Not a safe integer when the field is larger than any that we write: the caller's check refuses it. */
export function readU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * WORD + view.getUint32(at, true);
}

export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % WORD, true);
  view.setUint32(at + 4, Math.floor(value / WORD), true);
}

/** Of a payload in parts. */
export function payloadBytesOf(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  return bytes;
}
