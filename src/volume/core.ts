// What the parts of an open volume share: the log with its dirty indexes, the entries that wait for their
// acknowledgement, what the mirror has, the gate. The rules about acknowledging are here, in one place:
//
//   - an entry is acknowledged, and its blocks become visible, when it has met its mode (pending.ts);
//   - nothing is acknowledged between the loss of a member or log copy and the durable record of it;
//   - while the gate is closed, clients wait; when it refuses, or the volume has failed, they get the error.
import { ENTRY_KIND_SEAL as SEAL } from "../../assembly/format.ts";
import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Log } from "../log/log.ts";
import type { AppendedEntry } from "../log/types.ts";
import { settleOnce } from "./aborts.ts";
import type { VolumeConfig } from "./config.ts";
import { Halves } from "./halves.ts";
import { type Frontier, isContent, type PendingEntry, PendingQueue } from "./pending.ts";
import type { Store } from "./store.ts";
import { UnderWay } from "./under_way.ts";
import { Waiters } from "./waiters.ts";

export type Gate = "open" | "waiting" | { readonly refused: MirrorvolError };

export interface CoreParts {
  readonly world: World;
  readonly kernel: Kernel;
  readonly config: VolumeConfig;
  readonly store: Store;
  readonly writeTimeoutMs: number;
  emit(name: string, detail: Record<string, unknown>): void;
}

interface FlushWaiter {
  readonly sequence: number;
  readonly deadlineMs: number;
  readonly settle: (error: unknown) => void;
}

export class VolumeCore {
  readonly world: World;
  readonly kernel: Kernel;
  readonly config: VolumeConfig;
  readonly store: Store;
  readonly halves = new Halves();
  readonly pending = new PendingQueue();
  /** Reads of the disks for clients. */
  readonly reading = new UnderWay();
  readonly emit: CoreParts["emit"];
  /** How long a client waits before it gets an error. */
  readonly writeTimeoutMs: number;
  /** Set by open, before anything happens. */
  log!: Log;
  /** Called when a seal has been acknowledged, something is to be cleaned, or a first block became dirty. */
  onWork: () => void = () => {};
  onAppended: ((entry: AppendedEntry) => void) | null = null;
  /** What the replication hears besides. */
  onLocallyDurable: ((sequence: number) => void) | null = null;
  onSpaceFreed: (() => void) | null = null;
  /** Clients see nothing before what the log held when it was opened is visible: they may have seen it before. */
  #replayedThrough = 0;
  readonly #gateWaiters = new Waiters();
  readonly #spaceWaiters = new Waiters();
  #flushWaiters: FlushWaiter[] = [];
  #gate: Gate = "waiting";
  #isGateFinal = false;
  #failure: MirrorvolError | null = null;
  #holds = 0;
  #frontier: Frontier = { local: 0, mirrorReceived: 0, mirrorDurable: 0, mirrorRequired: false };
  #forwarded = Number.POSITIVE_INFINITY;
  #retention = Number.POSITIVE_INFINITY;
  #deadlineTimer: { cancel(): void } | null = null;

  constructor(parts: CoreParts) {
    this.world = parts.world;
    this.kernel = parts.kernel;
    this.config = parts.config;
    this.store = parts.store;
    this.emit = parts.emit;
    this.writeTimeoutMs = parts.writeTimeoutMs;
  }

  get gate(): Gate {
    return this.#gate;
  }

  get failure(): MirrorvolError | null {
    return this.#failure;
  }

  get frontier(): Frontier {
    return this.#frontier;
  }

  // ------------------------------------------------------------------------------------------ the gate

  /** Whoever is still at opening it, a promotion for instance, comes too late. */
  closeGate(error: MirrorvolError): void {
    this.setGate({ refused: error });
    this.#isGateFinal = true;
  }

