// A run's summary: for every block of the run what it is, whose, and its hash, so that a segment can be cleaned
// and checked on its own. It fills the run's last blocks; its last part is the run's very last unit, so that a
// segment is read backwards from its last written stripe, run by run.
import {
  DATA_UNITS_MAX,
  FORMAT_VERSION,
  RECORD_KIND_CONTAINER,
  RECORD_KIND_DATA,
  SUMMARY_BLOCKS,
  SUMMARY_COMMIT,
  SUMMARY_FIRST_STRIPE,
  SUMMARY_HEADER_BYTES,
  SUMMARY_MAGIC,
  SUMMARY_MAGIC_AT,
  SUMMARY_PART,
  SUMMARY_PARTS,
  SUMMARY_RECORD_BYTES,
  SUMMARY_RECORDS,
  SUMMARY_ROWS,
  SUMMARY_VERSION,
  SUMMARY_VOLUME_ID,
} from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { copyWords, readU64, wordsOf, writeU64 } from "./words.ts";

/** What a run says of itself in each part of its summary. */
export interface RunHeader {
  readonly firstStripe: number;
  readonly rows: number;
  /** Blocks described, the summary's own not counted. */
  readonly blocks: number;
  readonly parts: number;
  readonly part: number;
  readonly commit: number;
}

/** One described block. hash is four words. */
export interface RunRecord {
  readonly kind: number;
  /** Of a map or container node. */
  readonly level: number;
  /** The vvbn, or the index of a container node. */
  readonly id: number;
  readonly hash: Uint32Array;
}

export function summaryPartCount(blocks: number): number {
  return Math.max(1, Math.ceil(blocks / SUMMARY_RECORDS));
}

/** Writes part `header.part` of the summary of `records` into a block. */
export function encodeSummaryPart(
  kernel: Kernel,
  volumeId: Uint8Array,
  header: RunHeader,
  records: readonly RunRecord[],
  block: Uint8Array,
): void {
  block.fill(0);
  const words = wordsOf(block);
  words[SUMMARY_MAGIC_AT / 4] = SUMMARY_MAGIC;
  words[SUMMARY_VERSION / 4] = FORMAT_VERSION;
  writeU64(words, SUMMARY_FIRST_STRIPE / 4, header.firstStripe);
  writeU64(words, SUMMARY_COMMIT / 4, header.commit);
  words[SUMMARY_ROWS / 4] = header.rows;
  words[SUMMARY_BLOCKS / 4] = header.blocks;
  words[SUMMARY_PART / 4] = header.part;
  words[SUMMARY_PARTS / 4] = header.parts;
  block.set(volumeId, SUMMARY_VOLUME_ID);
  const first = header.part * SUMMARY_RECORDS;
  const last = Math.min(first + SUMMARY_RECORDS, records.length);
  for (let i = first; i < last; i++) {
    const at = (SUMMARY_HEADER_BYTES + (i - first) * SUMMARY_RECORD_BYTES) / 4;
    const record = records[i]!;
    words[at] = record.kind | (record.level << 8);
    writeU64(words, at + 2, record.id);
    copyWords(record.hash, 0, words, at + 4, 4);
  }
  kernel.checksum64(block.subarray(8), words.subarray(0, 2));
}

/** The header of a summary part, or null if the block is none of this volume's. */
export function decodeSummaryHeader(
  kernel: Kernel,
  volumeId: Uint8Array,
  block: Uint8Array,
): RunHeader | null {
  const words = wordsOf(block);
  const sum = new Uint32Array(2);
  kernel.checksum64(block.subarray(8), sum);
  if (words[0] !== sum[0] || words[1] !== sum[1]) return null;
  if (words[SUMMARY_MAGIC_AT / 4] !== SUMMARY_MAGIC || words[SUMMARY_VERSION / 4] !== FORMAT_VERSION)
    return null;
  if (!volumeId.every((byte, i) => byte === block[SUMMARY_VOLUME_ID + i])) return null;
  const header = {
    firstStripe: readU64(words, SUMMARY_FIRST_STRIPE / 4),
    commit: readU64(words, SUMMARY_COMMIT / 4),
    rows: words[SUMMARY_ROWS / 4]!,
    blocks: words[SUMMARY_BLOCKS / 4]!,
    part: words[SUMMARY_PART / 4]!,
    parts: words[SUMMARY_PARTS / 4]!,
  };
  return isRun(header) ? header : null;
}

/** Whether there can be such a run: it has rows, its blocks and their summary fit them, and its numbers are exact. */
function isRun({ firstStripe, rows, blocks, parts, part, commit }: RunHeader): boolean {
  const isWhole = parts === summaryPartCount(blocks) && part < parts;
  const isExact = Number.isSafeInteger(firstStripe + rows) && Number.isSafeInteger(commit);
  return isWhole && isExact && blocks + parts <= rows * DATA_UNITS_MAX;
}

/** The records of one part, in the run's order. Throws ERR_SUMMARY for what can be none. */
export function decodeSummaryRecords(header: RunHeader, block: Uint8Array): RunRecord[] {
  const words = wordsOf(block);
  const count = Math.min(SUMMARY_RECORDS, header.blocks - header.part * SUMMARY_RECORDS);
  return Array.from({ length: count }, (_, i) => {
    const at = (SUMMARY_HEADER_BYTES + i * SUMMARY_RECORD_BYTES) / 4;
    const shape = words[at]!;
    const [kind, level, id] = [shape & 0xff, (shape >>> 8) & 0xff, readU64(words, at + 2)];
    if (kind < RECORD_KIND_DATA || kind > RECORD_KIND_CONTAINER || !Number.isSafeInteger(id)) {
      throw new MirrorvolError(
        "ERR_SUMMARY",
        `the run at stripe ${header.firstStripe} describes no block ${i}`,
      );
    }
    return { kind, level, id, hash: words.slice(at + 4, at + 8) };
  });
}

/** Data blocks that fit a run of `capacity` units beside their summary. */
export function describedMax(capacity: number): number {
  let blocks = Math.floor((capacity * SUMMARY_RECORDS) / (SUMMARY_RECORDS + 1));
  while (blocks > 0 && blocks + summaryPartCount(blocks) > capacity) blocks--;
  return blocks;
}
