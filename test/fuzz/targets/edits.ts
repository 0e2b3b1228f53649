// Files on simulated storage, changed behind everybody's back by a script: the input of targets with files.
//
//   8 bytes an edit:  what u8 | file u8 | place u16 | at u16 | value u16        (little endian)
//
//   what 0  damage     flips bits of one byte                       what a disk does
//        1  loss       a sector reads as zeros
//        2  garbage    a sector of bytes that mean nothing
//        3  misplaced  a sector is that of another place or file
//        4  forged     a field gets a value, and the checksum of the record around it is made right again
//
// Places are the sectors of the file that hold anything. Damage, loss and garbage are what redundancy is for;
// misplaced and forged data may make a volume unusable, but never crash anything.

import * as format from "../../../assembly/format.ts";
import { SeededRandom } from "../../support/memory_random.ts";
import type { MemoryStorage } from "../../support/memory_storage.ts";
import { sealEntry, viewOf, writeSum } from "./log_codec.ts";

const EDIT_BYTES = 8;
const EDITS_MAX = 24;
const KINDS = 5;
const SECTOR = format.SECTOR_BYTES;

export interface Image {
  readonly storage: MemoryStorage;
  readonly files: readonly string[];
  /** By file: offsets of the sectors that hold anything. */
  readonly places: readonly (readonly number[])[];
}

export interface Edited {
  readonly storage: MemoryStorage;
  /** Indexes of the files that differ from the image, as far as redundancy must make up for it. */
  readonly damaged: ReadonlySet<number>;
  readonly isMisplaced: boolean;
  readonly isForged: boolean;
}

export function imageOf(storage: MemoryStorage, files: readonly string[], bytes: number): Image {
  const places = files.map((path) => {
    const content = storage.peek(path, 0, bytes);
    const found: number[] = [];
    for (let at = 0; at < bytes; at += SECTOR) {
      if (content.subarray(at, at + SECTOR).some((byte) => byte !== 0)) found.push(at);
    }
    return found;
  });
  return { storage, files, places };
}

/** One edit of a script. */
export function edit(what: number, file: number, place: number, at = 0, value = 1): Uint8Array {
  const bytes = new Uint8Array(EDIT_BYTES);
  bytes.set([what, file]);
  const view = viewOf(bytes);
  view.setUint16(2, place, true);
  view.setUint16(4, at, true);
  view.setUint16(6, value, true);
  return bytes;
}

/** The image stays as it is. */
export function apply(image: Image, script: Uint8Array): Edited {
  const storage = image.storage.ifPowerFailedNow("keep");
  const damaged = new Set<number>();
  let [isMisplaced, isForged] = [false, false];
  const count = Math.min(EDITS_MAX, Math.floor(script.length / EDIT_BYTES));
  for (let index = 0; index < count; index += 1) {
    const view = viewOf(script.subarray(index * EDIT_BYTES));
    const [what, file] = [view.getUint8(0) % KINDS, view.getUint8(1) % image.files.length];
    const offset = pick(image.places[file]!, view.getUint16(2, true));
    const [at, value] = [view.getUint16(4, true), view.getUint16(6, true)];
    const path = image.files[file]!;
    damaged.add(file);
    if (what === 3) isMisplaced = true;
    if (what === 4) isForged = true;
    if (what === 4) forge(storage, path, offset, at, value);
    else
      storage.poke(
        path,
        offset + (what === 0 ? at % SECTOR : 0),
        content(image, storage, what, file, offset, at, value),
      );
  }
  return { storage, damaged, isMisplaced, isForged };
}

function pick(places: readonly number[], index: number): number {
  return places[index % places.length]!;
}

function content(
  image: Image,
  storage: MemoryStorage,
  what: number,
  file: number,
  offset: number,
  at: number,
  value: number,
): Uint8Array {
  if (what === 0) {
    const byte = storage.peek(image.files[file]!, offset + (at % SECTOR), 1);
    byte[0]! ^= value & 0xff || 1;
    return byte;
  }
  if (what === 1) return new Uint8Array(SECTOR);
  if (what === 2) return new SeededRandom(value).bytes(SECTOR);
  const from = (file + at) % image.files.length;
  return storage.peek(image.files[from]!, pick(image.places[from]!, value), SECTOR);
}

/** Writes `value` as two or four bytes and mends the checksum of whatever record begins near there. */
function forge(storage: MemoryStorage, path: string, sector: number, at: number, value: number): void {
  const found = recordAt(storage, path, sector);
  if (found === null) return;
  const { offset, bytes, seal } = found;
  const view = viewOf(bytes);
  const place = (at & 0x3ffe) % (Math.min(bytes.length, 800) - 4);
  // Values with the highest bit set stand for large ones.
  if (value < 0x8000) view.setUint16(place, value, true);
  else view.setUint32(place, value * 0x1_0001, true);
  seal(bytes);
  storage.poke(path, offset, bytes);
}

interface RecordAt {
  readonly offset: number;
  readonly bytes: Uint8Array;
  seal(bytes: Uint8Array): void;
}

const sealAll = (bytes: Uint8Array) => writeSum(bytes.subarray(8), bytes, 0);
/** By the magic at byte 8. */
const SIZES = new Map([
  [format.HALF_MAGIC, format.HALF_HEADER_BYTES],
  [format.SUPERBLOCK_MAGIC, format.SUPERBLOCK_BYTES],
  [format.SEGMENT_PAGE_MAGIC, format.BLOCK_BYTES],
  [format.SUMMARY_MAGIC, format.BLOCK_BYTES],
]);

/** The record that begins in this sector or, for those of several sectors, a little before. */
function recordAt(storage: MemoryStorage, path: string, sector: number): RecordAt | null {
  for (let offset = sector; offset >= 0 && offset > sector - format.SUPERBLOCK_BYTES; offset -= SECTOR) {
    const head = storage.peek(path, offset, format.ENTRY_HEADER_BYTES);
    const size = SIZES.get(viewOf(head).getUint32(8, true));
    if (size !== undefined && offset + size > sector) {
      return { offset, bytes: storage.peek(path, offset, size), seal: sealAll };
    }
    if (viewOf(head).getUint32(format.ENTRY_MAGIC_AT, true) !== format.ENTRY_MAGIC) continue;
    const payloadBytes = Math.min(viewOf(head).getUint32(format.ENTRY_PAYLOAD_BYTES, true), 65_536);
    const bytes = storage.peek(path, offset, format.ENTRY_HEADER_BYTES + payloadBytes);
    return { offset, bytes, seal: sealEntry };
  }
  return null;
}
