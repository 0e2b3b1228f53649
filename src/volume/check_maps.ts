// The maps of the present image, walked from their roots:
//
//   - every node is there and fits its stored hash; its logical hash, made anew from its children, is the one that
//     stands with its pointer, up to the root hash; its birth is that of its newest child;
//   - a hole has no hash and a block that is there has one; nothing lies beyond the end of the volume;
//   - no vvbn is referred to twice, by the block map and the free list together, and the container map holds exactly
//     those that are referred to;
//   - no place is referred to twice, and each lies in the written part of a segment in use, which counts it as live.
//
// A node that cannot be read is one fault; what is below it is not known, so nothing is said about it.
import {
  CONTAINER_FANOUT,
  CONTAINER_LEAF_FANOUT,
  CONTAINER_POINTER_BYTES,
  RECORD_KIND_DATA,
  RECORD_KIND_FREE_LIST,
  RECORD_KIND_MAP,
} from "../../assembly/format.ts";
import type { Findings } from "../log/findings.ts";
import { slotOf, stripeOf } from "../raid/geometry.ts";
import {
  BIRTH,
  fanoutOf,
  INNER_WORDS,
  LOGICAL,
  logicalHash,
  pointerWordsOf,
  STORED,
  spanOf,
  VVBN,
} from "./block_map.ts";
import { ANY_SHAPE, Digest, Places, References, shapeOf } from "./census.ts";
import { decodeFreeNode } from "./free_list.ts";
import type { Store } from "./store.ts";
import { bytesOf, hashEquals, hashIsZero, newNode, readU64, toHex, writeU64 } from "./words.ts";

/** A node of the container map: it has no vvbn. */
export interface ContainerNode {
  readonly level: number;
  readonly index: number;
  readonly hash: Uint32Array;
}

export class MapCheck {
  readonly references = new References();
  readonly places: Places;
  readonly digest = new Digest();
  /** By pvbn. */
  readonly containers = new Map<number, ContainerNode>();
  /** By segment: how many places in it are referred to. */
  readonly liveCounts: Uint32Array;
  /** Everything could be read, so that what is not referred to is not referred to. */
  isComplete = true;
  blocks = 0;
  nodes = 0;
  readonly #store: Store;
  readonly #findings: Findings;

  constructor(store: Store, findings: Findings) {
    const { segmentCount, segmentStripes, members } = store.superblock;
    this.#store = store;
    this.#findings = findings;
    this.places = new Places(segmentCount * segmentStripes, members.length);
    this.liveCounts = new Uint32Array(segmentCount);
  }

