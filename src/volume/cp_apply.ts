// A consistency point in the store: the changed blocks, newest content of each, go through the RAID layer, the
// block map follows, the root hash is compared, the commit makes it exist. Both sides run this: the source with
// CP data from its own dirty index, the mirror with CP data from the source; both read the contents from their
// log file.
import { BLOCK_BYTES, RECORD_KIND_DATA } from "../../assembly/format.ts";
import { MapSweep } from "./block_map.ts";
import { clean, segmentsFor } from "./cleaner.ts";
import type { CpData } from "./cp_data.ts";
import type { Store } from "./store.ts";
import type { SuperblockChanges } from "./superblock_keeper.ts";
import type { Transaction } from "./transaction.ts";
import { bytesEqual, hashIsZero } from "./words.ts";

/** Fills outs with the contents of the blocks cpData.lbas[index] for the indexes, verified against their hashes. */
export type ContentReader = (indexes: readonly number[], outs: readonly Uint8Array[]) => Promise<void>;

export interface ApplyOptions {
  readonly read: ContentReader;
  /** The image must have this root hash, or it is not committed. null: whatever it is. */
  readonly expectedRoot: Uint8Array | null;
  /** Called with the root hash before the commit. */
  readonly onRoot?: (root: Uint8Array) => void;
  /** Called when the commit exists, before anybody else may make another one. */
  readonly onCommitted?: (root: Uint8Array) => void;
  readonly changes?: SuperblockChanges;
}

const BATCH_BLOCKS = 256;
const ZERO_HASH = new Uint32Array(4);

/** Makes CP cpData.cp. "mismatch": the root differs from the expected one, nothing was committed. */
export function applyCp(
  store: Store,
  cpData: CpData,
  options: ApplyOptions,
): Promise<"committed" | "mismatch"> {
  return store.commitLock.run(async () => {
    // A trim changes two leaves at most; what lies between them is cut off whole.
    await clean(store, segmentsFor(store, cpData.count + 2 * cpData.trims.length));
    const isCommitted = await store.transact(cpData.cp, async (transaction) => {
      const sweep = new MapSweep(transaction, transaction.mapRoot, store.superblock.sizeBlocks);
      await new CpWriter(transaction, sweep, cpData, options.read).run();
      await sweep.finish();
      const root = store.rootHash({ ...store.image, mapRoot: transaction.mapRoot });
      options.onRoot?.(root);
      if (options.expectedRoot !== null && !bytesEqual(root, options.expectedRoot)) return null;
      const { sequence: appliedSequence, chain: appliedChain } = cpData.seal;
      return { cp: cpData.cp, appliedSequence, appliedChain, changes: options.changes };
    });
    if (!isCommitted) return "mismatch";
    options.onCommitted?.(store.rootHash());
    return "committed";
  });
}

/** Trims and blocks in one ascending pass: a trim is cut around the newer blocks in it. */
class CpWriter {
  readonly #transaction: Transaction;
  readonly #sweep: MapSweep;
  readonly #data: CpData;
  readonly #read: ContentReader;
  readonly #outs: readonly Uint8Array[];

  constructor(transaction: Transaction, sweep: MapSweep, data: CpData, read: ContentReader) {
    this.#transaction = transaction;
    this.#sweep = sweep;
    this.#data = data;
    this.#read = read;
    const count = Math.min(BATCH_BLOCKS, data.count);
    const bytes = new Uint8Array(count * BLOCK_BYTES);
    this.#outs = Array.from({ length: count }, (_, i) =>
      bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES),
    );
  }

  async run(): Promise<void> {
    let next = 0;
    for (const trim of this.#data.trims) {
      next = await this.#writeBlocks(next, trim.lba);
      next = await this.#trimAround(trim.lba, trim.lba + trim.count, next);
    }
    await this.#writeBlocks(next, Number.POSITIVE_INFINITY);
  }

  async #trimAround(start: number, end: number, first: number): Promise<number> {
    const { lbas, count } = this.#data;
    let from = start;
    let next = first;
    while (next < count && lbas[next]! < end) {
      const lba = lbas[next]!;
      if (lba > from) await this.#sweep.trim(from, lba - from);
      let run = next;
      while (run < count && lbas[run]! < end && lbas[run]! === lba + (run - next)) run++;
      from = lba + (run - next);
      next = await this.#writeBlocks(next, from);
    }
    if (from < end) await this.#sweep.trim(from, end - from);
    return next;
  }

  /** Writes the blocks from index `first` up to lba `end`; returns the next index. */
  async #writeBlocks(first: number, end: number): Promise<number> {
    const { lbas, count } = this.#data;
    let next = first;
    while (next < count && lbas[next]! < end) {
      let last = next;
      while (last < count && lbas[last]! < end && last - next < BATCH_BLOCKS) last++;
      await this.#writeBatch(next, last);
      next = last;
    }
    return next;
  }

  async #writeBatch(first: number, last: number): Promise<void> {
    const { lbas, hashes } = this.#data;
    const changed: number[] = [];
    for (let i = first; i < last; i++) {
      const leaf = this.#sweep.openLeafOf(lbas[i]!) ?? (await this.#sweep.leafOf(lbas[i]!));
      if (!this.#sweep.holds(leaf, lbas[i]!, hashes, i * 4)) changed.push(i);
    }
    const filled = changed.filter((i) => !hashIsZero(hashes, i * 4));
    if (filled.length > 0) await this.#read(filled, this.#outs.slice(0, filled.length));
    let out = 0;
    for (const i of changed) {
      const block = hashIsZero(hashes, i * 4) ? null : this.#outs[out++]!;
      const put = putBlock(this.#transaction, this.#sweep, lbas[i]!, hashes.slice(i * 4, i * 4 + 4), block);
      if (put !== undefined) await put;
    }
  }
}

/** Gives a block new content; null: zeros. A promise only where something has to be waited for. */
export function putBlock(
  transaction: Transaction,
  sweep: MapSweep,
  lba: number,
  hash: Uint32Array,
  block: Uint8Array | null,
): Promise<void> | undefined {
  const vvbn = block === null ? 0 : transaction.placeNewNow(RECORD_KIND_DATA, 0, hash, block);
  const leaf = vvbn === null ? null : sweep.openLeafOf(lba);
  if (vvbn === null || leaf === null) return putWaiting(transaction, sweep, lba, hash, block, vvbn);
  sweep.set(leaf, lba, vvbn, block === null ? ZERO_HASH : hash, 0);
  return undefined;
}

async function putWaiting(
  transaction: Transaction,
  sweep: MapSweep,
  lba: number,
  hash: Uint32Array,
  block: Uint8Array | null,
  placed: number | null,
): Promise<void> {
  const vvbn = placed ?? (await transaction.placeNew(RECORD_KIND_DATA, 0, hash, block!));
  sweep.set(await sweep.leafOf(lba), lba, vvbn, block === null ? ZERO_HASH : hash, 0);
}
