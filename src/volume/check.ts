// Checking a whole image: what every commit must leave behind, proved from the members alone.
//
//   - every node and block that the block map and the free list refer to is there and fits its hash;
//   - no vvbn is referred to twice, and the container map holds exactly those that are referred to;
//   - no pvbn is referred to twice, and each lies in the written part of a segment in use;
//   - the live count of every segment is the number of references into it;
//   - each run's summary describes the blocks that live in it: kind, owner and hash;
//   - the parity of every written row fits its data.
//
// It needs memory in proportion to the blocks in use (a few dozen bytes each): a check is made offline, or of a
// volume at rest.
import {
  CONTAINER_FANOUT,
  CONTAINER_LEAF_FANOUT,
  CONTAINER_POINTER_BYTES,
  RECORD_KIND_CONTAINER,
  RECORD_KIND_DATA,
  RECORD_KIND_FREE_LIST,
  RECORD_KIND_MAP,
} from "../../assembly/format.ts";
import { pvbnOf, RowLayout, stripeOf } from "../raid/geometry.ts";
import { fanoutOf, INNER_WORDS, LEAF_WORDS, LOGICAL, pointerWordsOf, STORED, VVBN } from "./block_map.ts";
import { readSummary } from "./cleaner.ts";
import { decodeFreeNode } from "./free_list.ts";
import type { Store } from "./store.ts";
import { bytesOf, hashEquals, newNode, readU64, writeU64 } from "./words.ts";

export interface CheckReport {
  readonly blocks: number;
  readonly nodes: number;
  readonly rows: number;
  /** In plain words; empty when everything is right. */
  readonly faults: readonly string[];
}

interface Reference {
  readonly kind: number;
  readonly level: number;
  /** The vvbn, or the index of a container node. */
  readonly id: number;
  readonly hash: Uint32Array;
}

/** Checks the present image of a store that nobody changes meanwhile. */
export function checkImage(store: Store): Promise<CheckReport> {
  return new ImageCheck(store).run();
}

class ImageCheck {
  readonly #store: Store;
  readonly #faults: string[] = [];
  /** By vvbn: what the block map or the free list says of it. */
  readonly #vvbns = new Map<number, Reference>();
  /** By pvbn: what lies there. */
  readonly #places = new Map<number, Reference>();
  #rows = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  async run(): Promise<CheckReport> {
    const { image, mapHeight } = this.#store;
    await this.#walkMap(mapHeight, image.mapRoot, 0);
    await this.#walkFreeList();
    await this.#walkContainers(this.#store.containers.height, 0, image.containerRoot, 0);
    for (const [vvbn, { kind }] of this.#vvbns) {
      this.#faults.push(`vvbn ${vvbn} (kind ${kind}) is referred to, but the container map has it free`);
    }
    const blocks = [...this.#places.values()].filter(({ kind }) => kind === RECORD_KIND_DATA).length;
    const nodes = this.#places.size - blocks;
    await this.#checkSegments();
    return { blocks, nodes, rows: this.#rows, faults: this.#faults };
  }

  /** The node of `level` behind a pointer, and all below it. */
  async #walkMap(level: number, words: Uint32Array, at: number): Promise<void> {
    const vvbn = readU64(words, at + VVBN);
    if (vvbn === 0) return;
    this.#refer({ kind: RECORD_KIND_MAP, level, id: vvbn, hash: words.slice(at + STORED, at + STORED + 4) });
    const node = await this.#read(vvbn, words, at + STORED, `map node of level ${level}`);
    if (node === null) return;
    const stride = pointerWordsOf(level);
    for (let child = 0; child < fanoutOf(level); child++) {
      if (level > 0) await this.#walkMap(level - 1, node, child * stride);
      else this.#referData(node, child * LEAF_WORDS);
    }
  }

