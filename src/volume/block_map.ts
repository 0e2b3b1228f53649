// The block map of one volume image: lba -> {vvbn, birth, hash}, a radix tree of 4 KiB nodes and a Merkle tree.
//
//   leaf, 128 pointers of 32 bytes: vvbn u64 | birth cp u64 | content hash
//   inner, 64 pointers of 64 bytes: vvbn u64 | birth cp u64 | logical hash | hash of the stored node | zero
//
// The logical hash of a node is the hash of its children's logical hashes and of nothing else: two volumes
// with other geometries, other vvbns and other births have the same root hash exactly when they hold the same
// data. A hole (vvbn 0) has the hash 0; a node of nothing but holes is a hole itself. A parent's birth is its
// children's newest.
import {
  INNER_FANOUT,
  INNER_POINTER_BYTES,
  LEAF_FANOUT,
  LEAF_POINTER_BYTES,
  POINTER_BIRTH,
  POINTER_LOGICAL,
  POINTER_STORED,
  POINTER_VVBN,
  RECORD_KIND_MAP,
} from "../../assembly/format.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Transaction } from "./transaction.ts";
import { type OpenNode, TreeSweep } from "./tree_sweep.ts";
import { bytesOf, copyWords, hashEquals, hashIsZero, newNode, readU64, writeU64 } from "./words.ts";

export const INNER_WORDS = INNER_POINTER_BYTES / 4;
export const LEAF_WORDS = LEAF_POINTER_BYTES / 4;
export const VVBN = POINTER_VVBN / 4;
export const BIRTH = POINTER_BIRTH / 4;
export const LOGICAL = POINTER_LOGICAL / 4;
export const STORED = POINTER_STORED / 4;

/** Level of the root of a map over so many blocks; leaves are level 0. */
export function mapHeight(blocks: number): number {
  let height = 0;
  for (let span = LEAF_FANOUT; span < blocks; span *= INNER_FANOUT) height++;
  return height;
}

/** Blocks under one node of a level; level -1 is a single block. */
export function spanOf(level: number): number {
  return level < 0 ? 1 : LEAF_FANOUT * INNER_FANOUT ** level;
}

export function fanoutOf(level: number): number {
  return level === 0 ? LEAF_FANOUT : INNER_FANOUT;
}

export function pointerWordsOf(level: number): number {
  return level === 0 ? LEAF_WORDS : INNER_WORDS;
}

/** The children's logical hashes of a node, one after the other. */
export function childHashes(level: number, node: Uint32Array): Uint32Array {
  const fanout = fanoutOf(level);
  const stride = pointerWordsOf(level);
  const hashes = new Uint32Array(fanout * 4);
  for (let i = 0; i < fanout; i++) copyWords(node, i * stride + LOGICAL, hashes, i * 4, 4);
  return hashes;
}

/** The logical hash of a node: 0 if it has only holes. */
export function logicalHash(kernel: Kernel, level: number, node: Uint32Array): Uint32Array {
  const hashes = childHashes(level, node);
  const hash = new Uint32Array(4);
  if (hashes.some((word) => word !== 0)) kernel.hash128(bytesOf(hashes), hash);
  return hash;
}

/** Changes of the block map within a transaction; births are the transaction's cp. */
export class MapSweep extends TreeSweep {
  readonly #transaction: Transaction;
  readonly #blocks: number;

  constructor(transaction: Transaction, root: Uint32Array, blocks: number) {
    super(root, mapHeight(blocks), INNER_FANOUT, INNER_WORDS);
    this.#transaction = transaction;
    this.#blocks = blocks;
  }

  /** The leaf that points to the block, if it is open. */
  openLeafOf(lba: number): OpenNode | null {
    return this.openLeaf(Math.floor(lba / LEAF_FANOUT));
  }

  leafOf(lba: number): Promise<OpenNode> {
    return this.open(0, Math.floor(lba / LEAF_FANOUT));
  }

