// What lies on the members, behind right checksums: superblocks, pages of the segment table, run summaries, nodes
// of the maps and of the free list. Inputs are cut or filled with zeros to the record's size.
//
// Oracles: what is accepted means the same when it is written anew (reserved bytes are not looked at, as
// docs/FORMAT.md says), and its numbers are possible. For the nodes of the block map, which have no
// encoding of their own: the logical hash depends on the children's logical hashes and on nothing else.

import * as format from "../../../assembly/format.ts";
import { Kernel } from "../../../src/kernel/kernel.ts";
import { childHashes, fanoutOf, logicalHash, pointerWordsOf } from "../../../src/volume/block_map.ts";
import { decodeFreeNode, encodeFreeNode } from "../../../src/volume/free_list.ts";
import { decodeSummaryHeader, decodeSummaryRecords, encodeSummaryPart } from "../../../src/volume/summary.ts";
import { decodeSuperblock, encodeSuperblock, type Superblock } from "../../../src/volume/superblock.ts";
import { bytesOf, newNode, wordsOf, writeU64 } from "../../../src/volume/words.ts";
import { ACCEPTED, expect, padded, refusal, type Target, trimmed } from "../target.ts";
import { viewOf, writeSum } from "./log_codec.ts";

const kernel = Kernel.createSync({ memoryBytes: 2 ** 21 });
export const VOLUME_ID = new Uint8Array(16).fill(3);

export const SUPERBLOCK: Superblock = {
  commit: 5,
  cp: 4,
  volumeId: VOLUME_ID,
  slot: 1,
  dataUnits: 2,
  parityUnits: 1,
  role: "mirror",
  inSync: true,
  everInSync: true,
  sizeBlocks: 1024,
  memberBytes: 6 * 1024 * 1024,
  dataOffset: 24_576,
  segmentStripes: 32,
  segmentCount: 46,
  vvbnCount: 3000,
  vvbnCursor: 17,
  mapRoot: Uint32Array.from({ length: 16 }, (_, i) => (i < 12 ? i + 1 : 0)),
  containerRoot: Uint32Array.from({ length: 8 }, (_, i) => (i < 6 ? i + 1 : 0)),
  freeList: new Uint32Array(16),
  tableSum: 77n,
  appliedSequence: 12,
  appliedChain: 99n,
  aloneSince: 3,
  boundTo: new Uint8Array(16).fill(8),
  fencedBy: { number: 3, id: 5n, startSequence: 11, startChain: 6n },
  logHalfBytes: 1_056_768,
  logCopies: [true, false],
  members: ["a/m", "b/é", "c/m"].map((path, i) => ({
    id: new Uint8Array(16).fill(i + 1),
    state: i === 2 ? "missing" : "current",
    path,
  })),
  history: [
    { number: 1, id: 3n, startSequence: 0, startChain: 0n },
    { number: 2, id: 4n, startSequence: 7, startChain: 9n },
  ],
};

const bare = { aloneSince: null, boundTo: null, fencedBy: null, inSync: false, role: "source" as const };

export const superblockTarget: Target = {
  name: "superblock",
  bytesMax: 2000,
  share: 2000,
  seeds: () => [
    trimmed(encodeSuperblock(kernel, SUPERBLOCK)),
    trimmed(encodeSuperblock(kernel, { ...SUPERBLOCK, ...bare, slot: 0 })),
  ],
  seal: (input) => {
    const bytes = padded(input, format.SUPERBLOCK_BYTES);
    viewOf(bytes).setUint32(8, format.SUPERBLOCK_MAGIC, true);
    viewOf(bytes).setUint32(12, format.FORMAT_VERSION, true);
    writeSum(bytes.subarray(8), bytes, 0);
    return trimmed(bytes);
  },
  check: (input) => {
    const bytes = padded(input, format.SUPERBLOCK_BYTES);
    const superblock = decodeSuperblock(kernel, bytes);
    if (typeof superblock === "string") return superblock.replace(/\d+/g, "#");
    const again = encodeSuperblock(kernel, superblock);
    expect(
      show(decodeSuperblock(kernel, again)) === show(superblock),
      "written anew it means something else",
    );
    const { dataUnits: k, parityUnits: m, members, sizeBlocks } = superblock;
    expect(
      k >= 1 && k <= 15 && m <= 3 && k + m <= members.length,
      `k ${k}, m ${m}, ${members.length} members`,
    );
    expect(sizeBlocks > 0, "a volume of no size");
    return ACCEPTED;
  },
};

