// Bringing this side to a remote image by a Merkle walk: node by node the logical hashes are compared, and only
// where they differ the walk goes down, to the blocks that differ. One mechanism serves the first sync (nearly
// everything differs), catching up (what changed meanwhile), and the repair of a difference that should not be.
//
// What is found to differ is written in one transaction, so that this side is some complete CP at every moment.
// Hashes and blocks come in batches of bounded size; memory does not grow with the volume.
import { BLOCK_BYTES, INNER_FANOUT, LEAF_FANOUT } from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { LogPosition } from "../log/types.ts";
import { childHashes, fanoutOf, MapSweep, mapHeight, spanOf } from "./block_map.ts";
import { clean, segmentsFor } from "./cleaner.ts";
import { putBlock } from "./cp_apply.ts";
import type { Image } from "./image.ts";
import type { Store } from "./store.ts";
import type { SuperblockChanges } from "./superblock_keeper.ts";
import type { Transaction } from "./transaction.ts";
import { bytesEqual, hashEquals, hashIsZero } from "./words.ts";

/** An image of the same volume somewhere else, or a pinned one here. */
export interface RemoteImage {
  readonly cp: number;
  readonly seal: LogPosition;
  readonly rootHash: Uint8Array;
  readonly sizeBlocks: number;
  /**
   * For each node its children's logical hashes (16 bytes each; 128 of them on level 0, the blocks' content
   * hashes, else 64). level counts from the leaves.
   */
  children(level: number, indexes: readonly number[]): Promise<Uint8Array[]>;
  /** The contents of blocks, 4096 bytes each. */
  blocks(lbas: readonly number[]): Promise<Uint8Array[]>;
}

const NODES_PER_REQUEST = 16;
const BLOCKS_PER_REQUEST = 64;
/** Requests for blocks that are under way while the answer to an earlier one is written. */
const REQUESTS_AHEAD = 8;

/** Makes the remote image ours and commits it. "mismatch": the result has another root hash, nothing was committed. */
export function adoptRemoteImage(
  store: Store,
  remote: RemoteImage,
  changes: SuperblockChanges,
  signal?: AbortSignal,
): Promise<"committed" | "mismatch"> {
  if (remote.sizeBlocks !== store.superblock.sizeBlocks) {
    const message = `the source has ${remote.sizeBlocks} blocks, this side ${store.superblock.sizeBlocks}`;
    throw new MirrorvolError("ERR_SIZE_MISMATCH", message);
  }
  return store.commitLock.run(async () => {
    await clean(store, segmentsFor(store, 1));
    const isCommitted = await store.transact(remote.cp, async (transaction) => {
      await new ImageWalk(store, transaction, remote, signal).run();
      const root = store.rootHash({ ...store.image, mapRoot: transaction.mapRoot });
      if (!bytesEqual(root, remote.rootHash)) return null;
      return {
        cp: remote.cp,
        appliedSequence: remote.seal.sequence,
        appliedChain: remote.seal.chain,
        changes,
      };
    });
    return isCommitted ? "committed" : "mismatch";
  });
}

/** Commits the empty CP 0: whatever there was is gone. */
export function emptyImage(store: Store, changes: SuperblockChanges): Promise<boolean> {
  const { sizeBlocks } = store.superblock;
  return store.commitLock.run(() =>
    store.transact(0, async (transaction) => {
      const sweep = new MapSweep(transaction, transaction.mapRoot, sizeBlocks);
      await sweep.trim(0, sizeBlocks);
      await sweep.finish();
      return { cp: 0, appliedSequence: 0, appliedChain: 0n, changes };
    }),
  );
}

/** Blocks of one leaf that differ. */
interface Difference {
  readonly first: number;
  readonly children: readonly number[];
  readonly hashes: Uint32Array;
}

class ImageWalk {
  readonly #store: Store;
  readonly #base: Image;
  readonly #transaction: Transaction;
  readonly #sweep: MapSweep;
  readonly #remote: RemoteImage;
  readonly #signal: AbortSignal | undefined;
  readonly #height: number;

