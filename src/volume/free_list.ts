// The free list: what was unlinked and is freed later. It is a chain of nodes on the members, newest first:
//
//   header: next vvbn u64 | next's stored hash | count u32 | magic u32 | zero to 64
//   entry: vvbn u64 | birth cp (7 bytes) and level + 1 (1 byte, 0: a single block) | stored hash of a subtree's node
//
// Two things come here: subtrees that a trim cut off (mkfs trims whole devices; a commit must not take longer
// for it), and blocks that a pinned image still needs.
import { FREE_LIST_ENTRIES, FREE_LIST_MAGIC } from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { newNode, readU64, writeU64 } from "./words.ts";

export interface FreeEntry {
  readonly vvbn: number;
  readonly birth: number;
  /** Level of the map node that vvbn holds, with all below it; -1 for a single block. */
  readonly level: number;
  /** Of the node; unused for a single block. */
  readonly hash: Uint32Array;
}

export interface FreeNode {
  readonly nextVvbn: number;
  readonly nextHash: Uint32Array;
  readonly entries: FreeEntry[];
}

const HEADER_WORDS = 16;
const ENTRY_WORDS = 8;
const BIRTH_HIGH_MAX = 0x00ff_ffff;
/** No map is higher: 128 * 64^8 blocks are more than 2^53. */
const LEVEL_MAX = 8;

export function encodeFreeNode(node: FreeNode): Uint32Array {
  const words = newNode();
  writeU64(words, 0, node.nextVvbn);
  words.set(node.nextHash, 2);
  words[6] = node.entries.length;
  words[7] = FREE_LIST_MAGIC;
  node.entries.forEach((entry, i) => {
    const at = HEADER_WORDS + i * ENTRY_WORDS;
    writeU64(words, at, entry.vvbn);
    writeU64(words, at + 2, entry.birth);
    words[at + 3] = words[at + 3]! | ((entry.level + 1) << 24);
    words.set(entry.hash, at + 4);
  });
  return words;
}

export function decodeFreeNode(words: Uint32Array): FreeNode {
  const count = words[6]!;
  if (words[7] !== FREE_LIST_MAGIC || count > FREE_LIST_ENTRIES) throw notOne();
  const entries = Array.from({ length: count }, (_, i) => {
    const at = HEADER_WORDS + i * ENTRY_WORDS;
    const high = words[at + 3]!;
    return {
      vvbn: readU64(words, at),
      birth: words[at + 2]! + (high & BIRTH_HIGH_MAX) * 0x1_0000_0000,
      level: (high >>> 24) - 1,
      hash: words.slice(at + 4, at + 8),
    };
  });
  const nextVvbn = readU64(words, 0);
  const isPossible = entries.every(isEntry) && Number.isSafeInteger(nextVvbn);
  if (!isPossible) throw notOne();
  return { nextVvbn, nextHash: words.slice(2, 6), entries };
}

function isEntry({ vvbn, birth, level }: FreeEntry): boolean {
  return Number.isSafeInteger(vvbn) && vvbn > 0 && Number.isSafeInteger(birth) && level <= LEVEL_MAX;
}

function notOne(): MirrorvolError {
  return new MirrorvolError("ERR_FREE_LIST", "a block of the free list is none");
}
