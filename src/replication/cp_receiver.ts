// The mirror's network administration unit: it receives CP data and drives the volume's storage access layer.
// It is a sibling of the file system layer (the log): neither calls the other. Entries are read back from the
// log file by the volume, below; this unit never touches the log.
//
// Invariants:
//   - CP data are gathered piece by piece, each piece checked on arrival: ascending block numbers within the
//     volume, no more of them than were announced, no more announced than a log half can hold;
//   - consistency points are made one at a time, in the order of arrival;
//   - blocks that the log lacks are fetched from the source, which keeps image n until n is acknowledged;
//   - after `stop` nothing of this unit runs any more, and nothing is reported.

import { SECTOR_BYTES } from "../../assembly/format.ts";
import {
  CP_BLOCK_BYTES,
  CP_BLOCK_HASH,
  CP_BLOCK_LBA,
  CP_TRIM_BYTES,
  SEALS_MAX,
} from "../../assembly/wire_format.ts";
import { wordsOf } from "../volume/words.ts";
import { wireFault } from "./fields.ts";
import type { BodyOf } from "./messages.ts";
import type { CpData, ReplicatedVolume } from "./port.ts";

export interface CpReceiverOptions {
  readonly volume: ReplicatedVolume;
  readonly bounds: CpBounds;
  /** Blocks of the source's image of that consistency point. */
  readonly fetch: (cp: number, lbas: readonly number[]) => Promise<Uint8Array[]>;
  readonly report: (ack: BodyOf<"cpAck">) => void;
}

/** What CP data can be at most. */
export interface CpBounds {
  readonly sizeBlocks: number;
  readonly blocksMax: number;
  readonly trimsMax: number;
}

/** Each entry takes a sector of a half at least; a short trim may touch so many blocks one by one. */
const BLOCKS_PER_SECTOR_MAX = 32;

export function cpBounds(sizeBlocks: number, halfBytes: number): CpBounds {
  const sectors = Math.ceil(halfBytes / SECTOR_BYTES);
  const blocksMax = Math.min(sizeBlocks, sectors * BLOCKS_PER_SECTOR_MAX);
  return { sizeBlocks, blocksMax, trimsMax: Math.min(sizeBlocks, sectors) };
}

type Job =
  | { readonly cp: number; readonly data: CpData; readonly root: Uint8Array }
  | { readonly cp: number; readonly data: null; readonly root: Uint8Array | null };

export class CpReceiver {
  readonly #options: CpReceiverOptions;
  #gathering: CpGathering | null = null;
  #jobs: Job[] = [];
  #running: Promise<void> | null = null;
  #isStopped = false;
  #newest = 0;

  constructor(options: CpReceiverOptions) {
    this.#options = options;
  }

  onBegin(begin: BodyOf<"cpBegin">): void {
    if (this.#gathering !== null) throw wireFault(`CP ${begin.cp} begins within another`);
    this.#checkOrder(begin.cp);
    this.#gathering = new CpGathering(begin, this.#options.bounds);
  }

  onTrims({ cp, trims }: BodyOf<"cpTrims">): void {
    this.#gatheringOf(cp).addTrims(trims);
  }

  onBlocks({ cp, blocks }: BodyOf<"cpBlocks">): void {
    this.#gatheringOf(cp).addBlocks(blocks);
  }

  onEnd({ cp, root }: BodyOf<"cpEnd">): void {
    const data = this.#gatheringOf(cp).finish();
    this.#gathering = null;
    this.#enqueue({ cp, data, root });
  }

  onOwn({ cp, root }: BodyOf<"cpOwn">): void {
    if (this.#gathering !== null) throw wireFault(`CP ${cp} comes within another`);
    this.#checkOrder(cp);
    this.#enqueue({ cp, data: null, root });
  }

  /** Makes no more consistency points; resolves when the one that is being made has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#jobs = [];
    await this.#running;
  }

  #checkOrder(cp: number): void {
    if (cp <= this.#newest) throw wireFault(`CP ${cp} comes after CP ${this.#newest}`);
    this.#newest = cp;
  }

  #gatheringOf(cp: number): CpGathering {
    if (this.#gathering?.cp !== cp) throw wireFault(`CP data of ${cp}, which did not begin`);
    return this.#gathering;
  }

  #enqueue(job: Job): void {
    if (this.#jobs.length >= SEALS_MAX) throw wireFault("more consistency points than seals can be");
    this.#jobs.push(job);
    this.#running ??= this.#run();
  }

  /** The last look at the jobs and the end of the loop are one synchronous step: no job is left lying. */
  async #run(): Promise<void> {
    await null;
    try {
      for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
        const ack = await this.#make(job);
        if (this.#isStopped) return;
        this.#options.report(ack);
        if (ack.outcome !== "committed") this.#jobs = [];
      }
    } finally {
      this.#running = null;
    }
  }

  async #make(job: Job): Promise<BodyOf<"cpAck">> {
    const { volume } = this.#options;
    const { cp } = job;
    try {
      const outcome = await (job.data === null
        ? volume.applyOwnConsistencyPoint(cp, job.root)
        : volume.applyConsistencyPoint(job.data, this.#applicationOf(cp, job.root)));
      const text = outcome === "mismatch" ? "the root hashes differ" : "";
      return { cp, outcome, root: volume.rootHash, text };
    } catch (error) {
      return { cp, outcome: "failed", root: volume.rootHash, text: String(error) };
    }
  }

  #applicationOf(cp: number, expectedRoot: Uint8Array) {
    const fetch = (lbas: readonly number[]) => this.#options.fetch(cp, lbas);
    return { fetch, expectedRoot };
  }
}

/** CP data on their way in. Memory grows with what has arrived, not with what was announced. */
class CpGathering {
  readonly cp: number;
  readonly #begin: BodyOf<"cpBegin">;
  readonly #sizeBlocks: number;
  readonly #pieces: Uint8Array[] = [];
  #blocks = 0;
  #newestLba = -1;
  readonly #trims: { lba: number; count: number }[] = [];

