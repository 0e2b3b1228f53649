// Looking at a volume's members offline, reads only: superblocks, segments, and the block map walked and checked.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Disk, Storage } from "../io/disk.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { childHashes, fanoutOf, LEAF_WORDS, logicalHash, spanOf, VVBN } from "./block_map.ts";
import { assembleMembers, readCandidate } from "./members.ts";
import { Store } from "./store.ts";
import type { Superblock } from "./superblock.ts";
import { bytesEqual, bytesOf, readU64, toHex } from "./words.ts";

/** What is on one member: its newest valid superblock in plain words, or why there is none. */
export interface SuperblockReport {
  readonly path: string;
  readonly fault: string | null;
  readonly superblock: Record<string, unknown> | null;
}

export async function inspectSuperblock(
  storage: Storage,
  kernel: Kernel,
  path: string,
): Promise<SuperblockReport> {
  const disk = await storage.open(path, { readOnly: true });
  try {
    const { superblock } = await readCandidate(kernel, disk);
    if (typeof superblock === "string") return { path, fault: superblock, superblock: null };
    return { path, fault: null, superblock: plainSuperblock(superblock) };
  } finally {
    await disk.close();
  }
}

export interface MapReport {
  readonly cp: number;
  readonly rootHash: string;
  readonly levels: number;
  /** Map nodes by level, leaves first. */
  readonly nodes: readonly number[];
  readonly mappedBlocks: number;
  readonly segments: { readonly total: number; readonly used: number; readonly liveBlocks: number };
  /** What is wrong, by words; empty when every node and hash is right. */
  readonly faults: readonly string[];
  /** Why a given path was left out. */
  readonly excluded: readonly { path: string; reason: string }[];
}

/** Walks the block map of the image on these members; with `verifyData` every data block is read and verified too. */
export async function inspectMap(
  storage: Storage,
  kernel: Kernel,
  paths: readonly string[],
  options: { readonly verifyData?: boolean } = {},
): Promise<MapReport> {
  const disks: Disk[] = [];
  try {
    for (const path of paths) disks.push(await storage.open(path, { readOnly: true }));
    const found = assembleMembers(await Promise.all(disks.map((disk) => readCandidate(kernel, disk))));
    const store = new Store({
      kernel,
      superblock: found.superblock,
      disks: found.disks,
      cacheBytes: 1024 * 1024,
      onMemberLost: () => {},
      onWork: () => {},
    });
    await store.load();
    const report = await new MapWalk(store, kernel, options.verifyData ?? false).run();
    await store.raid.close();
    return { ...report, excluded: found.excluded };
  } finally {
    await Promise.all(disks.map((disk) => disk.close()));
  }
}

class MapWalk {
  readonly #store: Store;
  readonly #kernel: Kernel;
  readonly #verifyData: boolean;
  readonly #nodes: number[];
  readonly #faults: string[] = [];
  #mapped = 0;

  constructor(store: Store, kernel: Kernel, verifyData: boolean) {
    this.#store = store;
    this.#kernel = kernel;
    this.#verifyData = verifyData;
    this.#nodes = new Array<number>(store.mapHeight + 1).fill(0);
  }

  async run(): Promise<Omit<MapReport, "excluded">> {
    const { store } = { store: this.#store };
    const { table, image } = store;
    const root = await this.#visit(store.mapHeight, 0);
    if (root !== null && !bytesEqual(root, store.rootHash()))
      this.#faults.push("the root hash is not that of the map");
    let used = 0;
    for (let segment = 0; segment < table.count; segment++) if (table.get(segment).used) used++;
    return {
      cp: image.cp,
      rootHash: toHex(store.rootHash()),
      levels: store.mapHeight + 1,
      nodes: this.#nodes,
      mappedBlocks: this.#mapped,
      segments: { total: table.count, used, liveBlocks: table.live },
      faults: this.#faults,
    };
  }

  /** The logical hash of the subtree as its children have it; null when it cannot be read. */
  async #visit(level: number, index: number): Promise<Uint8Array | null> {
    const { image } = this.#store;
    let node: Uint32Array | null;
    try {
      node = await this.#store.mapNode(image, image.mapRoot, level, index);
    } catch (error) {
      this.#faults.push(`node ${index} of level ${level}: ${error instanceof Error ? error.message : error}`);
      return null;
    }
    if (node === null) return new Uint8Array(16);
    this.#nodes[level] = this.#nodes[level]! + 1;
    if (level === 0) await this.#visitBlocks(index, node);
    else await this.#visitChildren(level, index, node);
    return bytesOf(logicalHash(this.#kernel, level, node));
  }

  async #visitChildren(level: number, index: number, node: Uint32Array): Promise<void> {
    const hashes = childHashes(level, node);
    for (let child = 0; child < fanoutOf(level); child++) {
      const childIndex = index * fanoutOf(level) + child;
      if (childIndex * spanOf(level - 1) >= this.#store.superblock.sizeBlocks) break;
      const hash = await this.#visit(level - 1, childIndex);
      if (hash === null || bytesEqual(hash, bytesOf(hashes.subarray(child * 4, child * 4 + 4)))) continue;
      this.#faults.push(`node ${childIndex} of level ${level - 1} has another hash than its parent says`);
    }
  }

  async #visitBlocks(index: number, leaf: Uint32Array): Promise<void> {
    for (let child = 0; child < fanoutOf(0); child++) {
      if (readU64(leaf, child * LEAF_WORDS + VVBN) === 0) continue;
      this.#mapped++;
      if (!this.#verifyData) continue;
      const lba = index * fanoutOf(0) + child;
      try {
        await this.#store.readBlocks([lba], [new Uint8Array(BLOCK_BYTES)]);
      } catch (error) {
        this.#faults.push(`block ${lba}: ${error instanceof Error ? error.message : error}`);
      }
    }
  }
}

function plainSuperblock(superblock: Superblock): Record<string, unknown> {
  const {
    volumeId,
    mapRoot,
    containerRoot,
    freeList,
    boundTo,
    members,
    appliedChain,
    tableSum,
    history,
    fencedBy,
    ...plain
  } = superblock;
  const generation = ({ number, id, startSequence, startChain }: Superblock["history"][number]) => ({
    number,
    id: hex64(id),
    startSequence,
    startChain: hex64(startChain),
  });
  return {
    volumeId: toHex(volumeId),
    ...plain,
    appliedChain: hex64(appliedChain),
    tableSum: hex64(tableSum),
    rootHash: toHex(bytesOf(mapRoot.slice(4, 8))),
    mapRootVvbn: readU64(mapRoot, VVBN),
    containerRootPvbn: readU64(containerRoot, 0),
    freeListVvbn: readU64(freeList, 0),
    boundTo: boundTo && toHex(boundTo),
    fencedBy: fencedBy && generation(fencedBy),
    members: members.map(({ id, state, path }) => ({ id: toHex(id), state, path })),
    history: history.map(generation),
  };
}

function hex64(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}