const summaryBlocks = [2, 126, 127].flatMap((blocks) => {
  const parts = Math.ceil(blocks / 126);
  const records = Array.from({ length: blocks }, (_, i) => ({
    kind: 1 + (i % 4),
    level: i % 3,
    id: i + 1,
    hash: new Uint32Array(4).fill(i + 1),
  }));
  return Array.from({ length: parts }, (_, part) => {
    const block = new Uint8Array(4096);
    const header = { firstStripe: 64, rows: 5, blocks, parts, part, commit: 9 };
    encodeSummaryPart(kernel, VOLUME_ID, header, records, block);
    return trimmed(block);
  });
});

export const summaryTarget: Target = {
  name: "run-summary",
  bytesMax: 4096,
  share: 1000,
  seeds: () => summaryBlocks,
  seal: (input) => {
    const bytes = padded(input, 4096);
    viewOf(bytes).setUint32(format.SUMMARY_MAGIC_AT, format.SUMMARY_MAGIC, true);
    viewOf(bytes).setUint32(format.SUMMARY_VERSION, format.FORMAT_VERSION, true);
    bytes.set(VOLUME_ID, format.SUMMARY_VOLUME_ID);
    writeSum(bytes.subarray(8), bytes, 0);
    return trimmed(bytes);
  },
  check: (input) => {
    const block = padded(input, 4096);
    const header = decodeSummaryHeader(kernel, VOLUME_ID, block);
    if (header === null) return "none";
    let records: ReturnType<typeof decodeSummaryRecords>;
    try {
      records = decodeSummaryRecords(header, block);
    } catch (error) {
      return refusal(error, ["ERR_SUMMARY"]);
    }
    expect(records.length <= format.SUMMARY_RECORDS, `${records.length} records in a part`);
    // Records before this part are not in it: their places are filled.
    const all = [...new Array(header.part * format.SUMMARY_RECORDS).fill(records[0]), ...records];
    const again = new Uint8Array(4096);
    encodeSummaryPart(kernel, VOLUME_ID, header, all, again);
    expect(show(decodeSummaryHeader(kernel, VOLUME_ID, again)) === show(header), "another header");
    expect(show(decodeSummaryRecords(header, again)) === show(records), "other records");
    const { rows, blocks, parts } = header;
    expect(blocks + parts <= rows * 15, `${blocks} blocks and ${parts} parts in ${rows} rows`);
    return ACCEPTED;
  },
};

export const freeNodeTarget: Target = {
  name: "free-list-node",
  bytesMax: 4096,
  share: 1000,
  seeds: () =>
    [0, 2].map((count) =>
      trimmed(
        bytesOf(
          encodeFreeNode({
            nextVvbn: count * 7,
            nextHash: new Uint32Array(4).fill(count),
            entries: Array.from({ length: count }, (_, i) => ({
              vvbn: i + 5,
              birth: 2 ** 40 + i,
              level: i - 1,
              hash: new Uint32Array(4).fill(i),
            })),
          }),
        ),
      ),
    ),
  check: (input) => {
    const block = padded(input, 4096);
    try {
      const node = decodeFreeNode(wordsOf(block));
      const again = decodeFreeNode(encodeFreeNode(node));
      expect(show(again) === show(node), "written anew it means something else");
      expect(
        node.entries.every(({ vvbn, level }) => vvbn > 0 && level < 9),
        "an entry of nothing",
      );
      return ACCEPTED;
    } catch (error) {
      return refusal(error, ["ERR_FREE_LIST"]);
    }
  },
};

/** The first byte is the level, the node follows. */
export const mapNodeTarget: Target = {
  name: "map-node",
  bytesMax: 4097,
  share: 500,
  seeds: () => {
    const node = newNode();
    for (let i = 0; i < 4; i += 1) {
      writeU64(node, i * 8, i + 1);
      node.fill(i + 1, i * 8 + 4, i * 8 + 8);
    }
    return [0, 1, 2].map((level) => trimmed(new Uint8Array([level, ...bytesOf(node)])));
  },
  check: (input) => {
    const level = (input[0] ?? 0) % 4;
    const node = wordsOf(padded(input.subarray(1), 4096));
    const hash = logicalHash(kernel, level, node);
    const others = node.map((word, at) => (at % pointerWordsOf(level) < 4 ? ~word : word));
    expect(logicalHash(kernel, level, others).join() === hash.join(), "the hash depends on vvbn or birth");
    const isEmpty = childHashes(level, node).every((word) => word === 0);
    expect(isEmpty === hash.every((word) => word === 0), "a hash of nothing, or no hash of something");
    const child = hash[0]! % fanoutOf(level);
    others[child * pointerWordsOf(level) + 4] = ~others[child * pointerWordsOf(level) + 4]!;
    expect(logicalHash(kernel, level, others).join() !== hash.join(), `child ${child} is not hashed`);
    return ACCEPTED;
  },
};

/** Words and bigints included. */
function show(value: unknown): string {
  return JSON.stringify(value, (_key, each) => (typeof each === "bigint" ? `${each}n` : each));
}
