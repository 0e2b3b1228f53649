// Moments of a run at which a few writes are not synced yet, and every image that a crash at such a moment can leave.
//
// A crash keeps any of the unsynced writes and drops the others, sector by sector. A batch of the log is one write
// for several entries, so it is cut where its entries begin, and these between header and payload, as long as there
// are not too many pieces. Of n pieces all 2^n subsets are made; then each write by itself is torn at its sectors,
// once with all other writes in place and once with none.
//
// A moment is worth it just before the unsynced writes become fewer, or more than PIECES_MAX: every image of the
// moments before it is among its own. (A sync makes durable what the subsets with these pieces have as well.)
import {
  ENTRY_HEADER_BYTES,
  ENTRY_MAGIC,
  ENTRY_MAGIC_AT,
  SECTOR_BYTES,
  SEGMENT_TABLE_OFFSET,
  SUPERBLOCK_BYTES,
  SUPERBLOCK_SLOTS,
} from "../../assembly/format.ts";
import { dataOffsetFor, segmentCountFor, tailOffset } from "../../src/volume/members.ts";
import type { MemoryStorage, UnsyncedWrite } from "../support/memory_storage.ts";
import type { Expectation } from "../volume/expectation.ts";
import { fork, type Subject } from "./volumes.ts";

export const PIECES_MAX = 10;
/** Ways to tear one write. */
const TEARS_MAX = 48;

/** What a write is for. */
export type WriteKind = "append" | "half header" | "erase" | "run" | "table" | "superblock";

interface Piece {
  readonly path: string;
  readonly offset: number;
  readonly data: Uint8Array;
}

export interface Moment {
  readonly subject: Subject;
  /** What is unsynced, in words: two moments with the same words differ in content only. */
  readonly words: string;
  readonly kinds: ReadonlySet<WriteKind>;
  /** What is durable. */
  readonly durable: MemoryStorage;
  /** In the order in which they were made. */
  readonly pieces: readonly Piece[];
  readonly writes: readonly UnsyncedWrite[];
  readonly promised: Expectation;
}

/** Watches a storage, and hands over its moments. */
export function watchMoments(
  storage: MemoryStorage,
  subject: Subject,
  promised: Expectation,
  visit: (moment: Moment) => void,
): void {
  storage.onEvent = (event) => {
    const writes = storage.paths.flatMap((path) => storage.unsynced(path));
    if (writes.length === 0 || writes.length > PIECES_MAX) return;
    const isLast =
      event.kind === "sync" ? storage.unsynced(event.path).length > 0 : writes.length === PIECES_MAX;
    if (isLast) visit(momentOf(storage, subject, promised, writes));
  };
}

function momentOf(
  storage: MemoryStorage,
  subject: Subject,
  promised: Expectation,
  writes: readonly UnsyncedWrite[],
): Moment {
  const kinds = writes.map((write) => kindOf(write, subject));
  const counts = [...new Set(kinds)].map((kind) => `${kinds.filter((each) => each === kind).length} ${kind}`);
  const pieces = cut(writes);
  return {
    subject,
    words: `${counts.sort().join(", ")}: ${pieces.length} pieces`,
    kinds: new Set(kinds),
    durable: storage.ifPowerFailedNow("drop"),
    pieces,
    writes,
    promised: promised.copy(),
  };
}

function kindOf({ path, offset, data }: UnsyncedWrite, { config }: Subject): WriteKind {
  if (!config.members.includes(path)) {
    if (offset === 0) return "half header";
    return data.every((byte) => byte === 0) ? "erase" : "append";
  }
  const segments = segmentCountFor(config.memberBytes!, config.segmentStripes!);
  const isSuperblock =
    offset < SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES || offset >= tailOffset(config.memberBytes!);
  if (isSuperblock) return "superblock";
  return offset >= SEGMENT_TABLE_OFFSET && offset < dataOffsetFor(segments) ? "table" : "run";
}