  #referData(leaf: Uint32Array, at: number): void {
    const id = readU64(leaf, at + VVBN);
    if (id === 0) return;
    this.#refer({ kind: RECORD_KIND_DATA, level: 0, id, hash: leaf.slice(at + LOGICAL, at + LOGICAL + 4) });
  }

  /** Its nodes, the blocks in it, and the subtrees that were cut off. */
  async #walkFreeList(): Promise<void> {
    const { freeList } = this.#store.image;
    let vvbn = readU64(freeList, VVBN);
    let hash: Uint32Array = freeList.slice(STORED, STORED + 4);
    while (vvbn !== 0) {
      this.#refer({ kind: RECORD_KIND_FREE_LIST, level: 0, id: vvbn, hash });
      const words = await this.#read(vvbn, hash, 0, "free-list node");
      if (words === null) return;
      const node = decodeFreeNode(words);
      for (const entry of node.entries) {
        // The list does not say what a single block was, nor its hash: its summary does.
        if (entry.level < 0) this.#refer({ kind: 0, level: 0, id: entry.vvbn, hash: entry.hash });
        else await this.#walkFreeSubtree(entry.level, entry.vvbn, entry.hash);
      }
      vvbn = node.nextVvbn;
      hash = node.nextHash;
    }
  }

  async #walkFreeSubtree(level: number, vvbn: number, hash: Uint32Array): Promise<void> {
    const pointer = new Uint32Array(INNER_WORDS);
    writeU64(pointer, VVBN, vvbn);
    pointer.set(hash, STORED);
    await this.#walkMap(level, pointer, 0);
  }

  async #walkContainers(level: number, index: number, words: Uint32Array, at: number): Promise<void> {
    const pvbn = readU64(words, at);
    if (pvbn === 0) return;
    const hash = words.slice(at + 2, at + 6);
    this.#put(pvbn, { kind: RECORD_KIND_CONTAINER, level, id: index, hash });
    const node = newNode();
    try {
      await this.#store.raid.read([{ pvbn, out: bytesOf(node), hash, hashIndex: 0 }]);
    } catch (error) {
      this.#faults.push(`container node ${index} of level ${level}: ${messageOf(error)}`);
      return;
    }
    if (level === 0) this.#walkContainerLeaf(index, node);
    else {
      for (let child = 0; child < CONTAINER_FANOUT; child++) {
        const childAt = (child * CONTAINER_POINTER_BYTES) / 4;
        await this.#walkContainers(level - 1, index * CONTAINER_FANOUT + child, node, childAt);
      }
    }
  }

  #walkContainerLeaf(index: number, leaf: Uint32Array): void {
    for (let i = 0; i < CONTAINER_LEAF_FANOUT; i++) {
      const pvbn = readU64(leaf, i * 2);
      if (pvbn === 0) continue;
      const vvbn = index * CONTAINER_LEAF_FANOUT + i;
      const reference = this.#vvbns.get(vvbn);
      if (reference === undefined) {
        this.#faults.push(`vvbn ${vvbn} is in the container map, and nothing refers to it`);
        continue;
      }
      this.#vvbns.delete(vvbn);
      this.#put(pvbn, reference);
    }
  }

  async #checkSegments(): Promise<void> {
    const { table, superblock } = this.#store;
    const counts = new Map<number, number>();
    for (const pvbn of this.#places.keys()) {
      const segment = Math.floor(stripeOf(pvbn) / superblock.segmentStripes);
      counts.set(segment, (counts.get(segment) ?? 0) + 1);
    }
    for (let segment = 0; segment < table.count; segment++) {
      const { used, live, written } = table.get(segment);
      const count = counts.get(segment) ?? 0;
      if (live !== count)
        this.#faults.push(`segment ${segment} counts ${live} live blocks, ${count} are referred to`);
      if (!used) continue;
      if (live === 0 && segment !== this.#store.openSegment && written === 0)
        this.#faults.push(`segment ${segment} is in use for nothing`);
      await this.#checkSummaries(segment);
      await this.#checkRows(segment);
    }
    for (const [pvbn, { kind, id }] of this.#places) {
      this.#faults.push(`no summary describes pvbn ${pvbn} (kind ${kind}, ${id})`);
    }
  }

  async #checkSummaries(segment: number): Promise<void> {
    const { written, geometry } = this.#store.table.get(segment);
    const layout = new RowLayout(geometry);
    const base = segment * this.#store.superblock.segmentStripes;
    for (let end = written; end > 0; ) {
      try {
        const { header, records } = await readSummary(this.#store, layout, base + end - 1);
        for (const [index, record] of records.entries()) {
          const stripe = header.firstStripe + Math.floor(index / layout.k);
          this.#checkRecord(pvbnOf(stripe, layout.slotOfUnit(stripe, index % layout.k)), record);
        }
        end = header.firstStripe - base;
      } catch (error) {
        this.#faults.push(`segment ${segment}, run that ends at row ${end}: ${messageOf(error)}`);
        return;
      }
    }
  }

  /** What a summary says of a place that is in use must be what the maps say. */
  #checkRecord(pvbn: number, record: Reference): void {
    const found = this.#places.get(pvbn);
    if (found === undefined) return;
    this.#places.delete(pvbn);
    const isSame =
      found.kind === 0
        ? found.id === record.id
        : found.kind === record.kind &&
          found.level === record.level &&
          found.id === record.id &&
          hashEquals(found.hash, 0, record.hash, 0);
    if (!isSame)
      this.#faults.push(`the summary has pvbn ${pvbn} as kind ${record.kind}, ${record.id}; not so`);
  }

  async #checkRows(segment: number): Promise<void> {
    const { written } = this.#store.table.get(segment);
    const base = segment * this.#store.superblock.segmentStripes;
    for (let row = 0; row < written; row++) {
      this.#rows++;
      const { parityOk } = await this.#store.raid.checkRow(base + row);
      if (!parityOk) this.#faults.push(`stripe ${base + row}: the parity does not fit the data`);
    }
  }

  #refer(reference: Reference): void {
    const { id } = reference;
    if (this.#vvbns.has(id)) this.#faults.push(`vvbn ${id} is referred to twice`);
    else this.#vvbns.set(id, reference);
  }

  #put(pvbn: number, reference: Reference): void {
    if (this.#places.has(pvbn)) this.#faults.push(`pvbn ${pvbn} is referred to twice`);
    else this.#places.set(pvbn, reference);
  }

  async #read(vvbn: number, words: Uint32Array, at: number, what: string): Promise<Uint32Array | null> {
    const node = newNode();
    try {
      const pvbn = await this.#store.containers.lookup(this.#store.image.containerRoot, vvbn);
      if (pvbn === 0) return null; // Reported by whoever compares with the container map.
      await this.#store.raid.read([{ pvbn, out: bytesOf(node), hash: words, hashIndex: at }]);
      return node;
    } catch (error) {
      this.#faults.push(`${what}, vvbn ${vvbn}: ${messageOf(error)}`);
      return null;
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
