// A transaction makes the next image out of the present one: it places new blocks, frees old ones and folds
// both into the container map. Nothing that the present image refers to is written to, so abandoning it at any
// moment costs nothing, and readers go on with the present image until the commit.
import { CONTAINER_LEAF_FANOUT, FREE_LIST_ENTRIES, RECORD_KIND_FREE_LIST } from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { stripeOf } from "../raid/geometry.ts";
import { BIRTH, fanoutOf, INNER_WORDS, LEAF_WORDS, STORED, VVBN } from "./block_map.ts";
import { type ContainerReader, ContainerSweep } from "./container_map.ts";
import { decodeFreeNode, encodeFreeNode, type FreeEntry } from "./free_list.ts";
import type { Image } from "./image.ts";
import type { NodeReader } from "./node_reader.ts";
import { unmapped } from "./refusals.ts";
import type { RunWriter } from "./run_writer.ts";
import type { SegmentLedger } from "./segment_ledger.ts";
import { bytesOf, readU64, writeU64 } from "./words.ts";

/** Container changes kept in memory before they are folded into the map. */
const CHANGES_MAX = 65_536;
/** Blocks that one commit frees from the free list. */
export const FREE_SLICE = 32_768;

export interface TransactionOptions {
  readonly kernel: Kernel;
  readonly image: Image;
  /** Birth of what it makes. */
  readonly cp: number;
  readonly commit: number;
  readonly vvbnCount: number;
  readonly segmentStripes: number;
  readonly writer: RunWriter;
  readonly ledger: SegmentLedger;
  readonly containers: ContainerReader;
  readonly nodes: NodeReader;
  /** Blocks born at or before this cp belong to a pinned image and are freed later; -1: none is pinned. */
  readonly pinnedCp: number;
}

export class Transaction {
  readonly kernel: Kernel;
  readonly cp: number;
  readonly commit: number;
  readonly ledger: SegmentLedger;
  /** The roots as they stand in this transaction. */
  readonly mapRoot: Uint32Array;
  readonly containerRoot: Uint32Array;
  readonly freeList: Uint32Array;
  vvbnCursor: number;
  readonly #options: TransactionOptions;
  /** vvbn to pvbn, 0 for freed: what the container map does not know yet. */
  #changes = new Map<number, number>();
  readonly #movedContainers: [level: number, index: number][] = [];
  #freeVvbns: number[] = [];
  #deferred: FreeEntry[] = [];

  constructor(options: TransactionOptions) {
    this.#options = options;
    this.kernel = options.kernel;
    this.cp = options.cp;
    this.commit = options.commit;
    this.ledger = options.ledger;
    this.mapRoot = options.image.mapRoot.slice();
    this.containerRoot = options.image.containerRoot.slice();
    this.freeList = options.image.freeList.slice();
    this.vvbnCursor = options.image.vvbnCursor;
  }

  hashOf(words: Uint32Array): Uint32Array {
    const hash = new Uint32Array(4);
    this.kernel.hash128(bytesOf(words), hash);
    return hash;
  }

  /** The vvbn's pvbn as of now in this transaction. */
  async lookup(vvbn: number): Promise<number> {
    return this.#changes.get(vvbn) ?? this.#options.containers.lookup(this.containerRoot, vvbn);
  }

  /** The map node behind an inner pointer; not to be changed. */
  async mapNode(words: Uint32Array, at: number): Promise<Uint32Array> {
    return this.#nodeOf(readU64(words, at + VVBN), words, at + STORED);
  }