  constructor(store: Store, transaction: Transaction, remote: RemoteImage, signal?: AbortSignal) {
    this.#store = store;
    this.#base = store.image;
    this.#transaction = transaction;
    this.#remote = remote;
    this.#signal = signal;
    this.#height = mapHeight(store.superblock.sizeBlocks);
    this.#sweep = new MapSweep(transaction, transaction.mapRoot, store.superblock.sizeBlocks);
  }

  async run(): Promise<void> {
    if (!bytesEqual(this.#store.rootHash(), this.#remote.rootHash)) await this.#descend(this.#height, [0]);
    await this.#sweep.finish();
  }

  /** The given nodes of a level differ; ascending. */
  async #descend(level: number, indexes: readonly number[]): Promise<void> {
    for (let at = 0; at < indexes.length; at += NODES_PER_REQUEST) {
      this.#signal?.throwIfAborted();
      const some = indexes.slice(at, at + NODES_PER_REQUEST);
      const answers = await this.#remote.children(level, some);
      if (level === 0) await this.#compareLeaves(some, answers);
      else for (const [i, index] of some.entries()) await this.#compareNode(level, index, answers[i]);
    }
  }

  async #compareLeaves(indexes: readonly number[], answers: readonly Uint8Array[]): Promise<void> {
    const differences: Difference[] = [];
    for (const [i, index] of indexes.entries()) {
      const hashes = this.#hashesFrom(0, answers[i]);
      const children = different(hashes, await this.#ourHashes(0, index), LEAF_FANOUT);
      const first = index * LEAF_FANOUT;
      for (let at = 0; at < children.length; at += BLOCKS_PER_REQUEST)
        differences.push({ first, children: children.slice(at, at + BLOCKS_PER_REQUEST), hashes });
    }
    await this.#copyAll(differences);
  }

  async #compareNode(level: number, index: number, answer: Uint8Array | undefined): Promise<void> {
    const theirs = this.#hashesFrom(level, answer);
    const ours = await this.#ourHashes(level, index);
    const first = index * fanoutOf(level);
    // A subtree that is empty there is cut off here as a whole.
    let nodes: number[] = [];
    for (const child of different(theirs, ours, fanoutOf(level))) {
      if (!hashIsZero(theirs, child * 4)) {
        nodes.push(first + child);
        continue;
      }
      await this.#descend(level - 1, nodes);
      nodes = [];
      await this.#trim(level - 1, first + child);
    }
    await this.#descend(level - 1, nodes);
  }

  async #trim(level: number, index: number): Promise<void> {
    const lba = index * spanOf(level);
    const end = Math.min(lba + spanOf(level), this.#store.superblock.sizeBlocks);
    if (end > lba) await this.#sweep.trim(lba, end - lba);
  }

  /** In order; what comes next is asked for while the one at hand is written. */
  async #copyAll(differences: readonly Difference[]): Promise<void> {
    const asked: Promise<Uint8Array[]>[] = [];
    for (const [at, difference] of differences.entries()) {
      this.#signal?.throwIfAborted();
      while (asked.length < Math.min(at + REQUESTS_AHEAD, differences.length))
        asked.push(this.#ask(differences[asked.length]!));
      await this.#copy(difference, await asked[at]!);
    }
  }

