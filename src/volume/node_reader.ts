// Reading map nodes: verified by the hash that stands with their pointer, kept in the node cache.
import type { RaidGroup } from "../raid/raid_group.ts";
import type { NodeCache } from "./node_cache.ts";
import { bytesOf, newNode } from "./words.ts";

/** Blocks of a transaction that are still only in memory. */
export interface Unwritten {
  holds(pvbn: number): boolean;
  flush(): Promise<void>;
}

export class NodeReader {
  /** Of the transaction under way: a node of its own that has left the cache is written before it is read. */
  unwritten: Unwritten | null = null;
  readonly #raid: RaidGroup;
  readonly #cache: NodeCache;

  constructor(raid: RaidGroup, cache: NodeCache) {
    this.#raid = raid;
    this.#cache = cache;
  }

  cached(place: number, hash: Uint32Array, hashAt: number): Uint32Array | null {
    return this.#cache.get(place, hash, hashAt);
  }

  /** The node at a pvbn, cached under `place`. The caller must not change it. */
  async read(place: number, pvbn: number, hash: Uint32Array, hashAt: number): Promise<Uint32Array> {
    if (this.unwritten?.holds(pvbn)) await this.unwritten.flush();
    const words = newNode();
    await this.#raid.read([{ pvbn, out: bytesOf(words), hash, hashIndex: hashAt }]);
    this.#cache.put(place, hash, hashAt, words);
    return words;
  }

  /** What was just written is likely to be read soon. */
  keep(place: number, hash: Uint32Array, hashAt: number, words: Uint32Array): void {
    this.#cache.put(place, hash, hashAt, words);
  }
}
