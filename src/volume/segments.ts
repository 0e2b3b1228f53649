// The segment table: what every segment is used for. A segment is a range of whole stripes; it is taken when it
// is empty, filled by runs from its first stripe on, and empty again when its last live block has gone.
//
// On the members it lies outside the trees, as pages of 126 entries; each page has two slots on every member.
// A commit writes its changed pages into the slot that does not hold the valid version; the newest slot whose
// commit is not beyond the superblock's is the valid one. A slot that is beyond it was left behind by a commit
// that never came to be; its page counts as changed, so that the next commit overwrites that very slot.
// The superblock has a sum over the commits of all valid pages: where the newest version of a page is damaged
// on every member, the older one is never taken for it.
//
//   page: checksum u64 | magic u32 | version u32 | page u32 | count u32 | commit u64 | volume id | zero to 64
//   entry: live u32 | written u32 | members u32 | k u8 | m u8 | used u8 | zero to 32
import {
  BLOCK_BYTES,
  DATA_UNITS_MAX,
  FORMAT_VERSION,
  ID_BYTES,
  MEMBERS_MAX,
  PARITY_UNITS_MAX,
  SEGMENT_ENTRY_BYTES,
  SEGMENT_PAGE_ENTRIES,
  SEGMENT_PAGE_HEADER_BYTES,
  SEGMENT_PAGE_MAGIC,
  SEGMENT_TABLE_OFFSET,
} from "../../assembly/format.ts";
import type { Disk, DiskOperation } from "../io/disk.ts";
import { readDisk } from "../io/disk.ts";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { countOf, type SegmentGeometry } from "../raid/geometry.ts";
import { readU64, wordsOf, writeU64 } from "./words.ts";

export interface SegmentRecord {
  readonly used: boolean;
  readonly geometry: SegmentGeometry;
  /** Stripes filled so far, from the segment's first. */
  readonly written: number;
  /** Blocks in it that something refers to. */
  readonly live: number;
}

const EMPTY: SegmentRecord = { used: false, geometry: { k: 0, m: 0, members: 0 }, written: 0, live: 0 };
const VOLUME_ID_WORD = 8;

export function segmentPageCount(segmentCount: number): number {
  return Math.ceil(segmentCount / SEGMENT_PAGE_ENTRIES);
}

export class SegmentTable {
  readonly count: number;
  readonly #kernel: Kernel;
  readonly #volumeId: Uint8Array;
  readonly #records: SegmentRecord[];
  /** Per page: which slot holds the valid version, and whether it must be written. */
  readonly #validSlot: Uint8Array;
  /** Per page: the commit that wrote the valid version. */
  readonly #commits: Float64Array;
  readonly #dirty: Set<number>;
  #live = 0;

  constructor(kernel: Kernel, volumeId: Uint8Array, count: number) {
    this.#kernel = kernel;
    this.#volumeId = volumeId;
    this.count = count;
    this.#records = new Array<SegmentRecord>(count).fill(EMPTY);
    this.#validSlot = new Uint8Array(segmentPageCount(count)).fill(1);
    this.#commits = new Float64Array(this.#validSlot.length).fill(-1);
    this.#dirty = new Set();
  }

  get(segment: number): SegmentRecord {
    const record = this.#records[segment];
    assert(record !== undefined, `segment ${segment} is beyond the table`);
    return record;
  }

  /** Changes an entry; it reaches the members with the next commit. */
  set(segment: number, record: SegmentRecord): void {
    const next = record.used ? record : EMPTY;
    this.#live += next.live - this.#records[segment]!.live;
    this.#records[segment] = next;
    this.#dirty.add(Math.floor(segment / SEGMENT_PAGE_ENTRIES));
  }

  /** Live blocks in all segments. */
  get live(): number {
    return this.#live;
  }

  /** Writes every page at creation, when neither slot holds anything. */
  markAllDirty(): void {
    for (let page = 0; page < this.#validSlot.length; page++) this.#dirty.add(page);
  }

  /** The writes that carry the changed pages to every one of the disks, for commit `commit`. */
  async writeDirty(disks: readonly Disk[], commit: number): Promise<Map<Disk, Error>> {
    const batch: DiskOperation[] = [...this.#dirty].map((page) => ({
      kind: "write",
      offset: slotOffset(page, 1 - this.#validSlot[page]!),
      buffer: this.#encodePage(page, commit),
    }));
    const failed = new Map<Disk, Error>();
    await Promise.all(
      disks.map(async (disk) => {
        const error = (await disk.submit(batch)).find((result) => result !== null);
        if (error) failed.set(disk, error);
      }),
    );
    return failed;
  }

  /** The commit exists: what was written is the valid version now. */
  committed(commit: number): void {
    for (const page of this.#dirty) {
      this.#validSlot[page] = 1 - this.#validSlot[page]!;
      this.#commits[page] = commit;
    }
    this.#dirty.clear();
  }

  /** For the superblock of a commit that writes the changed pages: the sum over the commits of all valid pages. */
  sumAt(commit: number): bigint {
    const commits = this.#commits.slice();
    for (const page of this.#dirty) commits[page] = commit;
    return this.#sumOf(commits);
  }

  /** The checksum over the commits as u64, in the order of the pages. */
  #sumOf(commits: Float64Array): bigint {
    const sum = new Uint32Array(2);
    this.#kernel.checksum64(new Uint8Array(BigUint64Array.from(commits, BigInt).buffer), sum);
    return BigInt(sum[0]!) + (BigInt(sum[1]!) << 32n);
  }