/** The finest cut that has not too many pieces. */
function cut(writes: readonly UnsyncedWrite[]): Piece[] {
  const cuts = [entriesAndPayloads, entries].map((cutsOf) =>
    writes.flatMap((write) => piecesOf(write, cutsOf(write))),
  );
  return cuts.find((pieces) => pieces.length <= PIECES_MAX) ?? [...writes];
}

function entries({ data }: UnsyncedWrite): number[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const starts: number[] = [];
  for (let at = 0; at + ENTRY_HEADER_BYTES <= data.length; at += SECTOR_BYTES) {
    if (view.getUint32(at + ENTRY_MAGIC_AT, true) === ENTRY_MAGIC) starts.push(at);
  }
  return starts;
}

function entriesAndPayloads(write: UnsyncedWrite): number[] {
  return entries(write).flatMap((at) => [at, at + SECTOR_BYTES]);
}

function piecesOf({ path, offset, data }: UnsyncedWrite, cuts: readonly number[]): Piece[] {
  const borders = [...new Set([0, ...cuts.filter((at) => at < data.length), data.length])].sort(
    (a, b) => a - b,
  );
  return borders.slice(0, -1).map((from, i) => {
    return { path, offset: offset + from, data: data.subarray(from, borders[i + 1]) };
  });
}

/** The image with those pieces of which the mask has the bit. */
export function imageOf({ durable, pieces }: Moment, mask: number): MemoryStorage {
  const image = fork(durable);
  for (const [bit, piece] of pieces.entries())
    if (mask & (1 << bit)) image.poke(piece.path, piece.offset, piece.data);
  return image;
}

/** Everything has arrived but the first piece of each write: behind such a hole a recovery has something to erase. */
export function maskWithoutHeads({ pieces, writes }: Moment): number {
  const isHead = (piece: Piece) =>
    writes.some(({ path, offset }) => path === piece.path && offset === piece.offset);
  return pieces.reduce((mask, piece, bit) => (isHead(piece) ? mask : mask | (1 << bit)), 0);
}

/** One write with some of its sectors only, among all others or alone. */
export interface Tear {
  readonly write: number;
  readonly hasOthers: boolean;
  readonly keeps: (sector: number) => boolean;
  readonly name: string;
}

export function tearsOf({ writes }: Moment): Tear[] {
  return writes.flatMap(({ data, path }, write) => {
    const sectors = Math.ceil(data.length / SECTOR_BYTES);
    return [true, false].flatMap((hasOthers) => {
      return waysToTear(sectors).map(([way, keeps]) => {
        const name = `${way} of write ${write} (${path}), the others ${hasOthers ? "kept" : "dropped"}`;
        return { write, hasOthers, keeps, name };
      });
    });
  });
}

type Way = readonly [string, (sector: number) => boolean];

/** Its beginning, its end, one sector, all but one; spread evenly where there would be too many. */
function waysToTear(sectors: number): Way[] {
  const ways: Way[] = [];
  for (let at = 0; at < sectors && sectors > 1; at++) {
    if (at > 0) ways.push([`sectors before ${at}`, (sector) => sector < at]);
    if (at > 0) ways.push([`sectors from ${at}`, (sector) => sector >= at]);
    if (sectors > 2) ways.push([`sector ${at}`, (sector) => sector === at]);
    if (sectors > 2) ways.push([`all but sector ${at}`, (sector) => sector !== at]);
  }
  if (ways.length <= TEARS_MAX) return ways;
  return Array.from({ length: TEARS_MAX }, (_, i) => ways[Math.floor((i * ways.length) / TEARS_MAX)]!);
}

export function tornImage({ durable, writes }: Moment, tear: Tear): MemoryStorage {
  const image = fork(durable);
  for (const [index, { path, offset, data }] of writes.entries()) {
    if (index !== tear.write) {
      if (tear.hasOthers) image.poke(path, offset, data);
      continue;
    }
    for (let at = 0; at < data.length; at += SECTOR_BYTES) {
      if (tear.keeps(at / SECTOR_BYTES)) image.poke(path, offset + at, data.subarray(at, at + SECTOR_BYTES));
    }
  }
  return image;
}
