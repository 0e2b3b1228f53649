// The store: the volume's images on its members. It reads the present image, makes the next one in transactions,
// and commits: everything new goes to empty space and is synced, then the superblocks move, then are synced.
//
// Invariants:
//   - one transaction at a time; the present image is readable throughout;
//   - a commit exists on every member that the superblock lists as current, or it does not exist: when a member
//     fails in between, it is recorded as missing and the transaction is made again for the others;
//   - space that a commit emptied is used again only when that commit is durable and no older reader is left;
//   - a loss that leaves a live block out of reach is never recorded: the volume stops, and opens again when
//     enough members are back. (Recording it would make the absent members stale, and the loss final.)
//
// Two locks: commitLock is held for a whole transaction, the superblock's own lock only while it moves. So a lost
// member or log copy is recorded at once, also in the middle of a transaction that waits for that very record.
import { LEAF_FANOUT } from "../../assembly/format.ts";
import type { Disk } from "../io/disk.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { geometryFor, type SegmentGeometry, stripeOf } from "../raid/geometry.ts";
import { RaidGroup } from "../raid/raid_group.ts";
import { LEAF_WORDS, LOGICAL, mapHeight, VVBN } from "./block_map.ts";
import { ContainerReader } from "./container_map.ts";
import { type Image, imageOf, ReaderLedger } from "./image.ts";
import { ImageReader } from "./image_reader.ts";
import { dataOffsetFor } from "./members.ts";
import { Mutex } from "./mutex.ts";
import { NodeCache } from "./node_cache.ts";
import { NodeReader } from "./node_reader.ts";
import { RunWriter } from "./run_writer.ts";
import { SegmentLedger } from "./segment_ledger.ts";
import { SegmentTable } from "./segments.ts";
import type { Superblock } from "./superblock.ts";
import { type SuperblockChanges, SuperblockKeeper } from "./superblock_keeper.ts";
import { Transaction } from "./transaction.ts";
import { copyWords, hashIsZero, readU64 } from "./words.ts";

export interface StoreOptions {
  readonly kernel: Kernel;
  readonly superblock: Superblock;
  /** By member slot. */
  readonly disks: readonly (Disk | null)[];
  readonly cacheBytes: number;
  /** A member has been lost; it is recorded durably before the next commit. */
  onMemberLost(slot: number, error: Error): void;
  /** A damaged block was found, and its segment wants to be evacuated; or a pinned image lets go of its blocks. */
  onWork(): void;
}

/** What a transaction's maker decides when it is complete. */
export interface Outcome {
  readonly cp: number;
  readonly appliedSequence: number;
  readonly appliedChain: bigint;
  readonly changes?: SuperblockChanges;
}

export class Store {
  readonly kernel: Kernel;
  readonly raid: RaidGroup;
  readonly table: SegmentTable;
  readonly nodes: NodeReader;
  readonly containers: ContainerReader;
  /** Held by whoever makes a commit. */
  readonly commitLock = new Mutex();
  readonly mapHeight: number;
  readonly #options: StoreOptions;
  readonly #disks: (Disk | null)[];
  readonly #imageReader: ImageReader;
  readonly #readers = new ReaderLedger();
  readonly #pins = new Map<Image, number>();
  /** Segments to evacuate because a block in them was wrong. */
  readonly suspects = new Set<number>();
  /** Segments that hold something unreadable and cannot be evacuated. */
  readonly stuck = new Set<number>();
  /** Since the volume was opened. */
  evacuatedSegments = 0;
  readonly #keeper: SuperblockKeeper;
  #image: Image;
  #openSegment: number | null = null;
  #ledger: SegmentLedger | null = null;

  constructor(options: StoreOptions) {
    const { kernel, superblock } = options;
    this.#options = options;
    this.kernel = kernel;
    this.#disks = [...options.disks];
    this.#image = imageOf(superblock);
    this.mapHeight = mapHeight(superblock.sizeBlocks);
    this.table = new SegmentTable(kernel, superblock.volumeId, superblock.segmentCount);
    this.raid = new RaidGroup({
      kernel,
      disks: this.#disks,
      dataOffset: dataOffsetFor(superblock.segmentCount),
      segmentStripes: superblock.segmentStripes,
      geometryOf: (segment) => this.#geometryOf(segment),
      onMemberFailed: (slot, error) => this.#memberFailed(slot, error),
      onCorruption: (pvbn) => {
        this.suspects.add(Math.floor(stripeOf(pvbn) / superblock.segmentStripes));
        options.onWork();
      },
    });
    const { raid: group, table } = this;
    this.#keeper = new SuperblockKeeper({ kernel, raid: group, table, disks: this.#disks }, superblock);
    this.nodes = new NodeReader(this.raid, new NodeCache(options.cacheBytes));
    this.containers = new ContainerReader(this.nodes, superblock.vvbnCount);
    const { raid, nodes, containers, mapHeight: height } = this;
    this.#imageReader = new ImageReader({ raid, nodes, containers, mapHeight: height });
  }