  #ask({ first, children, hashes }: Difference): Promise<Uint8Array[]> {
    const filled = children.filter((child) => !hashIsZero(hashes, child * 4));
    const answer = filled.length > 0 ? this.#remote.blocks(filled.map((child) => first + child)) : null;
    // If one before it fails, nobody looks at this one.
    answer?.catch(() => {});
    return answer ?? Promise.resolve([]);
  }

  async #copy({ first, children, hashes }: Difference, blocks: readonly Uint8Array[]): Promise<void> {
    let next = 0;
    for (const child of children) {
      const hash = hashes.slice(child * 4, child * 4 + 4);
      const block = hashIsZero(hash, 0) ? null : this.#verified(first + child, hash, blocks[next++]);
      const put = putBlock(this.#transaction, this.#sweep, first + child, hash, block);
      if (put !== undefined) await put;
    }
  }

  #verified(lba: number, hash: Uint32Array, block: Uint8Array | undefined): Uint8Array {
    const actual = new Uint32Array(4);
    if (block?.length === BLOCK_BYTES) this.#store.kernel.hashBlock(block, actual);
    if (block && hashEquals(actual, 0, hash, 0)) return block;
    throw new MirrorvolError(
      "ERR_REMOTE_BLOCK",
      `block ${lba} came from the source with another content than its hash`,
    );
  }

  #hashesFrom(level: number, answer: Uint8Array | undefined): Uint32Array {
    const bytes = fanoutOf(level) * 16;
    if (answer?.length === bytes) return new Uint32Array(answer.slice().buffer);
    throw new MirrorvolError(
      "ERR_REMOTE_NODE",
      `a node of level ${level} came with ${answer?.length} bytes, not ${bytes}`,
    );
  }

  async #ourHashes(level: number, index: number): Promise<Uint32Array> {
    const { mapRoot } = this.#base;
    const node = await this.#store.withImage((image) => this.#store.mapNode(image, mapRoot, level, index));
    return node === null ? new Uint32Array(fanoutOf(level) * 4) : childHashes(level, node);
  }
}

/** Children whose hashes are not the same. */
function different(theirs: Uint32Array, ours: Uint32Array, fanout: number): number[] {
  const found: number[] = [];
  for (let child = 0; child < fanout; child++)
    if (!hashEquals(theirs, child * 4, ours, child * 4)) found.push(child);
  return found;
}

/** A pinned image of this store, answering the walk of another side. */
export class PinnedImage implements RemoteImage {
  readonly cp: number;
  readonly seal: LogPosition;
  readonly rootHash: Uint8Array;
  readonly sizeBlocks: number;
  readonly #store: Store;
  readonly #image: Image;
  #isReleased = false;

  constructor(store: Store) {
    this.#store = store;
    this.#image = store.pin();
    this.cp = this.#image.cp;
    this.seal = { sequence: this.#image.appliedSequence, chain: this.#image.appliedChain };
    this.rootHash = store.rootHash(this.#image);
    this.sizeBlocks = store.superblock.sizeBlocks;
  }

  async children(level: number, indexes: readonly number[]): Promise<Uint8Array[]> {
    const answers: Uint8Array[] = [];
    for (const index of indexes) {
      this.#check(level >= 0 && level <= this.#store.mapHeight, `no level ${level}`);
      this.#check(
        index >= 0 && index * spanOf(level) < this.sizeBlocks,
        `no node ${index} on level ${level}`,
      );
      const node = await this.#store.withImage((image) =>
        this.#store.mapNode(image, this.#image.mapRoot, level, index),
      );
      const fanout = level === 0 ? LEAF_FANOUT : INNER_FANOUT;
      answers.push(
        node === null ? new Uint8Array(fanout * 16) : new Uint8Array(childHashes(level, node).buffer),
      );
    }
    return answers;
  }

  async blocks(lbas: readonly number[]): Promise<Uint8Array[]> {
    for (const lba of lbas) this.#check(lba >= 0 && lba < this.sizeBlocks, `no block ${lba}`);
    const bytes = new Uint8Array(lbas.length * BLOCK_BYTES);
    const outs = lbas.map((_, i) => bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
    await this.#store.readPinned(this.#image, lbas, outs);
    return outs;
  }

  /** Idempotent. */
  release(): void {
    if (!this.#isReleased) this.#store.unpin(this.#image);
    this.#isReleased = true;
  }

  #check(condition: boolean, what: string): void {
    if (this.#isReleased) throw new MirrorvolError("ERR_RELEASED", "the pinned image has been released");
    if (!condition) throw new MirrorvolError("ERR_REMOTE_REQUEST", `the pinned image has ${what}`);
  }
}
