// Reading what is visible: the dirty indexes first (newest half first), then the image; every block verified.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { hashChecker } from "./consistency_point.ts";
import type { VolumeCore } from "./core.ts";
import type { Found } from "./halves.ts";
import { copyWords } from "./words.ts";

/** A block whose newest content is in the log. */
interface InLog {
  readonly lba: number;
  readonly found: Found;
  readonly out: Uint8Array;
}

export class VolumeReader {
  readonly #core: VolumeCore;

  constructor(core: VolumeCore) {
    this.#core = core;
  }

  /** Bytes [offset, offset + length), whatever their alignment. */
  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    if (length === 0) return new Uint8Array(0);
    const first = Math.floor(offset / BLOCK_BYTES);
    const count = Math.ceil((offset + length) / BLOCK_BYTES) - first;
    const bytes = new Uint8Array(count * BLOCK_BYTES);
    await this.#core.pass(signal);
    await this.#core.reading.add(this.#readBlocks(first, count, bytes, signal));
    const skip = offset - first * BLOCK_BYTES;
    return bytes.subarray(skip, skip + length);
  }

  /** One whole block. */
  readBlock(lba: number, out: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#core.reading.add(this.#readBlocks(lba, 1, out, signal));
  }

  async #readBlocks(first: number, count: number, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    this.#refuseInDoubt(first, count);
    const lbas: number[] = [];
    const outs: Uint8Array[] = [];
    const fromLog: InLog[] = [];
    for (let i = 0; i < count; i++) {
      const out = bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
      const found = this.#core.halves.find(first + i);
      if (found === null) {
        lbas.push(first + i);
        outs.push(out);
      } else if (!found.isHole) fromLog.push({ lba: first + i, found, out });
      else out.fill(0);
    }
    if (fromLog.length === 0) return this.#core.store.readBlocks(lbas, outs, signal);
    const fromImage = lbas.length > 0 ? this.#core.store.readBlocks(lbas, outs, signal) : null;
    // All of them settle before an error is passed on: nothing writes into the buffer afterwards.
    for (const result of await Promise.allSettled([fromImage, this.#readFromLog(fromLog, signal)])) {
      if (result.status === "rejected") throw result.reason;
    }
  }

  async #readFromLog(blocks: readonly InLog[], signal?: AbortSignal): Promise<void> {
    // The indexes go on changing.
    const hashes = new Uint32Array(blocks.length * 4);
    for (const [at, { found }] of blocks.entries()) copyWords(found.hashes, found.hashAt, hashes, at * 4, 4);
    const isRight = hashChecker(this.#core, hashes, (at) => at * 4);
    const locations = blocks.map(({ found }) => found.location);
    const outs = blocks.map(({ out }) => out);
    for (const { index, error } of await this.#core.log.readBlocks(locations, outs, isRight)) {
      const { lba, found, out } = blocks[index]!;
      // The half's CP may have been committed meanwhile, and the half used again: the image has the block then.
      if (!found.half.isCommitted) throw error;
      await this.#readBlocks(lba, 1, out, signal);
    }
  }

  /** A block that a newer entry has made visible meanwhile is in no doubt. */
  #refuseInDoubt(first: number, count: number): void {
    const { pending, halves } = this.#core;
    for (const { lba, count: blocks, sequence } of pending.inDoubtOver(first, count)) {
      const end = Math.min(lba + blocks, first + count);
      for (let each = Math.max(lba, first); each < end; each++) {
        if (halves.sequenceOf(each) > sequence) continue;
        const extent = `blocks ${lba} to ${lba + blocks - 1}`;
        throw new MirrorvolError(
          "ERR_IN_DOUBT",
          `${extent} are in doubt: entry ${sequence} is not confirmed`,
        );
      }
    }
  }
}
