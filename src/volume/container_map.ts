// The container map: vvbn -> pvbn, the only place that knows where a block lies. A radix tree over all vvbns:
// leaves of 512 pvbns (0: the vvbn is free), inner nodes of 128 pointers {pvbn, stored hash, zero}. Its nodes are
// addressed by pvbn, so moving one means to rewrite its path.
import {
  CONTAINER_FANOUT,
  CONTAINER_LEAF_FANOUT,
  CONTAINER_POINTER_BYTES,
  CONTAINER_POINTER_PVBN,
  CONTAINER_POINTER_STORED,
  RECORD_KIND_CONTAINER,
} from "../../assembly/format.ts";
import type { NodeReader } from "./node_reader.ts";
import type { Transaction } from "./transaction.ts";
import { type OpenNode, TreeSweep } from "./tree_sweep.ts";
import { newNode, readU64, writeU64 } from "./words.ts";

const POINTER_WORDS = CONTAINER_POINTER_BYTES / 4;
const PVBN = CONTAINER_POINTER_PVBN / 4;
const STORED = CONTAINER_POINTER_STORED / 4;

function containerHeight(vvbnCount: number): number {
  let height = 0;
  for (let span = CONTAINER_LEAF_FANOUT; span < vvbnCount; span *= CONTAINER_FANOUT) height++;
  return height;
}

/** Reads container nodes; they are cached under their negated pvbn, apart from vvbns. */
export class ContainerReader {
  readonly height: number;
  readonly #nodes: NodeReader;

  constructor(nodes: NodeReader, vvbnCount: number) {
    this.#nodes = nodes;
    this.height = containerHeight(vvbnCount);
  }

  /** The node behind a pointer, or null where nothing is allocated. */
  async node(words: Uint32Array, at: number): Promise<Uint32Array | null> {
    const pvbn = readU64(words, at + PVBN);
    if (pvbn === 0) return null;
    return this.#nodes.cached(-pvbn, words, at + STORED) ?? this.#nodes.read(-pvbn, pvbn, words, at + STORED);
  }

  async leaf(root: Uint32Array, leafIndex: number): Promise<Uint32Array | null> {
    return this.nodeAt(root, 0, leafIndex);
  }

  /** The node `index` of `level` under a root. */
  async nodeAt(root: Uint32Array, level: number, index: number): Promise<Uint32Array | null> {
    const pointer = await this.pointerAt(root, level, index);
    return pointer === null ? null : this.node(pointer[0], pointer[1]);
  }

  /** Where the pointer to a node stands, or null where nothing is allocated above it. */
  async pointerAt(root: Uint32Array, level: number, index: number): Promise<[Uint32Array, number] | null> {
    let words = root;
    let at = 0;
    for (let above = this.height; above > level; above--) {
      const node = this.#cachedNode(words, at) ?? (await this.node(words, at));
      if (node === null) return null;
      words = node;
      at = (Math.floor(index / CONTAINER_FANOUT ** (above - 1 - level)) % CONTAINER_FANOUT) * POINTER_WORDS;
    }
    return [words, at];
  }

  /** The pvbn of a vvbn, 0 if it is free. */
  async lookup(root: Uint32Array, vvbn: number): Promise<number> {
    const leaf = await this.leaf(root, Math.floor(vvbn / CONTAINER_LEAF_FANOUT));
    return leaf === null ? 0 : readU64(leaf, (vvbn % CONTAINER_LEAF_FANOUT) * 2);
  }

  #cachedNode(words: Uint32Array, at: number): Uint32Array | null {
    const pvbn = readU64(words, at + PVBN);
    return pvbn === 0 ? null : this.#nodes.cached(-pvbn, words, at + STORED);
  }
}

/** Folds a transaction's changes into the container map. */
export class ContainerSweep extends TreeSweep {
  readonly #transaction: Transaction;
  readonly #reader: ContainerReader;

  constructor(transaction: Transaction, reader: ContainerReader, root: Uint32Array) {
    super(root, reader.height, CONTAINER_FANOUT, POINTER_WORDS);
    this.#transaction = transaction;
    this.#reader = reader;
  }

  /** vvbns ascending; `changes` has their new pvbns (0: free). */
  async apply(vvbns: Float64Array, changes: ReadonlyMap<number, number>): Promise<void> {
    for (const vvbn of vvbns) {
      const pvbn = changes.get(vvbn)!;
      const index = Math.floor(vvbn / CONTAINER_LEAF_FANOUT);
      const leaf = this.openLeaf(index) ?? (await this.open(0, index));
      const at = (vvbn % CONTAINER_LEAF_FANOUT) * 2;
      const old = readU64(leaf.words, at);
      if (old === pvbn) continue;
      if (old !== 0) this.#transaction.releasePlace(old);
      writeU64(leaf.words, at, pvbn);
      leaf.isDirty = true;
    }
  }

  /** Rewrites one node although nothing in it changed: it moves, and its path with it. */
  async rewrite(level: number, index: number): Promise<void> {
    (await this.open(level, index)).isDirty = true;
  }

  protected async load(_level: number, words: Uint32Array, at: number): Promise<Uint32Array> {
    const node = await this.#reader.node(words, at);
    return node === null ? newNode() : node.slice();
  }

  protected async store(level: number, node: OpenNode, words: Uint32Array, at: number): Promise<void> {
    const old = readU64(words, at + PVBN);
    if (old !== 0) this.#transaction.releasePlace(old);
    words.fill(0, at, at + POINTER_WORDS);
    if (node.words.every((word) => word === 0)) return;
    const hash = this.#transaction.hashOf(node.words);
    const pvbn = await this.#transaction.place(RECORD_KIND_CONTAINER, level, node.index, hash, node.words);
    writeU64(words, at + PVBN, pvbn);
    words.set(hash, at + STORED);
    this.#transaction.keepNode(-pvbn, hash, node.words);
  }
}
