// Consistency points of a source: when they are made, and how. A seal ends a half; when it is acknowledged
// (durable on both logs where a mirror is required), the half's changes become the next image, in order, one at
// a time. Between CPs the same loop works off the free list and evacuates damaged segments.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Timer } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { LostBlock } from "../log/reader.ts";
import type { LogPosition } from "../log/types.ts";
import { clean, workOffFreeList } from "./cleaner.ts";
import { CP_INTERVAL_MS } from "./config.ts";
import type { VolumeCore } from "./core.ts";
import { applyCp, type ContentReader } from "./cp_apply.ts";
import type { CpData } from "./cp_data.ts";
import type { HalfIndex } from "./halves.ts";
import { Waiters } from "./waiters.ts";
import { hashEquals } from "./words.ts";

/** What the replication hears of each CP of the source. */
export interface CpObserver {
  begin(cp: CpData): void;
  /** Before the commit; again if a member was lost meanwhile. */
  rootHash(cp: number, root: Uint8Array): void;
  /** Within the commit's lock: the image may be pinned. */
  committed(cp: number, root: Uint8Array, seal: LogPosition): void;
}

export class CpRunner {
  observer: CpObserver | null = null;
  readonly #core: VolumeCore;
  readonly #progress = new Waiters();
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;
  #isEnabled = false;
  #isStopped = false;
  #isWanted = false;

  constructor(core: VolumeCore) {
    this.#core = core;
    core.onWork = () => this.kick();
  }

  /** A mirror makes its CPs when the source says so, not by itself. */
  enable(isEnabled: boolean): void {
    if (this.#isStopped) return;
    this.#isEnabled = isEnabled;
    if (isEnabled) this.kick();
    else this.#stopTimer();
  }

  /** Looks whether there is something to do. */
  kick(): void {
    this.#progress.wakeAll();
    if (!this.#isEnabled || this.#core.failure) return;
    this.#startTimer();
    this.#sealIfDirty();
    this.#isWanted = true;
    if (this.#running === null && this.#hasWork) this.#running = this.#run();
  }

  get #hasWork(): boolean {
    const { halves, store } = this.#core;
    return halves.isAnyDue || store.suspects.size > 0 || store.hasFreeWork;
  }

  /** Seals what is dirty and resolves with the number of the CP that holds it, once it is committed. */
  async request(signal?: AbortSignal): Promise<number> {
    const { halves, log } = this.#core;
    const isClean = log.tail.sequence < halves.active.firstSequence;
    const target = isClean ? halves.active.cp - 1 : halves.active.cp;
    while (halves.active.cp === target) {
      if (this.#core.seal()) break;
      await this.#core.waitForSpace(signal);
      this.#refuse();
    }
    while (this.#core.store.image.cp < target) {
      this.#refuse();
      await this.#progress.wait(signal);
    }
    return target;
  }

  /** The volume has stopped, or serves no longer: a mirror must not seal its log by itself. */
  #refuse(): void {
    const { failure, gate } = this.#core;
    if (failure) throw failure;
    if (typeof gate === "object") throw gate.refused;
  }

  /** For good. Resolves when the loop is idle. */
  async stop(): Promise<void> {
    this.enable(false);
    this.#isStopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    await null;
    try {
      // A kick that comes while the last step finds nothing to do must not be lost: the last look at #isWanted and
      // the end of the loop are one synchronous step.
      while (this.#isWanted) {
        this.#isWanted = false;
        while (this.#isEnabled && !this.#core.failure && (await this.#step())) {
          this.#progress.wakeAll();
          // Blocks may have been freed that writes wait for.
          this.#core.wakeSpace();
        }
      }
    } catch (error) {
      this.#core.fail(error);
    } finally {
      this.#running = null;
      this.#progress.wakeAll();
    }
  }

  /** One piece of work; false when there is none. */
  async #step(): Promise<boolean> {
    const { halves, store } = this.#core;
    const half = halves.sealed[0];
    if (half?.isSealAcknowledged) await this.#makeCp(half);
    else if (store.suspects.size > 0) await store.commitLock.run(() => clean(store, 0));
    else if (store.hasFreeWork) await workOffFreeList(store);
    else return false;
    return true;
  }

  async #makeCp(half: HalfIndex): Promise<void> {
    const core = this.#core;
    const startMs = core.world.clock.nowMs();
    const cpData = half.index.toCpData(half.cp, half.seal!, half.firstSequence);
    this.observer?.begin(cpData);
    await applyCp(core.store, cpData, {
      read: contentFrom(core, half, cpData),
      expectedRoot: null,
      onRoot: (root) => this.observer?.rootHash(cpData.cp, root),
      onCommitted: (root) => {
        half.isCommitted = true;
        this.observer?.committed(cpData.cp, root, cpData.seal);
      },
    });
    core.freeHalves();
    const ms = core.world.clock.nowMs() - startMs;
    core.emit("consistencypoint", { cp: cpData.cp, blocks: cpData.count, ms });
  }