  setGate(gate: Gate): void {
    if (this.#isGateFinal) return;
    this.#gate = gate;
    if (gate !== "waiting") this.#gateWaiters.wakeAll();
    if (typeof gate !== "object") return;
    // Whoever waits for room in the log, or for a CP, would wait for ever.
    this.wakeSpace();
    this.onWork();
  }

  /** Clients may go on, without waiting for anything. */
  get isPassable(): boolean {
    return this.#gate === "open" && this.#failure === null && this.#replayedThrough === 0;
  }

  /** Resolves when clients may go on; throws when they may not, or may not before the deadline. */
  async pass(signal?: AbortSignal, deadlineMs?: number): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      if (this.#failure) throw this.#failure;
      if (typeof this.#gate === "object") throw this.#gate.refused;
      if (this.isPassable) return;
      await this.#wait(this.#gateWaiters, signal, deadlineMs);
    }
  }

  /** The entries up to there are pending again. 0: there are none, or an image has taken their place. */
  setReplayed(through: number): void {
    this.#replayedThrough = through;
    this.#noteReplayed();
  }

  #noteReplayed(): void {
    if (this.pending.acknowledged < this.#replayedThrough) return;
    this.#replayedThrough = 0;
    this.#gateWaiters.wakeAll();
  }

  /** The volume stops: nothing is acknowledged any more. */
  fail(error: unknown): void {
    if (this.#failure) return;
    const cause = error instanceof Error ? error.message : String(error);
    const code = error instanceof MirrorvolError ? (error.code as `ERR_${string}`) : "ERR_VOLUME_FAILED";
    const message = `volume "${this.config.name}" has stopped: ${cause}`;
    const failure = new MirrorvolError(code, message, { cause: error });
    this.end(failure);
    this.emit("failed", { error: failure });
  }

  /** Whoever waits for anything gets the error, and so does whoever comes later. */
  end(error: MirrorvolError): void {
    this.#failure ??= error;
    this.pending.fail(this.#failure);
    for (const waiter of this.#flushWaiters.splice(0)) waiter.settle(this.#failure);
    this.#gateWaiters.wakeAll();
    this.#spaceWaiters.wakeAll();
    this.onWork();
  }

  /**
   * The volume is a source no longer. Whoever waits gets the error; what they wrote stays in doubt here. It becomes
   * visible to the CPs that the new source asks for, and no mirror of ours is waited for any more.
   */
  demote(error: MirrorvolError): void {
    this.pending.fail(error);
    for (const waiter of this.#flushWaiters.splice(0)) waiter.settle(error);
    this.setRemote({ required: false, received: 0, durable: 0 });
    this.#gateWaiters.wakeAll();
    this.#spaceWaiters.wakeAll();
    this.onWork();
  }

  // --------------------------------------------------------------------------------- acknowledgements

  locallyDurable(sequence: number): void {
    this.#frontier = { ...this.#frontier, local: Math.max(this.#frontier.local, sequence) };
    this.acknowledge();
    this.onLocallyDurable?.(sequence);
  }

  /** After open or a reset: everything up to here is durable. */
  setLocal(sequence: number): void {
    this.#frontier = { ...this.#frontier, local: sequence };
    this.acknowledge();
  }

  setRemote(remote: { required: boolean; received: number; durable: number }): void {
    const { required: mirrorRequired, received: mirrorReceived, durable: mirrorDurable } = remote;
    this.#frontier = { ...this.#frontier, mirrorRequired, mirrorReceived, mirrorDurable };
    // Also when nobody waits for it: what is written alone is forwarded later, and must not claim to be there already.
    this.log.mirrorDurable = mirrorDurable;
    this.acknowledge();
  }

  setForwarded(sequence: number): void {
    this.#forwarded = sequence;
    this.#release();
  }

  setRetention(sequence: number): void {
    this.#retention = sequence;
    this.freeHalves();
  }

  /** Makes visible and acknowledges whatever has met its mode. */
  acknowledge(): void {
    if (this.#holds > 0 || this.#failure) return;
    for (const entry of this.pending.take(this.#frontier)) {
      if (isContent(entry.kind)) this.halves.apply(entry);
      else this.#sealAcknowledged(entry);
      if (!entry.isInDoubt) entry.settle(null);
    }
    const { acknowledged } = this.pending;
    if (this.#replayedThrough > 0) this.#noteReplayed();
    this.#settleFlushes(({ sequence }) => sequence <= acknowledged, null);
    if (this.config.cpDirtyBytes !== undefined) this.onWork();
    this.#release();
  }

  /** Acknowledges nothing until the record is durable. */
  async holdAcknowledgements(record: () => Promise<void>): Promise<void> {
    this.#holds++;
    try {
      await record();
      this.#holds--;
    } catch (error) {
      this.fail(error);
      throw error;
    }
    this.acknowledge();
  }

  /** Of who begins to wait now. */
  newDeadlineMs(): number {
    return this.world.clock.nowMs() + this.writeTimeoutMs;
  }

  /** Resolves when everything appended so far is acknowledged; waits as long as a write would. */
  async barrier(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { sequence } = this.log.tail;
    if (this.pending.acknowledged >= sequence) return;
    const deadlineMs = this.newDeadlineMs();
    return new Promise((resolve, reject) => {
      const settle = settleOnce(resolve, reject, signal, () =>
        this.#settleFlushes((each) => each === waiter),
      );
      const waiter: FlushWaiter = { sequence, deadlineMs, settle };
      this.#flushWaiters.push(waiter);
      this.#watchDeadlines();
    });
  }

  /** Takes out those that are meant, and tells them; an aborted one has been told. */
  #settleFlushes(isMeant: (waiter: FlushWaiter) => boolean, error: unknown = null): void {
    const meant = this.#flushWaiters.filter(isMeant);
    if (meant.length === 0) return;
    this.#flushWaiters = this.#flushWaiters.filter((waiter) => !isMeant(waiter));
    for (const waiter of meant) waiter.settle(error);
  }

  /** Registers an appended entry; resolves when it is acknowledged. */
  track(
    entry: Omit<PendingEntry, "settle" | "isInDoubt" | "deadlineMs">,
    signal?: AbortSignal,
  ): Promise<void> {
    const deadlineMs = this.newDeadlineMs();
    return new Promise((resolve, reject) => {
      const settle = settleOnce(resolve, reject, signal, () => {
        tracked.isInDoubt = true;
      });
      const tracked: PendingEntry = { ...entry, deadlineMs, isInDoubt: false, settle };
      this.pending.push(tracked);
      this.#watchDeadlines();
    });
  }

  /** Registers an entry nobody waits for: a seal, a replayed or an adopted one. */
  trackSilently(entry: Omit<PendingEntry, "settle" | "isInDoubt" | "deadlineMs">): void {
    this.pending.push({ ...entry, deadlineMs: Number.POSITIVE_INFINITY, isInDoubt: false, settle: () => {} });
  }

  #sealAcknowledged(entry: PendingEntry): void {
    this.halves.ofSequence(entry.sequence).isSealAcknowledged = true;
    this.onWork();
  }

  #watchDeadlines(): void {
    if (this.#deadlineTimer !== null || this.writeTimeoutMs === Number.POSITIVE_INFINITY) return;
    this.#deadlineTimer = this.world.clock.setTimer(this.writeTimeoutMs, () => this.#expire());
  }

  #expire(): void {
    this.#deadlineTimer = null;
    const now = this.world.clock.nowMs();
    let next = this.pending.expire(now, () => this.#timeoutError());
    this.#settleFlushes(({ deadlineMs }) => deadlineMs <= now, this.#timeoutError());
    for (const { deadlineMs } of this.#flushWaiters) next = Math.min(next, deadlineMs);
    for (const waiters of [this.#gateWaiters, this.#spaceWaiters]) {
      next = Math.min(next, waiters.expire(now, this.#notAppendedError()));
    }
    if (next === Number.POSITIVE_INFINITY) return;
    this.#deadlineTimer = this.world.clock.setTimer(Math.max(1, next - now), () => this.#expire());
  }

  #timeoutError(): MirrorvolError {
    const what = this.#frontier.mirrorRequired
      ? "the mirror has not confirmed it"
      : "the log device has not synced it";
    const message = `volume "${this.config.name}": a write is in doubt after ${this.writeTimeoutMs} ms: ${what}`;
    return new MirrorvolError(this.#frontier.mirrorRequired ? "ERR_MIRROR_LOST" : "ERR_TIMEOUT", message);
  }

  #notAppendedError(): MirrorvolError {
    const isMirror = this.#frontier.mirrorRequired;
    const isClosed = this.#gate === "waiting" || this.#replayedThrough > 0;
    const awaited = isMirror ? "the mirror is awaited" : "a consistency point is awaited";
    const why = isClosed ? "the volume serves nobody yet" : `there is no room in the log, ${awaited}`;
    const late = `a write was not logged within ${this.writeTimeoutMs} ms`;
    const message = `volume "${this.config.name}": ${late}: ${why}`;
    return new MirrorvolError(isMirror ? "ERR_MIRROR_LOST" : "ERR_TIMEOUT", message);
  }

  // ------------------------------------------------------------------------------------------- space

  /** Resolves when there may be room in the log again; throws at the deadline. */
  waitForSpace(signal?: AbortSignal, deadlineMs?: number): Promise<void> {
    return this.#wait(this.#spaceWaiters, signal, deadlineMs);
  }

  async #wait(waiters: Waiters, signal?: AbortSignal, deadlineMs?: number): Promise<void> {
    if (deadlineMs !== undefined) {
      if (deadlineMs <= this.world.clock.nowMs()) throw this.#notAppendedError();
      this.#watchDeadlines();
    }
    return waiters.wait(signal, deadlineMs);
  }

  wakeSpace(): void {
    this.#spaceWaiters.wakeAll();
    this.onSpaceFreed?.();
  }

  /** Gives back the halves that neither our next CP nor the mirror needs. */
  freeHalves(): void {
    const through = Math.min(this.store.image.appliedSequence, this.#retention);
    this.halves.dropThrough(through);
    this.log.freeThrough(through);
    this.wakeSpace();
  }

  /** Seals the active half. False: the next half is not free yet. */
  seal(): boolean {
    if (!this.log.canSeal) return false;
    const appended = this.log.append(SEAL, this.halves.active.cp, 0, null);
    if (appended === null) return false;
    this.trackSeal(appended);
    this.onAppended?.(appended);
    return true;
  }

  trackSeal(appended: AppendedEntry): void {
    const { sequence, location } = appended;
    const { cp } = this.halves.seal(this.log.tail);
    this.trackSilently({
      sequence,
      kind: SEAL,
      lba: cp,
      count: 0,
      location,
      mode: "sync",
      payload: null,
      hashes: null,
    });
  }

  stopTimers(): void {
    this.#deadlineTimer?.cancel();
    this.#deadlineTimer = null;
  }

  #release(): void {
    this.log.releaseThrough(Math.min(this.pending.acknowledged, this.#forwarded));
  }
}