  get superblock(): Superblock {
    return this.#keeper.current;
  }

  get image(): Image {
    return this.#image;
  }

  get disks(): readonly (Disk | null)[] {
    return this.#disks;
  }

  /** Empty segments that can be written to now. */
  get emptySegments(): number {
    return this.#newLedger().emptyCount();
  }

  /** Rows that can be written to now: of empty segments, and what is left of the open one. */
  get freeRows(): number {
    const { segmentStripes } = this.#keeper.current;
    const open = this.#openSegment === null ? 0 : segmentStripes - this.table.get(this.#openSegment).written;
    return this.emptySegments * segmentStripes + open;
  }

  /** Reads the segment table that belongs to the superblock. */
  async load(): Promise<void> {
    const { commit, tableSum } = this.#keeper.current;
    await this.table.load(
      this.#disks.filter((disk) => disk !== null),
      commit,
      tableSum,
    );
  }

  /** Of a segment that was given back, as long as readers of an older image may look at it. */
  #geometryOf(segment: number): SegmentGeometry {
    const record = (this.#ledger ?? this.table).get(segment);
    return record.used ? record.geometry : (this.#readers.geometryOf(segment) ?? record.geometry);
  }

  // -------------------------------------------------------------------------------------------- reading

  /** Runs a reader on the present image; what it refers to stays in place until the reader is done. */
  async withImage<T>(read: (image: Image) => Promise<T>): Promise<T> {
    const image = this.#image;
    this.#readers.enter(image);
    try {
      return await read(image);
    } finally {
      this.#readers.leave(image);
    }
  }

  /** Fills each buffer with its block (lbas ascending), zeros for holes; every block verified. */
  async readBlocks(
    lbas: readonly number[],
    outs: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<void> {
    await this.withImage(async (image) => {
      await this.#imageReader.readBlocks(image, image.mapRoot, lbas, outs, signal);
    });
  }

  /** The same from a pinned image: its map, with the present container map. */
  async readPinned(pinned: Image, lbas: readonly number[], outs: readonly Uint8Array[]): Promise<void> {
    await this.withImage(async (image) => {
      await this.#imageReader.readBlocks(image, pinned.mapRoot, lbas, outs);
    });
  }

  /** The block map's node `index` of `level` under a root, or null where there are only holes. */
  mapNode(image: Image, mapRoot: Uint32Array, level: number, index: number): Promise<Uint32Array | null> {
    return this.#imageReader.mapNode(image, mapRoot, level, index);
  }

  /** Until no reader of an older image keeps emptied space from being used. */
  readersDrained(): Promise<void> {
    return this.#readers.drained();
  }

  /** A transaction is under way: the present image must not be pinned now. */
  get isCommitting(): boolean {
    return this.#ledger !== null;
  }

  get openSegment(): number | null {
    return this.#openSegment;
  }

  /** Is there anything at this block? */
  async isMapped(lba: number): Promise<boolean> {
    return this.withImage(async (image) => {
      const leaf = await this.mapNode(image, image.mapRoot, 0, Math.floor(lba / LEAF_FANOUT));
      return leaf !== null && !hashIsZero(leaf, (lba % LEAF_FANOUT) * LEAF_WORDS + LOGICAL);
    });
  }

  rootHash(image: Image = this.#image): Uint8Array {
    const hash = new Uint32Array(4);
    copyWords(image.mapRoot, LOGICAL, hash, 0, 4);
    return new Uint8Array(hash.buffer);
  }

  /** Keeps the present image's blocks until unpin. Must not be called within somebody else's transaction. */
  pin(): Image {
    this.#pins.set(this.#image, (this.#pins.get(this.#image) ?? 0) + 1);
    return this.#image;
  }

  unpin(image: Image): void {
    const left = (this.#pins.get(image) ?? 1) - 1;
    if (left > 0) this.#pins.set(image, left);
    else this.#pins.delete(image);
    this.#options.onWork();
  }

  get isPinned(): boolean {
    return this.#pins.size > 0;
  }

  get pinnedCp(): number {
    let cp = -1;
    for (const image of this.#pins.keys()) cp = Math.max(cp, image.cp);
    return cp;
  }

  /** Blocks that no longer belong to the image wait to be freed, perhaps until a pinned one is released. */
  get hasFreeList(): boolean {
    return readU64(this.#image.freeList, VVBN) !== 0;
  }

  /** They can be freed now. */
  get hasFreeWork(): boolean {
    return this.hasFreeList && this.#pins.size === 0;
  }

  // ----------------------------------------------------------------------------------------- committing

  /**
   * Makes a transaction and commits it; `make` returns null to abandon it. When a member fails meanwhile, it is
   * recorded as missing and `make` is called again. The caller holds commitLock. True when it was committed.
   */
  async transact(cp: number, make: (transaction: Transaction) => Promise<Outcome | null>): Promise<boolean> {
    for (;;) {
      await this.#keeper.lock.run(() => this.#recordLosses());
      const membersBefore = this.raid.present;
      const { transaction, writer, ledger } = this.#begin(cp);
      this.#ledger = ledger;
      this.nodes.unwritten = writer;
      try {
        const outcome = await make(transaction);
        if (outcome === null) return false;
        await transaction.settle();
        if (await this.#keeper.lock.run(() => this.#commit(transaction, ledger, outcome, membersBefore)))
          return true;
      } catch (error) {
        if (this.raid.present === membersBefore) throw error;
        if (this.raid.present === 0) this.refuseTooFew();
      } finally {
        this.#ledger = null;
        this.nodes.unwritten = null;
        await writer.abandon();
      }
    }
  }

  /** The image is the same one; its commit number follows the superblock's. */
  async #recordLosses(changes: SuperblockChanges | null = null): Promise<void> {
    await this.#keeper.recordLosses(changes);
    const { commit } = this.#keeper.current;
    if (commit !== this.#image.commit) this.#image = { ...this.#image, commit };
  }

  /** Throws when the members that are there cannot carry the volume. */
  refuseTooFew(): void {
    this.#keeper.refuseTooFew();
  }

  /**
   * Moves the superblocks only, recording what was lost. Needs no commitLock. The changes may be computed from the
   * superblock that the others before have left.
   */
  updateSuperblock(changes: SuperblockChanges | ((now: Superblock) => SuperblockChanges)): Promise<void> {
    return this.#keeper.lock.run(() =>
      this.#recordLosses(typeof changes === "function" ? changes(this.#keeper.current) : changes),
    );
  }

  #begin(cp: number): { transaction: Transaction; writer: RunWriter; ledger: SegmentLedger } {
    const { vvbnCount, segmentStripes, volumeId } = this.#keeper.current;
    const { kernel, raid, containers, nodes } = this;
    const ledger = this.#newLedger();
    const commit = this.#keeper.current.commit + 1;
    const writer = new RunWriter({ kernel, raid, ledger, volumeId, segmentStripes, commit });
    const image = this.#image;
    const pinnedCp = this.pinnedCp;
    const transaction = new Transaction({
      kernel,
      image,
      cp,
      commit,
      vvbnCount,
      segmentStripes,
      writer,
      ledger,
      containers,
      nodes,
      pinnedCp,
    });
    return { transaction, writer, ledger };
  }

  #newLedger(): SegmentLedger {
    const { dataUnits: k, parityUnits: m, segmentStripes } = this.#keeper.current;
    const { quarantined } = this.#readers;
    return new SegmentLedger(
      { table: this.table, wanted: { k, m }, segmentStripes, quarantined },
      this.#openSegment,
    );
  }

  /** Everything is written: table, sync, superblocks, sync. False: a member failed, make it again. */
  async #commit(
    transaction: Transaction,
    ledger: SegmentLedger,
    outcome: Outcome,
    before: number,
  ): Promise<boolean> {
    // A member that was lost since the transaction began would leave stripes short of parity, written or not.
    if (this.raid.present !== before) return false;
    const { changes, emptied } = ledger.settle();
    const earlier = new Map(
      [...changes.keys()].map((segment) => [segment, this.table.get(segment)] as const),
    );
    for (const [segment, record] of changes) this.table.set(segment, record);
    for (const segment of emptied) this.stuck.delete(segment);
    // Losses may have been recorded since the transaction began: commits are counted from here.
    const commit = this.#keeper.current.commit + 1;
    const next: Superblock = {
      ...this.#keeper.current,
      ...outcome.changes,
      commit,
      tableSum: this.table.sumAt(commit),
      cp: outcome.cp,
      mapRoot: transaction.mapRoot,
      containerRoot: transaction.containerRoot,
      freeList: transaction.freeList,
      vvbnCursor: transaction.vvbnCursor,
      appliedSequence: outcome.appliedSequence,
      appliedChain: outcome.appliedChain,
    };
    if (!(await this.#keeper.writeTable(commit)) || this.raid.present !== before) {
      for (const [segment, record] of earlier) this.table.set(segment, record);
      return false;
    }
    await this.#keeper.move(next);
    this.#openSegment = ledger.open;
    const geometryBefore = (segment: number) => earlier.get(segment)!.geometry;
    this.#readers.quarantine(
      commit,
      emptied.map((segment) => [segment, geometryBefore(segment)] as const),
    );
    this.#image = imageOf(next);
    return true;
  }

  #memberFailed(slot: number, error: Error): void {
    this.#disks[slot] = null;
    this.#options.onMemberLost(slot, error);
  }

  /** Data units of a row in the segments that are written now; 0 without members. */
  get dataUnitsNow(): number {
    const { dataUnits: k, parityUnits: m } = this.#keeper.current;
    return geometryFor(this.raid.present, { k, m })?.k ?? 0;
  }

  usedBlocks(): number {
    return this.table.live;
  }

  async close(): Promise<void> {
    await this.raid.close();
    await Promise.all(this.#options.disks.map((disk) => disk?.close()));
  }
}