  async run(): Promise<void> {
    const { image, mapHeight, containers } = this.#store;
    await this.#walkMap(mapHeight, 0, image.mapRoot, 0, true);
    await this.#walkFreeList();
    this.references.sort((vvbn) => this.#fault(`vvbn ${vvbn}`, "one reference", "several"));
    await this.#walkContainers(containers.height, 0, image.containerRoot, 0);
    this.references.passToEnd((vvbn) => this.#faultFree(vvbn));
    this.#checkCounts();
  }

  /** Of these vvbns, the blocks of the volume that they hold. */
  async lbasOf(vvbns: ReadonlySet<number>): Promise<Map<number, number>> {
    const lbas = new Map<number, number>();
    const visit = async (level: number, index: number, words: Uint32Array, at: number): Promise<void> => {
      const vvbn = readU64(words, at + VVBN);
      if (vvbn === 0) return;
      if (level < 0) {
        if (vvbns.has(vvbn)) lbas.set(vvbn, index);
        return;
      }
      const node = await this.#readVvbn(vvbn, words, at + STORED).catch(() => null);
      for (let child = 0; node !== null && child < fanoutOf(level); child++) {
        await visit(level - 1, index * fanoutOf(level) + child, node, child * pointerWordsOf(level));
      }
    };
    await visit(this.#store.mapHeight, 0, this.#store.image.mapRoot, 0);
    return lbas;
  }

  /** The node of `level` behind a pointer, and all below it. Cut-off subtrees have no logical hash any more. */
  async #walkMap(
    level: number,
    index: number,
    words: Uint32Array,
    at: number,
    isLive: boolean,
  ): Promise<void> {
    const vvbn = readU64(words, at + VVBN);
    const what = `block-map node ${index} of level ${level}`;
    if (vvbn === 0) return this.#checkHole(what, words, at);
    this.#refer(vvbn, shapeOf(RECORD_KIND_MAP, level), words, at + STORED);
    this.nodes++;
    const node = await this.#readNode(what, vvbn, words, at + STORED);
    if (node === null) return;
    if (isLive) this.#checkNode(what, level, node, words, at);
    const stride = pointerWordsOf(level);
    for (let child = 0; child < fanoutOf(level); child++) {
      const childIndex = index * fanoutOf(level) + child;
      if (isLive && childIndex * spanOf(level - 1) >= this.#store.superblock.sizeBlocks) {
        const isUsed = readU64(node, child * stride + VVBN) !== 0;
        if (isUsed) this.#fault(what, "nothing beyond the end of the volume", `child ${child}`);
      }
      if (level > 0) await this.#walkMap(level - 1, childIndex, node, child * stride, isLive);
      else this.#referData(childIndex, node, child * stride);
    }
  }

  #checkHole(what: string, words: Uint32Array, at: number): void {
    if (!hashIsZero(words, at + LOGICAL)) this.#fault(what, "no hash in a hole", hex(words, at + LOGICAL));
  }

  /** What stands with the pointer to a node must follow from its children. */
  #checkNode(what: string, level: number, node: Uint32Array, words: Uint32Array, at: number): void {
    const logical = logicalHash(this.#store.kernel, level, node);
    if (!hashEquals(logical, 0, words, at + LOGICAL)) {
      const isRoot = words === this.#store.image.mapRoot;
      const structure = isRoot ? "root hash" : `${what}, logical hash`;
      this.#fault(structure, `${hex(logical, 0)}, that of its children`, hex(words, at + LOGICAL));
    }
    let newest = 0;
    for (let child = 0; child < fanoutOf(level); child++) {
      newest = Math.max(newest, readU64(node, child * pointerWordsOf(level) + BIRTH));
    }
    const birth = readU64(words, at + BIRTH);
    if (birth !== newest)
      this.#fault(`${what}, birth`, `CP ${newest}, that of its newest child`, `CP ${birth}`);
    const { cp } = this.#store.image;
    if (birth > cp) this.#fault(`${what}, birth`, `at most CP ${cp}`, `CP ${birth}`);
  }

  #referData(lba: number, leaf: Uint32Array, at: number): void {
    const vvbn = readU64(leaf, at + VVBN);
    const isHole = hashIsZero(leaf, at + LOGICAL);
    if (vvbn === 0) return this.#checkHole(`block ${lba}`, leaf, at);
    if (isHole) this.#fault(`block ${lba}`, "a hash", `none, but vvbn ${vvbn}`);
    this.blocks++;
    this.#refer(vvbn, shapeOf(RECORD_KIND_DATA, 0), leaf, at + LOGICAL);
  }

  /** Its nodes, the blocks in it, and the subtrees that were cut off. */
  async #walkFreeList(): Promise<void> {
    const { freeList } = this.#store.image;
    let vvbn = readU64(freeList, VVBN);
    let hash: Uint32Array = freeList.slice(STORED, STORED + 4);
    while (vvbn !== 0) {
      this.#refer(vvbn, shapeOf(RECORD_KIND_FREE_LIST, 0), hash, 0);
      this.nodes++;
      const words = await this.#readNode("free-list node", vvbn, hash, 0);
      if (words === null) return;
      const node = decodeFreeNode(words);
      for (const entry of node.entries) {
        // The list does not say what a single block was, nor its hash: its summary does.
        if (entry.level < 0) this.references.add(entry.vvbn, ANY_SHAPE);
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
    await this.#walkMap(level, 0, pointer, 0, false);
  }

  async #walkContainers(level: number, index: number, words: Uint32Array, at: number): Promise<void> {
    const pvbn = readU64(words, at);
    if (pvbn === 0) return;
    const hash = words.slice(at + 2, at + 6);
    const what = `container-map node ${index} of level ${level}`;
    if (!this.#take(pvbn, what)) return;
    this.containers.set(pvbn, { level, index, hash });
    this.nodes++;
    const node = newNode();
    try {
      await this.#store.raid.read([{ pvbn, out: bytesOf(node), hash, hashIndex: 0 }]);
    } catch (error) {
      this.#lose(what, error);
      return;
    }
    if (level === 0) return this.#walkContainerLeaf(index, node);
    for (let child = 0; child < CONTAINER_FANOUT; child++) {
      const childAt = (child * CONTAINER_POINTER_BYTES) / 4;
      await this.#walkContainers(level - 1, index * CONTAINER_FANOUT + child, node, childAt);
    }
  }

  #walkContainerLeaf(index: number, leaf: Uint32Array): void {
    for (let i = 0; i < CONTAINER_LEAF_FANOUT; i++) {
      const pvbn = readU64(leaf, i * 2);
      if (pvbn === 0) continue;
      const vvbn = index * CONTAINER_LEAF_FANOUT + i;
      const isReferred = this.references.passTo(vvbn, (passed) => this.#faultFree(passed));
      if (!isReferred && this.isComplete)
        this.#fault(`container map, vvbn ${vvbn}`, "free, as nothing refers to it", `pvbn ${pvbn}`);
      this.#take(pvbn, `vvbn ${vvbn}`);
    }
  }

  #faultFree(vvbn: number): void {
    if (this.isComplete) this.#fault(`container map, vvbn ${vvbn}`, "a place, as it is referred to", "free");
  }

