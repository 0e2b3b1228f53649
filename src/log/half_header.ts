// The header of a log half: one sector at the start of the file (the table is in assembly/format.ts).
//
// Invariants:
//   - it says whose file this is (volume, copy, slot) and which use of it this is (number, start position);
//   - a file that was never used, or was reset, has a header too, with start sequence 0: so a blank or a
//     foreign file in place of a copy is recognised, and never taken for an empty log;
//   - it is one sector, so a crash leaves the old one, the new one, or one whose checksum is wrong.

import {
  FORMAT_VERSION,
  HALF_CHECKSUM,
  HALF_COPY,
  HALF_COPY_COUNT,
  HALF_FILE_BYTES,
  HALF_GENERATION,
  HALF_GENERATION_ID,
  HALF_HEADER_BYTES,
  HALF_MAGIC,
  HALF_MAGIC_AT,
  HALF_NUMBER,
  HALF_RESERVED,
  HALF_SLOT,
  HALF_SLOT_COUNT,
  HALF_START_CHAIN,
  HALF_START_SEQUENCE,
  HALF_VERSION,
  HALF_VOLUME_ID,
  HALF_ZERO,
  ID_BYTES,
  LOG_ENTRIES_OFFSET,
  LOG_HALF_COUNT,
  SECTOR_BYTES,
} from "../../assembly/format.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { paddedBytes, readU64, SEAL_BYTES, writeU64 } from "./entry_codec.ts";
import { HALF_BYTES_MAX } from "./location.ts";
import type { Generation } from "./types.ts";

/** Whose file it is. */
export interface HalfFile {
  readonly volumeId: Uint8Array;
  readonly copy: number;
  readonly copyCount: number;
  readonly slot: number;
  readonly fileBytes: number;
}

/** Which use of the file it is. */
export interface HalfUse {
  readonly number: number;
  /** 0: the half is not in use. */
  readonly startSequence: number;
  readonly startChain: bigint;
  readonly generation: Generation;
}

export interface HalfHeader extends HalfFile, HalfUse {}

/** Some entries and a seal fit. A small log has small entries: `Log.entryPayloadMax`. */
const HALF_PAYLOAD_MIN = 64 * 1024;
export const HALF_BYTES_MIN = LOG_ENTRIES_OFFSET + paddedBytes(HALF_PAYLOAD_MIN) + SEAL_BYTES;

/** Whether a file of a copy can have that size. */
export function isHalfSize(bytes: number): boolean {
  return bytes % SECTOR_BYTES === 0 && bytes >= HALF_BYTES_MIN && bytes <= HALF_BYTES_MAX;
}

const COVERED_FROM = HALF_CHECKSUM + 8;

/** What `createLog` and a reset leave in a half. */
export const UNUSED: HalfUse = {
  number: 0,
  startSequence: 0,
  startChain: 0n,
  generation: { number: 0, id: 0n },
};

export function encodeHalfHeader(kernel: Kernel, header: HalfHeader): Uint8Array {
  const bytes = new Uint8Array(HALF_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(HALF_MAGIC_AT, HALF_MAGIC, true);
  view.setUint32(HALF_VERSION, FORMAT_VERSION, true);
  bytes.set(header.volumeId, HALF_VOLUME_ID);
  writeU64(view, HALF_NUMBER, header.number);
  writeU64(view, HALF_START_SEQUENCE, header.startSequence);
  view.setBigUint64(HALF_START_CHAIN, header.startChain, true);
  view.setBigUint64(HALF_GENERATION_ID, header.generation.id, true);
  view.setUint32(HALF_GENERATION, header.generation.number, true);
  view.setUint16(HALF_COPY, header.copy, true);
  view.setUint16(HALF_COPY_COUNT, header.copyCount, true);
  view.setUint16(HALF_SLOT, header.slot, true);
  view.setUint16(HALF_SLOT_COUNT, LOG_HALF_COUNT, true);
  writeU64(view, HALF_FILE_BYTES, header.fileBytes);
  const [low, high] = headerChecksum(kernel, bytes);
  view.setUint32(HALF_CHECKSUM, low, true);
  view.setUint32(HALF_CHECKSUM + 4, high, true);
  return bytes;
}

/** The header, or the text that says what is wrong with it. Whether it is ours is another question. */
export function decodeHalfHeader(kernel: Kernel, bytes: Uint8Array): HalfHeader | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HALF_HEADER_BYTES);
  const wrong = findFault(kernel, bytes, view);
  if (wrong !== null) return wrong;
  return {
    volumeId: bytes.slice(HALF_VOLUME_ID, HALF_VOLUME_ID + ID_BYTES),
    copy: view.getUint16(HALF_COPY, true),
    copyCount: view.getUint16(HALF_COPY_COUNT, true),
    slot: view.getUint16(HALF_SLOT, true),
    fileBytes: readU64(view, HALF_FILE_BYTES),
    number: readU64(view, HALF_NUMBER),
    startSequence: readU64(view, HALF_START_SEQUENCE),
    startChain: view.getBigUint64(HALF_START_CHAIN, true),
    generation: {
      number: view.getUint32(HALF_GENERATION, true),
      id: view.getBigUint64(HALF_GENERATION_ID, true),
    },
  };
}

function findFault(kernel: Kernel, bytes: Uint8Array, view: DataView): string | null {
  if (view.getUint32(HALF_MAGIC_AT, true) !== HALF_MAGIC) return "not the header of a log half";
  const [low, high] = headerChecksum(kernel, bytes);
  const isRight =
    view.getUint32(HALF_CHECKSUM, true) === low && view.getUint32(HALF_CHECKSUM + 4, true) === high;
  if (!isRight) return "the header's checksum is wrong";
  if (view.getUint32(HALF_VERSION, true) !== FORMAT_VERSION) return "another format version";
  if (view.getUint16(HALF_SLOT_COUNT, true) !== LOG_HALF_COUNT) return "another number of halves";
  const reserved = bytes.subarray(HALF_RESERVED, HALF_HEADER_BYTES);
  if (view.getUint32(HALF_ZERO, true) !== 0 || reserved.some((byte) => byte !== 0)) {
    return "reserved bytes are not zero";
  }
  const [number, start, fileBytes] = [HALF_NUMBER, HALF_START_SEQUENCE, HALF_FILE_BYTES].map((at) =>
    readU64(view, at),
  ) as [number, number, number];
  if (![number, start, fileBytes].every(Number.isSafeInteger)) return "a number is out of range";
  if (!isHalfSize(fileBytes)) return `no half has ${fileBytes} bytes`;
  const slot = view.getUint16(HALF_SLOT, true);
  if (slot >= LOG_HALF_COUNT) return `there is no file ${slot} of a copy`;
  if (start > 0 && number % LOG_HALF_COUNT !== slot) return `half ${number} does not lie in file ${slot}`;
  return view.getUint16(HALF_COPY, true) < view.getUint16(HALF_COPY_COUNT, true) ? null : "no such copy";
}

function headerChecksum(kernel: Kernel, bytes: Uint8Array): [low: number, high: number] {
  const out = new Uint32Array(2);
  kernel.checksum64(bytes.subarray(COVERED_FROM, HALF_HEADER_BYTES), out);
  return [out[0]!, out[1]!];
}
