// A bounded cache of clean map nodes, least recently used first out. A node is found by the number of its
// place (vvbn of a block-map node; pvbn, negated, of a container node) together with its stored hash: places
// are used again, hashes tell the contents apart, so nothing ever has to be invalidated.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { copyWords, hashEquals } from "./words.ts";

interface CachedNode {
  readonly words: Uint32Array;
  readonly hash: Uint32Array;
}

export class NodeCache {
  readonly #nodesMax: number;
  readonly #nodes = new Map<number, CachedNode>();

  constructor(capacityBytes: number) {
    this.#nodesMax = Math.max(16, Math.floor(capacityBytes / BLOCK_BYTES));
  }

  get(place: number, hash: Uint32Array, hashAt: number): Uint32Array | null {
    const node = this.#nodes.get(place);
    if (node === undefined || !hashEquals(node.hash, 0, hash, hashAt)) return null;
    this.#nodes.delete(place);
    this.#nodes.set(place, node);
    return node.words;
  }

  /** The cache owns the words from here on: nobody may change them. */
  put(place: number, hash: Uint32Array, hashAt: number, words: Uint32Array): void {
    const kept = new Uint32Array(4);
    copyWords(hash, hashAt, kept, 0, 4);
    this.#nodes.delete(place);
    this.#nodes.set(place, { words, hash: kept });
    if (this.#nodes.size <= this.#nodesMax) return;
    const oldest = this.#nodes.keys().next().value as number;
    this.#nodes.delete(oldest);
  }
}