  #checkCounts(): void {
    const { table } = this.#store;
    for (let segment = 0; segment < table.count; segment++) {
      const { used, live, written } = table.get(segment);
      const count = this.liveCounts[segment]!;
      const what = `segment ${segment}`;
      if (live !== count && this.isComplete)
        this.#fault(`${what}, live blocks`, `${count}, as are referred to`, `${live}`);
      if (used && live === 0 && written === 0) this.#fault(what, "something in it", "nothing");
    }
  }

  #refer(vvbn: number, shape: number, hash: Uint32Array, at: number): void {
    const { vvbnCount } = this.#store.superblock;
    if (vvbn >= vvbnCount) return this.#fault("vvbn", `at most ${vvbnCount - 1}`, `${vvbn}`);
    this.references.add(vvbn, shape);
    this.digest.add(vvbn, hash, at);
  }

  /** False when it is no place in use. */
  #take(pvbn: number, what: string): boolean {
    const { table, superblock } = this.#store;
    const stripe = stripeOf(pvbn);
    const slot = slotOf(pvbn);
    const segment = Math.floor(stripe / superblock.segmentStripes);
    const record = segment < table.count ? table.get(segment) : null;
    const isMember = slot >= 0 && slot < superblock.members.length;
    if (record === null || !isMember || (record.geometry.members & (1 << slot)) === 0) {
      this.#fault(what, "a place in a segment in use", `pvbn ${pvbn}`);
      return false;
    }
    if (stripe - segment * superblock.segmentStripes >= record.written)
      this.#fault(
        what,
        `one of the ${record.written} written stripes of segment ${segment}`,
        `stripe ${stripe}`,
      );
    if (this.places.take(stripe, slot)) this.liveCounts[segment]!++;
    else this.#fault(`pvbn ${pvbn}`, "one reference", `another one, by ${what}`);
    return true;
  }

  async #readNode(what: string, vvbn: number, words: Uint32Array, at: number): Promise<Uint32Array | null> {
    try {
      return await this.#readVvbn(vvbn, words, at);
    } catch (error) {
      this.#lose(`${what}, vvbn ${vvbn}`, error);
      return null;
    }
  }

  /** Null where the container map has it free: whoever compares the two reports that. */
  async #readVvbn(vvbn: number, words: Uint32Array, at: number): Promise<Uint32Array | null> {
    const node = newNode();
    const pvbn = await this.#store.containers.lookup(this.#store.image.containerRoot, vvbn);
    if (pvbn === 0) return null;
    await this.#store.raid.read([{ pvbn, out: bytesOf(node), hash: words, hashIndex: at }]);
    return node;
  }

  #lose(what: string, error: unknown): void {
    this.isComplete = false;
    this.#fault(what, "a node that fits its hash", error instanceof Error ? error.message : String(error));
  }

  #fault(structure: string, expected: string, found: string): void {
    this.#findings.fault({ path: null, offset: null, structure, expected, found });
  }
}

function hex(words: Uint32Array, at: number): string {
  return toHex(bytesOf(words.slice(at, at + 4)));
}
