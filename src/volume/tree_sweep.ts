// Copy-on-write changes to a radix tree of 4 KiB nodes, in one sweep of bounded memory: only the path from the
// root to the node at hand is open. Moving on closes what is left behind, bottom up: a changed node is stored
// in a new place, its pointer is written into its parent, and so on to the root. Ascending order stores each
// node once; any other order is right as well, only dearer.
import { assert } from "../kernel/errors.ts";

export interface OpenNode {
  readonly index: number;
  readonly words: Uint32Array;
  isDirty: boolean;
}

export abstract class TreeSweep {
  /** Level of the root; leaves are level 0. */
  readonly height: number;
  /** The pointer to the root node, changed in place when the sweep finishes. */
  readonly root: Uint32Array;
  readonly #fanout: number;
  readonly #pointerWords: number;
  readonly #path: (OpenNode | null)[];

  constructor(root: Uint32Array, height: number, fanout: number, pointerWords: number) {
    this.root = root;
    this.height = height;
    this.#fanout = fanout;
    this.#pointerWords = pointerWords;
    this.#path = new Array<OpenNode | null>(height + 1).fill(null);
  }

  /** A writable copy of the node that the pointer names (or of what an empty pointer stands for). */
  protected abstract load(level: number, words: Uint32Array, at: number): Promise<Uint32Array>;
  /** Stores a changed node in a new place and writes its pointer. */
  protected abstract store(level: number, node: OpenNode, words: Uint32Array, at: number): Promise<void>;

  /** The leaf if it is open: most of the time it is, and nothing has to be waited for. */
  openLeaf(index: number): OpenNode | null {
    const leaf = this.#path[0]!;
    return leaf !== null && leaf.index === index ? leaf : null;
  }

  /** Opens the node `index` of `level` and its path; what does not lie on the path is closed. */
  async open(level: number, index: number): Promise<OpenNode> {
    for (let at = 0; at <= this.height; at++) {
      const node = this.#path[at];
      if (node && (at < level || node.index !== this.ancestor(index, at - level))) await this.#close(at);
    }
    for (let at = this.height; at >= level; at--) {
      if (this.#path[at]) continue;
      const position = this.ancestor(index, at - level);
      const [words, pointer] = this.pointerTo(at, position);
      this.#path[at] = { index: position, words: await this.load(at, words, pointer), isDirty: false };
    }
    return this.#path[level]!;
  }

  /** Closes everything; the root pointer is final then. */
  async finish(): Promise<void> {
    for (let level = 0; level <= this.height; level++) {
      if (this.#path[level]) await this.#close(level);
    }
  }

  /** Where the pointer to a node stands: in its open parent, or the root pointer. */
  protected pointerTo(level: number, index: number): [Uint32Array, number] {
    if (level === this.height) return [this.root, 0];
    const parent = this.#path[level + 1];
    assert(parent && parent.index === this.ancestor(index, 1), "the parent of a node must be open");
    return [parent.words, (index % this.#fanout) * this.#pointerWords];
  }

  protected ancestor(index: number, levels: number): number {
    return Math.floor(index / this.#fanout ** levels);
  }

  async #close(level: number): Promise<void> {
    const node = this.#path[level]!;
    if (node.isDirty) {
      const [words, at] = this.pointerTo(level, node.index);
      await this.store(level, node, words, at);
      if (level < this.height) this.#path[level + 1]!.isDirty = true;
    }
    this.#path[level] = null;
  }
}