  /** Puts a block under a new vvbn without waiting for anything; null: that takes waiting. */
  placeNewNow(kind: number, level: number, hash: Uint32Array, block: Uint8Array): number | null {
    if (this.#freeVvbns.length === 0 || this.#changes.size + 1 >= CHANGES_MAX) return null;
    const vvbn = this.#freeVvbns[this.#freeVvbns.length - 1]!;
    const pvbn = this.#options.writer.placeNow({ kind, level, id: vvbn, hash }, block);
    if (pvbn === null) return null;
    this.#takeVvbn();
    this.#change(vvbn, pvbn);
    return vvbn;
  }

  /** Puts a block under a new vvbn. */
  async placeNew(
    kind: number,
    level: number,
    hash: Uint32Array,
    block: Uint32Array | Uint8Array,
  ): Promise<number> {
    const vvbn = await this.#allocateVvbn();
    const pvbn = await this.place(kind, level, vvbn, hash, block);
    await this.move(vvbn, pvbn);
    return vvbn;
  }

  /** Puts a block into the run at hand. */
  place(
    kind: number,
    level: number,
    id: number,
    hash: Uint32Array,
    block: Uint32Array | Uint8Array,
  ): Promise<number> {
    const bytes = block instanceof Uint8Array ? block : bytesOf(block);
    return this.#options.writer.place({ kind, level, id, hash }, bytes);
  }

  /** Lets a vvbn point to another place; the old place is given up. */
  async move(vvbn: number, pvbn: number): Promise<void> {
    this.#change(vvbn, pvbn);
    if (this.#changes.size >= CHANGES_MAX) await this.#foldChanges();
  }

  moveContainerNode(level: number, index: number): void {
    this.#movedContainers.push([level, index]);
  }

  keepNode(place: number, hash: Uint32Array, words: Uint32Array): void {
    this.#options.nodes.keep(place, hash, 0, words);
  }

  /** A place is no longer referred to. */
  releasePlace(pvbn: number): void {
    this.ledger.addLive(Math.floor(stripeOf(pvbn) / this.#options.segmentStripes), -1);
  }

  freeBlock(vvbn: number, birth: number): void {
    if (birth > this.#options.pinnedCp) this.#change(vvbn, 0);
    else this.#deferred.push({ vvbn, birth, level: -1, hash: new Uint32Array(4) });
  }

  freeSubtree(level: number, vvbn: number, birth: number, hash: Uint32Array): void {
    this.#deferred.push({ vvbn, birth, level, hash });
  }

  /** Works off a slice of the free list, writes what is left of it, and folds everything into the container map. */
  async settle(): Promise<void> {
    if (this.#options.pinnedCp < 0) await this.#workOffFreeList();
    await this.#storeDeferred();
    await this.#foldChanges();
    await this.#options.writer.flush();
  }

  async #workOffFreeList(): Promise<void> {
    for (let budget = FREE_SLICE; budget > 0; ) {
      if (this.#deferred.length === 0 && !(await this.#popFreeNode())) return;
      const entry = this.#deferred.pop();
      if (entry === undefined) continue;
      budget -= entry.level === 0 ? fanoutOf(0) : 1;
      if (entry.level >= 0) await this.#freeChildren(entry);
      this.#change(entry.vvbn, 0);
    }
  }

  async #popFreeNode(): Promise<boolean> {
    const vvbn = readU64(this.freeList, VVBN);
    if (vvbn === 0) return false;
    const node = decodeFreeNode(await this.#nodeOf(vvbn, this.freeList, STORED));
    this.#deferred.push(...node.entries);
    this.#change(vvbn, 0);
    this.freeList.fill(0);
    writeU64(this.freeList, VVBN, node.nextVvbn);
    this.freeList.set(node.nextHash, STORED);
    return true;
  }

  async #freeChildren(entry: FreeEntry): Promise<void> {
    const node = await this.#nodeOf(entry.vvbn, entry.hash, 0);
    const stride = entry.level === 0 ? LEAF_WORDS : INNER_WORDS;
    for (let i = 0; i < fanoutOf(entry.level); i++) {
      const at = i * stride;
      const vvbn = readU64(node, at + VVBN);
      if (vvbn === 0) continue;
      if (entry.level === 0) this.#change(vvbn, 0);
      else
        this.freeSubtree(
          entry.level - 1,
          vvbn,
          readU64(node, at + BIRTH),
          node.slice(at + STORED, at + STORED + 4),
        );
    }
  }

  async #storeDeferred(): Promise<void> {
    while (this.#deferred.length > 0) {
      const entries = this.#deferred.splice(0, FREE_LIST_ENTRIES);
      const nextHash = this.freeList.slice(STORED, STORED + 4);
      const words = encodeFreeNode({ nextVvbn: readU64(this.freeList, VVBN), nextHash, entries });
      const hash = this.hashOf(words);
      const vvbn = await this.placeNew(RECORD_KIND_FREE_LIST, 0, hash, words);
      writeU64(this.freeList, VVBN, vvbn);
      this.freeList.set(hash, STORED);
    }
  }

  /** Folding places container nodes, which changes no vvbn: one pass is enough. */
  async #foldChanges(): Promise<void> {
    const sweep = new ContainerSweep(this, this.#options.containers, this.containerRoot);
    await sweep.apply(Float64Array.from(this.#changes.keys()).sort(), this.#changes);
    for (const [level, index] of this.#movedContainers.splice(0)) await sweep.rewrite(level, index);
    await sweep.finish();
    this.#changes = new Map();
  }

  #change(vvbn: number, pvbn: number): void {
    const earlier = this.#changes.get(vvbn);
    if (earlier) this.releasePlace(earlier);
    this.#changes.set(vvbn, pvbn);
  }

  async #nodeOf(vvbn: number, hash: Uint32Array, hashAt: number): Promise<Uint32Array> {
    const cached = this.#options.nodes.cached(vvbn, hash, hashAt);
    if (cached) return cached;
    const pvbn = await this.lookup(vvbn);
    if (pvbn === 0) throw unmapped("the block map", vvbn);
    return this.#options.nodes.read(vvbn, pvbn, hash, hashAt);
  }

  async #allocateVvbn(): Promise<number> {
    const leafCount = Math.ceil(this.#options.vvbnCount / CONTAINER_LEAF_FANOUT);
    for (let tried = 0; this.#freeVvbns.length === 0; tried++) {
      if (tried > leafCount) throw new MirrorvolError("ERR_NO_SPACE", "no virtual block number is free");
      await this.#findFreeVvbns(Math.floor(this.vvbnCursor / CONTAINER_LEAF_FANOUT) % leafCount);
    }
    return this.#takeVvbn();
  }

  #takeVvbn(): number {
    const vvbn = this.#freeVvbns.pop()!;
    this.vvbnCursor = vvbn + 1;
    return vvbn;
  }

  /** The free vvbns of a leaf from the cursor on, lowest last. One freed just now is not free before it is folded. */
  async #findFreeVvbns(leafIndex: number): Promise<void> {
    const leaf = await this.#options.containers.leaf(this.containerRoot, leafIndex);
    const first = leafIndex * CONTAINER_LEAF_FANOUT;
    const end = Math.min(first + CONTAINER_LEAF_FANOUT, this.#options.vvbnCount);
    const from = Math.max(first, this.vvbnCursor < end ? this.vvbnCursor : first, 1);
    for (let vvbn = end - 1; vvbn >= from; vvbn--) {
      const isTaken = leaf !== null && readU64(leaf, (vvbn - first) * 2) !== 0;
      if (!isTaken && !this.#changes.has(vvbn)) this.#freeVvbns.push(vvbn);
    }
    if (this.#freeVvbns.length === 0) this.vvbnCursor = end >= this.#options.vvbnCount ? 1 : end;
  }
}
