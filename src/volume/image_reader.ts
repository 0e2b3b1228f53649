// Reading an image: from lba to vvbn by the block map, from there to pvbn by the container map, and from the members,
// verified by the hash that stands with each pointer.
import { LEAF_FANOUT } from "../../assembly/format.ts";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import type { RaidGroup } from "../raid/raid_group.ts";
import type { ReadRequest } from "../raid/reader.ts";
import { INNER_WORDS, LEAF_WORDS, LOGICAL, pointerWordsOf, STORED, spanOf, VVBN } from "./block_map.ts";
import type { ContainerReader } from "./container_map.ts";
import type { Image } from "./image.ts";
import type { NodeReader } from "./node_reader.ts";
import { unmapped } from "./refusals.ts";
import { readU64 } from "./words.ts";

export interface ImageReaderParts {
  readonly raid: RaidGroup;
  readonly nodes: NodeReader;
  readonly containers: ContainerReader;
  readonly mapHeight: number;
}

interface BlockRequest extends ReadRequest {
  readonly lba: number;
}

export class ImageReader {
  readonly #parts: ImageReaderParts;

  constructor(parts: ImageReaderParts) {
    this.#parts = parts;
  }

  /** Fills each buffer with its block (lbas ascending), zeros for holes. mapRoot: the image's own, or a pinned one. */
  async readBlocks(
    image: Image,
    mapRoot: Uint32Array,
    lbas: readonly number[],
    outs: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<void> {
    const requests = await this.#requestsFor(image, mapRoot, lbas, outs);
    if (requests.length > 0) await this.#readNaming(requests, signal);
  }

  async #requestsFor(
    image: Image,
    mapRoot: Uint32Array,
    lbas: readonly number[],
    outs: readonly Uint8Array[],
  ): Promise<BlockRequest[]> {
    const requests: BlockRequest[] = [];
    let leafIndex = -1;
    let leaf: Uint32Array | null = null;
    for (let i = 0; i < lbas.length; i++) {
      const lba = lbas[i]!;
      if (Math.floor(lba / LEAF_FANOUT) !== leafIndex) {
        leafIndex = Math.floor(lba / LEAF_FANOUT);
        leaf = await this.mapNode(image, mapRoot, 0, leafIndex);
      }
      const at = (lba % LEAF_FANOUT) * LEAF_WORDS;
      const vvbn = leaf === null ? 0 : readU64(leaf, at + VVBN);
      if (vvbn === 0) {
        outs[i]!.fill(0);
        continue;
      }
      const pvbn = await this.#parts.containers.lookup(image.containerRoot, vvbn);
      if (pvbn === 0) throw unmapped(`block ${lba}`, vvbn);
      requests.push({ lba, pvbn, out: outs[i]!, hash: leaf!, hashIndex: at + LOGICAL });
    }
    return requests;
  }

  /** What is lost is looked for once more, one by one: people know blocks of the volume, not of the members. */
  async #readNaming(requests: readonly BlockRequest[], signal?: AbortSignal): Promise<void> {
    try {
      return await this.#parts.raid.read(requests, signal);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ERR_UNRECOVERABLE") throw error;
    }
    for (const request of requests) {
      await this.#parts.raid.read([request], signal).catch((cause: Error) => {
        throw new MirrorvolError("ERR_UNRECOVERABLE", `block ${request.lba}: ${cause.message}`, { cause });
      });
    }
  }

  /** The block map's node `index` of `level` under a root, or null where there are only holes. */
  async mapNode(
    image: Image,
    mapRoot: Uint32Array,
    level: number,
    index: number,
  ): Promise<Uint32Array | null> {
    let words = mapRoot;
    let at = 0;
    for (let above = this.#parts.mapHeight; ; above--) {
      const node = await this.#mapNodeAt(image, words, at);
      if (node === null || above === level) return node;
      const lba = index * spanOf(level);
      words = node;
      at = Math.floor((lba % spanOf(above)) / spanOf(above - 1)) * pointerWordsOf(above);
      assert(pointerWordsOf(above) === INNER_WORDS, "only inner nodes point to nodes");
    }
  }

  async #mapNodeAt(image: Image, words: Uint32Array, at: number): Promise<Uint32Array | null> {
    const vvbn = readU64(words, at + VVBN);
    if (vvbn === 0) return null;
    const cached = this.#parts.nodes.cached(vvbn, words, at + STORED);
    if (cached) return cached;
    const pvbn = await this.#parts.containers.lookup(image.containerRoot, vvbn);
    if (pvbn === 0) throw unmapped("the block map", vvbn);
    return this.#parts.nodes.read(vvbn, pvbn, words, at + STORED);
  }
}