  /** Where every member must hold the version of a page that counts, and its bytes. */
  validPage(page: number): { readonly offset: number; readonly commit: number; readonly bytes: Uint8Array } {
    const commit = this.#commits[page]!;
    return {
      offset: slotOffset(page, this.#validSlot[page]!),
      commit,
      bytes: this.#encodePage(page, commit),
    };
  }

  /** What lies in a slot: the commit that wrote it, or null where there is no page of this volume. */
  commitOfSlot(bytes: Uint8Array, page: number): number | null {
    const words = wordsOf(bytes);
    return this.#isPage(bytes, words, page) ? readU64(words, 6) : null;
  }

  /** Reads the table that belongs to superblock `commit` from whichever disks hold each page. */
  async load(disks: readonly Disk[], commit: number, expectedSum: bigint): Promise<void> {
    for (const disk of disks) await this.#loadFrom(disk, commit);
    const page = this.#commits.indexOf(-1);
    if (page >= 0) throw damaged(`segment table page ${page} is unreadable on every member`);
    if (this.#sumOf(this.#commits) !== expectedSum) {
      throw damaged("the newest version of some segment table page is unreadable on every member");
    }
    this.#live = this.#records.reduce((sum, record) => sum + record.live, 0);
  }

  async #loadFrom(disk: Disk, commit: number): Promise<void> {
    const pages = this.#validSlot.length;
    const piece = new Uint8Array(Math.min(64, pages) * 2 * BLOCK_BYTES);
    for (let page = 0; page < pages; page += 64) {
      const count = Math.min(64, pages - page);
      const bytes = piece.subarray(0, count * 2 * BLOCK_BYTES);
      try {
        await readDisk(disk, slotOffset(page, 0), bytes);
      } catch {
        continue; // Another member has the page; none having it is found out by the caller.
      }
      for (let i = 0; i < count * 2; i++) {
        const slot = bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
        this.#loadSlot(slot, page + (i >> 1), i & 1, commit);
      }
    }
  }

  #loadSlot(bytes: Uint8Array, page: number, slot: number, commit: number): void {
    const words = wordsOf(bytes);
    if (!this.#isPage(bytes, words, page)) return;
    const written = readU64(words, 6);
    if (written > commit) {
      this.#dirty.add(page);
      return;
    }
    if (written <= this.#commits[page]!) return;
    this.#commits[page] = written;
    this.#validSlot[page] = slot;
    const count = words[5]!;
    for (let i = 0; i < count; i++) {
      this.#records[page * SEGMENT_PAGE_ENTRIES + i] = decodeEntry(words, entryWord(i));
    }
  }

  #isPage(bytes: Uint8Array, words: Uint32Array, page: number): boolean {
    const sum = new Uint32Array(2);
    this.#kernel.checksum64(bytes.subarray(8), sum);
    if (words[0] !== sum[0] || words[1] !== sum[1]) return false;
    if (words[2] !== SEGMENT_PAGE_MAGIC || words[3] !== FORMAT_VERSION || words[4] !== page) return false;
    const id = bytes.subarray(VOLUME_ID_WORD * 4, VOLUME_ID_WORD * 4 + ID_BYTES);
    const isOurs = id.every((byte, i) => byte === this.#volumeId[i]) && words[5] === this.#entriesOf(page);
    return isOurs && Number.isSafeInteger(readU64(words, 6)) && this.#areEntries(words);
  }

  #areEntries(words: Uint32Array): boolean {
    for (let i = 0; i < words[5]!; i++) if (!isPossible(decodeEntry(words, entryWord(i)))) return false;
    return true;
  }

  #entriesOf(page: number): number {
    return Math.min(SEGMENT_PAGE_ENTRIES, this.count - page * SEGMENT_PAGE_ENTRIES);
  }

  #encodePage(page: number, commit: number): Uint8Array {
    const bytes = new Uint8Array(BLOCK_BYTES);
    const words = wordsOf(bytes);
    words[2] = SEGMENT_PAGE_MAGIC;
    words[3] = FORMAT_VERSION;
    words[4] = page;
    words[5] = this.#entriesOf(page);
    writeU64(words, 6, commit);
    bytes.set(this.#volumeId, VOLUME_ID_WORD * 4);
    for (let i = 0; i < words[5]!; i++) {
      encodeEntry(this.#records[page * SEGMENT_PAGE_ENTRIES + i]!, words, entryWord(i));
    }
    this.#kernel.checksum64(bytes.subarray(8), words.subarray(0, 2));
    return bytes;
  }
}

function damaged(message: string): MirrorvolError {
  return new MirrorvolError("ERR_SEGMENT_TABLE", message);
}

function slotOffset(page: number, slot: number): number {
  return SEGMENT_TABLE_OFFSET + (page * 2 + slot) * BLOCK_BYTES;
}

function entryWord(index: number): number {
  return (SEGMENT_PAGE_HEADER_BYTES + index * SEGMENT_ENTRY_BYTES) / 4;
}

function encodeEntry(record: SegmentRecord, words: Uint32Array, at: number): void {
  words[at] = record.live;
  words[at + 1] = record.written;
  words[at + 2] = record.geometry.members;
  words[at + 3] = record.geometry.k | (record.geometry.m << 8) | ((record.used ? 1 : 0) << 16);
}

function decodeEntry(words: Uint32Array, at: number): SegmentRecord {
  const shape = words[at + 3]!;
  if (((shape >>> 16) & 1) === 0) return EMPTY;
  const geometry = { k: shape & 0xff, m: (shape >>> 8) & 0xff, members: words[at + 2]! };
  return { used: true, geometry, written: words[at + 1]!, live: words[at]! };
}

function isPossible({ used, geometry: { k, m, members }, written, live }: SegmentRecord): boolean {
  if (!used) return true;
  const isShape = k >= 1 && k <= DATA_UNITS_MAX && m <= PARITY_UNITS_MAX && countOf(members) === k + m;
  return isShape && members < 2 ** MEMBERS_MAX && live <= written * k;
}
