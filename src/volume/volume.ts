// A volume: read, write, trim, zero, flush over blocks that are protected by RAID, logged before they are
// acknowledged, and made permanent at consistency points. Alone it is complete; as half of a pair, the
// replication layer drives it through the port at the end of the class.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { World } from "../io/world.ts";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Log } from "../log/log.ts";
import type { AppendedEntry, Generation, LogPosition } from "../log/types.ts";
import { Appender } from "./appender.ts";
import type { VolumeConfig } from "./config.ts";
import { type CpObserver, CpRunner } from "./consistency_point.ts";
import type { Gate, VolumeCore } from "./core.ts";
import type { CpData } from "./cp_data.ts";
import { createVolume } from "./create.ts";
import { PinnedImage, type RemoteImage } from "./image_sync.ts";
import { type CpApplication, MirrorSide } from "./mirror_side.ts";
import { openVolume } from "./open.ts";
import type { WriteMode } from "./pending.ts";
import { VolumeReader } from "./reader.ts";
import { corruptLog, demoted, fenced } from "./refusals.ts";
import { type VolumeStatus, volumeStatus } from "./status.ts";
import type { GenerationRecord, Role, Superblock } from "./superblock.ts";
import { extendHistory, newGenerationId } from "./superblock.ts";
import type { SuperblockChanges } from "./superblock_keeper.ts";

export type {
  CpData,
  Gate,
  GenerationRecord,
  PinnedImage,
  RemoteImage,
  Role,
  VolumeConfig,
  VolumeStatus,
  WriteMode,
};

export interface VolumeOptions {
  /** A source with a mirror stays closed until positions were exchanged. Default false. */
  readonly hasMirror?: boolean;
  /** How long a write waits for its mode before its client gets an error and it is in doubt. Default 30,000. */
  readonly writeTimeoutMs?: number;
}

export interface IoOptions {
  readonly signal?: AbortSignal;
}

export interface WriteOptions extends IoOptions {
  /** Default "sync". */
  readonly mode?: WriteMode;
}

/** Where a log ends. */
export interface Position {
  readonly generation: number;
  readonly generationId: bigint;
  readonly sequence: number;
  readonly chain: bigint;
}

/** What the relationship with a mirror or a source keeps in the superblocks. */
export type Persisted = Pick<
  Superblock,
  "role" | "history" | "inSync" | "everInSync" | "aloneSince" | "boundTo" | "fencedBy"
>;

const WRITE_TIMEOUT_MS = 30_000;

export class Volume extends EventTarget {
  readonly name: string;
  /** Size in bytes. */
  readonly bytes: number;
  readonly #core: VolumeCore;
  readonly #reader: VolumeReader;
  readonly #appender: Appender;
  readonly #runner: CpRunner;
  readonly #mirrorSide: MirrorSide;
  readonly #excluded: readonly { path: string; reason: string }[];
  #mode: WriteMode = "sync";
  #closing: Promise<void> | null = null;

  /** Makes members and log, or nothing. Rejects with ERR_CONFIG, ERR_EXISTS, ERR_NOT_FOUND, ERR_NO_SPACE. */
  static create(world: World, kernel: Kernel, config: VolumeConfig, role: Role = "source"): Promise<void> {
    return createVolume(world, kernel, config, role);
  }

  /**
   * Opens the volume, recovers its log, and serves it unless it is a mirror or has one. Rejects with
   * ERR_LOCKED, ERR_NO_MEMBERS, ERR_TOO_FEW_MEMBERS, ERR_MEMBERS_FOREIGN, ERR_MEMBERS_DIVERGED,
   * ERR_MEMBERS_STALE, ERR_LOG_CORRUPT.
   */
  static async open(
    world: World,
    kernel: Kernel,
    config: VolumeConfig,
    options: VolumeOptions = {},
  ): Promise<Volume> {
    const early: [string, Record<string, unknown>][] = [];
    let volume: Volume | null = null;
    const emit = (name: string, detail: Record<string, unknown>) => {
      if (volume === null) early.push([name, detail]);
      else volume.dispatchEvent(new CustomEvent(name, { detail }));
    };
    const writeTimeoutMs = options.writeTimeoutMs ?? WRITE_TIMEOUT_MS;
    const opened = await openVolume({ world, kernel, config, writeTimeoutMs, emit });
    volume = new Volume(opened.core, opened.excluded);
    try {
      volume.#start(options.hasMirror ?? false);
    } catch (error) {
      await volume.close();
      throw error;
    }
    // Listeners are attached after open has returned.
    world.clock.setTimer(0, () => early.forEach(([name, detail]) => emit(name, detail)));
    return volume;
  }

