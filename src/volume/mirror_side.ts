// What a volume does as a mirror: it takes entries as they were encoded elsewhere, makes CPs when the source says
// so (from CP data together with the entries in its own log file), and adopts whole images to catch up.
//
// This is the storage access layer that the network administration unit (replication/cp_receiver) drives; the log
// is read through it and never by the receiver.
import {
  BLOCK_BYTES,
  ENTRY_BLOCK_COUNT,
  ENTRY_HEADER_BYTES,
  ENTRY_KIND,
  ENTRY_KIND_SEAL,
  ENTRY_LBA,
} from "../../assembly/format.ts";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import type { AppendedEntry } from "../log/types.ts";
import { hashesOf } from "./appender.ts";
import { workOffFreeList } from "./cleaner.ts";
import { contentFrom, readFromLog } from "./consistency_point.ts";
import type { VolumeCore } from "./core.ts";
import { applyCp, type ContentReader } from "./cp_apply.ts";
import type { CpData } from "./cp_data.ts";
import type { HalfIndex } from "./halves.ts";
import { adoptRemoteImage, emptyImage, type RemoteImage } from "./image_sync.ts";
import type { GenerationRecord } from "./superblock.ts";
import { hashEquals } from "./words.ts";

export interface CpApplication {
  /** Contents that the log lacks, asked from the source; in the order of lbas. */
  fetch(lbas: readonly number[]): Promise<Uint8Array[]>;
  readonly expectedRoot: Uint8Array;
}

export class MirrorSide {
  readonly #core: VolumeCore;

  constructor(core: VolumeCore) {
    this.#core = core;
  }

  /** An entry from the wire: into the log file, and once durable into the dirty index. null: no room now. */
  adopt(entry: Uint8Array): AppendedEntry | null {
    const core = this.#core;
    this.#checkEntry(entry);
    const appended = core.log.adopt(entry);
    if (appended === null) return null;
    const { sequence, location, view } = appended;
    // A source that gets back what it had lost: clients may have seen it.
    if (core.store.superblock.role === "source") core.setReplayed(sequence);
    const header = new DataView(view.buffer, view.byteOffset, ENTRY_HEADER_BYTES);
    const kind = header.getUint8(ENTRY_KIND);
    if (kind === ENTRY_KIND_SEAL) core.trackSeal(appended);
    else {
      const lba = Number(header.getBigUint64(ENTRY_LBA, true));
      const count = header.getUint32(ENTRY_BLOCK_COUNT, true);
      const payload = view.length > ENTRY_HEADER_BYTES ? view.subarray(ENTRY_HEADER_BYTES) : null;
      const hashes = payload === null ? null : hashesOf(core, payload, count);
      core.trackSilently({ sequence, kind, lba, count, location, mode: "sync", payload, hashes });
    }
    return appended;
  }

  /** Makes CP data.cp from the CP data together with the entries read back from the log file. */
  async applyConsistencyPoint(data: CpData, options: CpApplication): Promise<"committed" | "mismatch"> {
    const half = await this.#halfOf(data.cp);
    const { sequence, chain } = half.seal!;
    if (data.seal.sequence !== sequence || data.seal.chain !== chain) {
      const message = `CP ${data.cp} ends at entry ${data.seal.sequence}, but its seal in this log is ${sequence}`;
      throw new MirrorvolError("ERR_CP_SEAL", message);
    }
    return this.#apply(half, data, this.#readOrFetch(half, data, options), options.expectedRoot);
  }

  /** The same from this side's own index alone. expectedRoot null: commit whatever it is. */
  async applyOwnConsistencyPoint(
    cp: number,
    expectedRoot: Uint8Array | null,
  ): Promise<"committed" | "mismatch"> {
    const half = await this.#halfOf(cp);
    const data = half.index.toCpData(cp, half.seal!, half.firstSequence);
    return this.#apply(half, data, contentFrom(this.#core, half, data), expectedRoot);
  }

  /** Brings this side to the remote image, atomically; the log goes on behind the image's seal. */
  async adoptImage(
    remote: RemoteImage,
    history: readonly GenerationRecord[],
    signal?: AbortSignal,
  ): Promise<"committed" | "mismatch"> {
    const core = this.#core;
    const changes = { history, inSync: false, fencedBy: null };
    const adopt = () => adoptRemoteImage(core.store, remote, changes, signal);
    const result = await adopt().catch(async (error: unknown) => {
      if (!(error instanceof MirrorvolError) || error.code !== "ERR_NO_SPACE" || core.store.image.cp === 0)
        throw error;
      await this.#startOver();
      return adopt();
    });
    if (result === "mismatch") return result;
    const newest = history[history.length - 1]!;
    // A crash before the end of the reset is harmless: entries of the old log go on from the image's seal, or do not
    // chain to it, or belong to a generation that the history says had ended before them.
    await core.log.reset(remote.seal, { number: newest.number, id: newest.id });
    this.#goTo(remote.cp, remote.seal.sequence);
    core.emit("imageadopted", { cp: remote.cp, sequence: remote.seal.sequence });
    return result;
  }