  /** True when the block already has this content. */
  holds(leaf: OpenNode, lba: number, hash: Uint32Array, hashAt: number): boolean {
    return hashEquals(leaf.words, (lba % LEAF_FANOUT) * LEAF_WORDS + LOGICAL, hash, hashAt);
  }

  /** Points a block to a new vvbn; vvbn 0 with the zero hash makes it a hole. */
  set(leaf: OpenNode, lba: number, vvbn: number, hash: Uint32Array, hashAt: number): void {
    const at = (lba % LEAF_FANOUT) * LEAF_WORDS;
    this.#unlink(-1, leaf.words, at);
    writeU64(leaf.words, at + VVBN, vvbn);
    writeU64(leaf.words, at + BIRTH, this.#transaction.cp);
    copyWords(hash, hashAt, leaf.words, at + LOGICAL, 4);
    leaf.isDirty = true;
  }

  /** Makes an extent read as zeros. Whole subtrees go at once; what they held is freed later, in slices. */
  async trim(lba: number, count: number): Promise<void> {
    const end = lba + count;
    for (let at = lba; at < end; ) {
      const level = this.#largestSubtree(at, end);
      await this.#trimSubtree(level, Math.floor(at / spanOf(level)));
      at += spanOf(level);
    }
  }

  /** The highest level at which a subtree begins at lba and ends at or before end (or the volume's end). */
  #largestSubtree(lba: number, end: number): number {
    let level = -1;
    for (let next = 0; next <= this.height; next++) {
      const span = spanOf(next);
      if (lba % span !== 0 || (lba + span > end && end !== this.#blocks)) break;
      level = next;
    }
    return level;
  }

  async #trimSubtree(level: number, index: number): Promise<void> {
    if (level === this.height) {
      await this.finish();
      this.#clear(level, this.root, 0);
      return;
    }
    const fanout = fanoutOf(level + 1);
    const parent = await this.open(level + 1, Math.floor(index / fanout));
    const at = (index % fanout) * pointerWordsOf(level + 1);
    if (readU64(parent.words, at + VVBN) === 0) return;
    this.#clear(level, parent.words, at);
    parent.isDirty = true;
  }

  #clear(level: number, words: Uint32Array, at: number): void {
    this.#unlink(level, words, at);
    words.fill(0, at, at + pointerWordsOf(level + 1));
    writeU64(words, at + BIRTH, this.#transaction.cp);
  }

  /** Gives up what a pointer to a node of `level` (-1: a data block) refers to. */
  #unlink(level: number, words: Uint32Array, at: number): void {
    const vvbn = readU64(words, at + VVBN);
    if (vvbn === 0) return;
    const birth = readU64(words, at + BIRTH);
    if (level < 0) this.#transaction.freeBlock(vvbn, birth);
    else this.#transaction.freeSubtree(level, vvbn, birth, words.slice(at + STORED, at + STORED + 4));
  }

  protected async load(level: number, words: Uint32Array, at: number): Promise<Uint32Array> {
    if (readU64(words, at + VVBN) !== 0) return (await this.#transaction.mapNode(words, at)).slice();
    const node = newNode();
    const birth = readU64(words, at + BIRTH);
    for (let i = 0; i < fanoutOf(level); i++) writeU64(node, i * pointerWordsOf(level) + BIRTH, birth);
    return node;
  }

  protected async store(level: number, node: OpenNode, words: Uint32Array, at: number): Promise<void> {
    const old = readU64(words, at + VVBN);
    if (old !== 0) this.#transaction.freeBlock(old, readU64(words, at + BIRTH));
    const transaction = this.#transaction;
    const logical = logicalHash(transaction.kernel, level, node.words);
    words.fill(0, at, at + INNER_WORDS);
    writeU64(words, at + BIRTH, transaction.cp);
    if (hashIsZero(logical, 0)) return;
    const stored = transaction.hashOf(node.words);
    const vvbn = await transaction.placeNew(RECORD_KIND_MAP, level, stored, node.words);
    writeU64(words, at + VVBN, vvbn);
    words.set(logical, at + LOGICAL);
    words.set(stored, at + STORED);
    transaction.keepNode(vvbn, stored, node.words);
  }
}