  private constructor(core: VolumeCore, excluded: readonly { path: string; reason: string }[]) {
    super();
    this.#core = core;
    this.#excluded = excluded;
    this.name = core.config.name;
    this.bytes = core.store.superblock.sizeBlocks * BLOCK_BYTES;
    this.#reader = new VolumeReader(core);
    this.#appender = new Appender(core, (lba, out, signal) => this.#reader.readBlock(lba, out, signal));
    this.#runner = new CpRunner(core);
    this.#mirrorSide = new MirrorSide(core);
  }

  #start(hasMirror: boolean): void {
    const core = this.#core;
    const { role, fencedBy } = this.persisted;
    const { requiredThrough, tail } = core.log.recovery;
    if (role === "source" && !hasMirror && requiredThrough > tail)
      throw corruptLog(this.name, tail, requiredThrough);
    core.setRemote({ required: hasMirror && role === "source", received: 0, durable: 0 });
    core.setLocal(core.log.durable);
    core.freeHalves();
    if (fencedBy !== null) core.setGate({ refused: fenced(this.name, fencedBy) });
    else if (role === "source" && !hasMirror) core.setGate("open");
    this.#runner.enable(role === "source");
  }

  // ------------------------------------------------------------------------------------------ clients

  /** Bytes [offset, offset + length), verified. Rejects with ERR_RANGE, ERR_UNRECOVERABLE, ERR_IN_DOUBT. */
  async read(offset: number, length: number, options: IoOptions = {}): Promise<Uint8Array> {
    this.#check(offset, length);
    return this.#reader.read(offset, length, options.signal);
  }

  /**
   * Resolves when the data is as durable as the mode says; it must not change until then. Each piece of at most
   * 1 MiB (less where the log is small) is one log entry. Rejects with ERR_RANGE, ERR_NO_SPACE, ERR_MIRROR_LOST
   * (then it is in doubt).
   */
  async write(offset: number, data: Uint8Array, options: WriteOptions = {}): Promise<void> {
    this.#check(offset, data.length);
    await this.#appender.write(offset, data, { mode: options.mode ?? this.#mode, signal: options.signal });
  }

  /** The whole blocks within the range read as zeros afterwards. */
  async trim(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    this.#check(offset, length);
    await this.#appender.trim(offset, length, { mode: options.mode ?? this.#mode, signal: options.signal });
  }

  /** Every byte of the range reads as zero afterwards. */
  async zero(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    this.#check(offset, length);
    await this.#appender.zero(offset, length, { mode: options.mode ?? this.#mode, signal: options.signal });
  }

  /** Resolves when every write before it is as durable as its mode says: a barrier on the log, not a CP. */
  async flush(options: IoOptions = {}): Promise<void> {
    this.#checkOpen();
    await this.#core.pass(options.signal);
    await this.#core.barrier(options.signal);
  }

  /** Requests a consistency point; resolves with its number when it is committed. */
  async consistencyPoint(options: IoOptions = {}): Promise<number> {
    this.#checkOpen();
    await this.#core.pass(options.signal);
    return this.#runner.request(options.signal);
  }

  /** What was acknowledged is durable already; this ends what is under way and lets go of the files. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const core = this.#core;
    core.closeGate(new MirrorvolError("ERR_CLOSED", `volume "${this.name}" is closed`));
    core.stopTimers();
    await this.#runner.stop();
    await core.store.commitLock.run(async () => {});
    // A disk that is closed under a read looks like one that has failed.
    await core.reading.ended();
    await core.log.close();
    core.end(new MirrorvolError("ERR_CLOSED", `volume "${this.name}" was closed before this was confirmed`));
    await core.store.close();
  }

  #checkOpen(): void {
    if (this.#closing) throw new MirrorvolError("ERR_CLOSED", `volume "${this.name}" is closed`);
  }

  #check(offset: number, length: number): void {
    this.#checkOpen();
    const isInside =
      Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
    if (isInside && offset + length <= this.bytes) return;
    const message = `${length} bytes at ${offset} are not within volume "${this.name}" of ${this.bytes} bytes`;
    throw new MirrorvolError("ERR_RANGE", message);
  }

  // -------------------------------------------------------------------------------------------- state

  get volumeId(): Uint8Array {
    return this.#core.store.superblock.volumeId;
  }

  get role(): Role {
    return this.#core.store.superblock.role;
  }

  get generation(): Generation {
    return this.#core.log.generation;
  }

  get history(): readonly GenerationRecord[] {
    return this.#core.store.superblock.history;
  }

  get position(): Position {
    const { number: generation, id: generationId } = this.generation;
    return { generation, generationId, ...this.#core.log.tail };
  }

  /** Highest sequence that is durable here. */
  get durable(): number {
    return this.#core.log.durable;
  }

  /** Number of the last committed CP. */
  get cp(): number {
    return this.#core.store.image.cp;
  }

  /** Root hash of the last committed CP, 16 bytes. */
  get rootHash(): Uint8Array {
    return this.#core.store.rootHash();
  }

  status(): VolumeStatus {
    return volumeStatus(this.#core, this.#excluded);
  }

  // ------------------------------------------------------------------------- the port of the replication

  get log(): Log {
    return this.#core.log;
  }

  get gate(): Gate {
    return this.#core.gate;
  }

  /** Mode of writes that name none. */
  set defaultMode(mode: WriteMode) {
    this.#mode = mode;
  }

  /** Highest sequence such that everything up to it has met its mode. */
  get acknowledged(): number {
    return this.#core.pending.acknowledged;
  }

  get persisted(): Readonly<Persisted> {
    return this.#core.store.superblock;
  }

  /** Seals in the log whose CP this side has not committed, oldest first. */
  get sealed(): readonly { cp: number; seal: LogPosition }[] {
    return this.#core.halves.sealed.map(({ cp, seal }) => ({ cp, seal: seal! }));
  }

  set onAppended(listener: ((entry: AppendedEntry) => void) | null) {
    this.#core.onAppended = listener;
  }

  set onDurable(listener: ((sequence: number) => void) | null) {
    this.#core.onLocallyDurable = listener;
  }

  set onSpace(listener: (() => void) | null) {
    this.#core.onSpaceFreed = listener;
  }

  set cpObserver(observer: CpObserver | null) {
    this.#runner.observer = observer;
  }

  /** Closed, clients wait; refused, they fail. */
  setGate(gate: Gate): void {
    this.#core.setGate(gate);
  }

  /** What the mirror has; required: whether writes wait for it. */
  setRemote(remote: { required: boolean; received: number; durable: number }): void {
    this.#core.setRemote(remote);
  }

  /** Entries up to here are sent: the ring may forget them. Infinity: nobody forwards. */
  setForwarded(sequence: number): void {
    this.#core.setForwarded(sequence);
  }

  /** Halves whose seal lies beyond this entry are kept even after our own CP. Infinity: none. */
  setLogRetention(sequence: number): void {
    this.#core.setRetention(sequence);
  }

  /** CP data of a sealed half, or of one that is still kept. */
  cpData(cp: number): CpData | null {
    return this.#core.halves.cpData(cp);
  }

  /** The last committed image, readable until it is released. Within CpObserver.committed it is that very CP. */
  async pinImage(): Promise<PinnedImage> {
    const { store } = this.#core;
    if (store.isCommitting) await store.commitLock.run(async () => {});
    return store.isCommitting ? this.pinImage() : new PinnedImage(store);
  }

  /** Changes the relationship's state, durably: one commit. */
  async persist(changes: Partial<Persisted>): Promise<void> {
    const { store, log } = this.#core;
    await store.commitLock.run(() => {
      // Disks that are closed under a commit look like members that have failed.
      this.#checkOpen();
      return store.updateSuperblock(changes as SuperblockChanges);
    });
    const newest = this.history[this.history.length - 1]!;
    log.generation = { number: newest.number, id: newest.id };
    if (changes.role !== undefined) this.#runner.enable(changes.role === "source");
    if (changes.role === "mirror") this.#core.demote(demoted(this.name, this.persisted.fencedBy));
  }

  adopt(entry: Uint8Array): AppendedEntry | null {
    return this.#mirrorSide.adopt(entry);
  }

  applyConsistencyPoint(data: CpData, options: CpApplication): Promise<"committed" | "mismatch"> {
    return this.#mirrorSide.applyConsistencyPoint(data, options);
  }

  applyOwnConsistencyPoint(cp: number, expectedRoot: Uint8Array | null): Promise<"committed" | "mismatch"> {
    return this.#mirrorSide.applyOwnConsistencyPoint(cp, expectedRoot);
  }

  adoptImage(
    image: RemoteImage,
    history: readonly GenerationRecord[],
    signal?: AbortSignal,
  ): Promise<"committed" | "mismatch"> {
    return this.#mirrorSide.adoptImage(image, history, signal);
  }

  /** Mirror to source: the new generation is durable, then the volume is served. The caller has checked that it may. */
  async promote(): Promise<GenerationRecord> {
    assert(this.role === "mirror", `volume "${this.name}" is not a mirror`);
    const core = this.#core;
    const { sequence, chain } = core.log.tail;
    await core.log.whenDurable(sequence);
    await core.log.giveUpLost();
    const id = newGenerationId(core.world.random);
    const generation = { number: this.generation.number + 1, id, startSequence: sequence, startChain: chain };
    core.setRetention(Number.POSITIVE_INFINITY);
    core.setRemote({ required: false, received: 0, durable: 0 });
    const history = extendHistory(this.history, generation);
    await this.persist({ role: "source", history, inSync: false, aloneSince: sequence, boundTo: null });
    // It is promoted durably, but serves nobody.
    this.#checkOpen();
    core.setGate("open");
    core.emit("promoted", { generation: generation.number, sequence });
    return generation;
  }
}