  /**
   * There is no room for the old image and the new one together: this side becomes a mirror that never had any. It
   * is an empty CP 0 then, complete in its way, and cannot be promoted before it is in sync again. The log goes
   * first: a crash in between leaves the old image without what followed it, which nobody may rely on either,
   * because catching up has begun.
   */
  async #startOver(): Promise<void> {
    const { store, log } = this.#core;
    await log.reset({ sequence: 0, chain: 0n }, log.generation);
    await emptyImage(store, { inSync: false, everInSync: false });
    this.#goTo(0, 0);
    while (store.hasFreeWork) await workOffFreeList(store);
    this.#core.emit("startedover", {});
  }

  /** Everything up to that CP's seal is in the image; nothing is in the log. */
  #goTo(cp: number, sequence: number): void {
    const { halves, pending } = this.#core;
    halves.reset(cp + 1, sequence + 1);
    pending.reset(sequence);
    this.#core.setReplayed(0);
    this.#core.setLocal(sequence);
  }

  async #apply(
    half: HalfIndex,
    data: CpData,
    read: ContentReader,
    expectedRoot: Uint8Array | null,
  ): Promise<"committed" | "mismatch"> {
    const core = this.#core;
    const startMs = core.world.clock.nowMs();
    const onCommitted = () => {
      half.isCommitted = true;
    };
    const result = await applyCp(core.store, data, { read, expectedRoot, onCommitted });
    if (result === "mismatch") return result;
    core.freeHalves();
    core.emit("consistencypoint", {
      cp: data.cp,
      blocks: data.count,
      ms: core.world.clock.nowMs() - startMs,
    });
    return result;
  }

  /** The oldest sealed half, once all of it is durable; CPs are made in order. */
  async #halfOf(cp: number): Promise<HalfIndex> {
    const core = this.#core;
    const half = core.halves.sealed[0];
    if (half?.cp !== cp) {
      const next = half ? `the next one is CP ${half.cp}` : "no half is sealed";
      throw new MirrorvolError("ERR_CP_ORDER", `CP ${cp} cannot be made now: ${next}`);
    }
    await core.log.whenDurable(half.seal!.sequence);
    // Nothing is acknowledged while the loss of a member is being recorded.
    if (!half.isSealAcknowledged) await core.barrier();
    assert(half.isSealAcknowledged, `the seal of CP ${cp} is durable but not acknowledged`);
    return half;
  }

  #readOrFetch(half: HalfIndex, data: CpData, options: CpApplication): ContentReader {
    return async (indexes, outs) => {
      const missing: number[] = [];
      for (const { index, error } of await readFromLog(this.#core, half, data, indexes, outs)) {
        const code = error instanceof MirrorvolError ? error.code : "";
        if (code !== "ERR_LOG_CORRUPT" && code !== "ERR_LOG_LACKS") throw error;
        missing.push(index);
      }
      if (missing.length === 0) return;
      missing.sort((a, b) => a - b);
      const lbas = missing.map((i) => data.lbas[indexes[i]!]!);
      const blocks = await options.fetch(lbas);
      for (const [at, i] of missing.entries()) {
        outs[i]!.set(this.#verified(lbas[at]!, data, indexes[i]!, blocks[at]));
      }
      this.#core.emit("blocksfetched", { cp: data.cp, blocks: missing.length });
    };
  }

  #verified(lba: number, data: CpData, index: number, block: Uint8Array | undefined): Uint8Array {
    const hash = new Uint32Array(4);
    if (block?.length === BLOCK_BYTES) this.#core.kernel.hashBlock(block, hash);
    if (block && hashEquals(hash, 0, data.hashes, index * 4)) return block;
    throw new MirrorvolError(
      "ERR_REMOTE_BLOCK",
      `block ${lba} came from the source with another content than its hash`,
    );
  }

  /**
   * What the log cannot know is checked before the entry gets into it: a seal carries the number of the CP that is
   * next here, an extent lies within the volume. (Whether the header is sound, the log finds out.)
   */
  #checkEntry(entry: Uint8Array): void {
    if (entry.length < ENTRY_HEADER_BYTES) return;
    const header = new DataView(entry.buffer, entry.byteOffset, entry.byteLength);
    const lba = Number(header.getBigUint64(ENTRY_LBA, true));
    if (entry[ENTRY_KIND] === ENTRY_KIND_SEAL) {
      const expected = this.#core.halves.active.cp;
      if (lba === expected) return;
      throw new MirrorvolError("ERR_CP_ORDER", `a seal for CP ${lba} where CP ${expected} is next`);
    }
    const end = lba + header.getUint32(ENTRY_BLOCK_COUNT, true);
    const { sizeBlocks } = this.#core.store.superblock;
    if (end <= sizeBlocks) return;
    const message = `an entry for blocks ${lba} to ${end - 1} of a volume of ${sizeBlocks}`;
    throw new MirrorvolError("ERR_ENTRY_RANGE", message);
  }
}