  constructor(begin: BodyOf<"cpBegin">, { sizeBlocks, blocksMax, trimsMax }: CpBounds) {
    const isPossible = begin.blocks <= blocksMax && begin.trims <= trimsMax;
    if (!isPossible) throw wireFault(`CP ${begin.cp} changes ${begin.blocks} blocks, ${begin.trims} extents`);
    this.cp = begin.cp;
    this.#begin = begin;
    this.#sizeBlocks = sizeBlocks;
  }

  addBlocks(piece: Uint8Array): void {
    const count = piece.length / CP_BLOCK_BYTES;
    if (this.#blocks + count > this.#begin.blocks) throw wireFault(`CP ${this.cp}: too many blocks`);
    const view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength);
    for (let index = 0; index < count; index++) {
      const lba = Number(view.getBigUint64(index * CP_BLOCK_BYTES + CP_BLOCK_LBA, true));
      if (lba <= this.#newestLba || lba >= this.#sizeBlocks) {
        throw wireFault(`CP ${this.cp}: block ${lba} after ${this.#newestLba}`);
      }
      this.#newestLba = lba;
    }
    this.#blocks += count;
    this.#pieces.push(piece);
  }

  addTrims(piece: Uint8Array): void {
    const count = piece.length / CP_TRIM_BYTES;
    if (this.#trims.length + count > this.#begin.trims) throw wireFault(`CP ${this.cp}: too many extents`);
    const view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength);
    for (let at = 0; at < piece.length; at += CP_TRIM_BYTES) {
      this.#addTrim(Number(view.getBigUint64(at, true)), Number(view.getBigUint64(at + 8, true)));
    }
  }

  #addTrim(lba: number, count: number): void {
    const before = this.#trims[this.#trims.length - 1];
    const from = before === undefined ? 0 : before.lba + before.count;
    if (lba < from || count < 1 || count > this.#sizeBlocks - lba) {
      throw wireFault(`CP ${this.cp}: an extent of ${count} blocks at ${lba}, after ${from}`);
    }
    this.#trims.push({ lba, count });
  }

  finish(): CpData {
    const { cp, seal, firstSequence, blocks, trims } = this.#begin;
    if (this.#blocks !== blocks || this.#trims.length !== trims) {
      throw wireFault(
        `CP ${cp} ends with ${this.#blocks} of ${blocks} blocks, ${this.#trims.length} of ${trims} extents`,
      );
    }
    const lbas = new Float64Array(blocks);
    const hashes = new Uint32Array(blocks * 4);
    let next = 0;
    for (const piece of this.#pieces) {
      const view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength);
      for (let at = 0; at < piece.length; at += CP_BLOCK_BYTES, next++) {
        lbas[next] = Number(view.getBigUint64(at + CP_BLOCK_LBA, true));
        const hash = piece.slice(at + CP_BLOCK_HASH, at + CP_BLOCK_BYTES);
        hashes.set(wordsOf(hash), next * 4);
      }
    }
    return { cp, seal, firstSequence, count: blocks, lbas, hashes, trims: this.#trims };
  }
}