  #startTimer(): void {
    const { halves, world, config, log } = this.#core;
    if (this.#timer !== null || log.tail.sequence < halves.active.firstSequence) return;
    this.#timer = world.clock.setTimer(config.cpIntervalMs ?? CP_INTERVAL_MS, () => {
      this.#timer = null;
      if (log.tail.sequence < halves.active.firstSequence) return;
      // The next half may not be free: then the log is full anyway, and CPs are on their way.
      if (this.#core.gate === "open") this.#core.seal();
      this.#startTimer();
    });
  }

  /** Enough has changed since the last seal. If the next half is not free, CPs are on their way. */
  #sealIfDirty(): void {
    const { halves, config, gate } = this.#core;
    const { cpDirtyBytes = Number.POSITIVE_INFINITY } = config;
    if (gate === "open" && halves.active.index.count * BLOCK_BYTES >= cpDirtyBytes) this.#core.seal();
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}

/** Reads a half's blocks back from the log file, each verified against the hash that the CP data names. */
export function contentFrom(core: VolumeCore, half: HalfIndex, cpData: CpData): ContentReader {
  return async (indexes, outs) => {
    for (const { error } of await readFromLog(core, half, cpData, indexes, outs)) throw error;
  };
}

/** The same; resolves with the blocks (by their place in `indexes`) that the log does not have, and why. */
export async function readFromLog(
  core: VolumeCore,
  half: HalfIndex,
  cpData: CpData,
  indexes: readonly number[],
  outs: readonly Uint8Array[],
): Promise<LostBlock[]> {
  const found: number[] = [];
  const locations: number[] = [];
  const lost: LostBlock[] = [];
  for (const [at, index] of indexes.entries()) {
    const location = locationOf(half, cpData, index);
    if (location === null) lost.push({ index: at, error: lacks(cpData.lbas[index]!) });
    else {
      found.push(at);
      locations.push(location);
    }
  }
  const wanted = found.map((at) => outs[at]!);
  const isRight = hashChecker(core, cpData.hashes, (at) => indexes[found[at]!]! * 4);
  for (const { index, error } of await core.log.readBlocks(locations, wanted, isRight))
    lost.push({ index: found[index]!, error });
  return lost;
}

function lacks(lba: number): MirrorvolError {
  return new MirrorvolError("ERR_LOG_LACKS", `the log has no entry with the content of block ${lba}`);
}

/** Is there an entry in the half's part of the log whose content for this block is the one the CP data names? */
function locationOf(half: HalfIndex, cpData: CpData, index: number): number | null {
  const found = half.index.find(cpData.lbas[index]!);
  if (found?.kind !== "block") return null;
  return hashEquals(half.index.hashes, found.slot * 4, cpData.hashes, index * 4)
    ? half.index.locationAt(found.slot)
    : null;
}

/** Says whether a block is the one whose hash stands at `hashAt(index)`. */
export function hashChecker(
  core: VolumeCore,
  hashes: Uint32Array,
  hashAt: (index: number) => number,
): (index: number, block: Uint8Array) => boolean {
  const actual = new Uint32Array(4);
  return (index, block) => {
    core.kernel.hashBlock(block, actual);
    return hashEquals(actual, 0, hashes, hashAt(index));
  };
}
