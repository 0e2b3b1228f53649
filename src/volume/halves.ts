// The dirty indexes, one for each log half that matters: the active one, the sealed ones whose CP this side has
// not committed, and those that were committed but are kept because the mirror has not.
import { ENTRY_KIND_WRITE } from "../../assembly/format.ts";
import { assert } from "../kernel/errors.ts";
import type { LogPosition } from "../log/types.ts";
import type { CpData } from "./cp_data.ts";
import { DirtyIndex } from "./dirty_index.ts";
import type { PendingEntry } from "./pending.ts";

/** Trims up to this length are kept block by block, longer ones as extents. */
const TRIM_BLOCKS_MAX = 32;
const ZERO_HASH = new Uint32Array(4);

export interface HalfIndex {
  /** The CP that its seal makes. */
  readonly cp: number;
  readonly firstSequence: number;
  readonly index: DirtyIndex;
  seal: LogPosition | null;
  /** The seal has met its mode: the CP may run. */
  isSealAcknowledged: boolean;
  isCommitted: boolean;
}

/** Where a block's newest visible content is, as far as the log knows. */
export interface Found {
  readonly half: HalfIndex;
  readonly location: number;
  readonly hashes: Uint32Array;
  readonly hashAt: number;
  readonly isHole: boolean;
}

export class Halves {
  /** Oldest first; the last one is active. */
  #halves: HalfIndex[] = [];
  /** The last entry of the halves that are forgotten. */
  droppedThrough = 0;

  /** Begins anew: the next entry is firstSequence and belongs to CP cp. */
  reset(cp: number, firstSequence: number): void {
    this.#halves = [newHalf(cp, firstSequence)];
    this.droppedThrough = firstSequence - 1;
  }

  get active(): HalfIndex {
    return this.#halves[this.#halves.length - 1]!;
  }

  /** Sealed and not committed, oldest first. */
  get sealed(): HalfIndex[] {
    return this.#halves.filter((half) => half.seal !== null && !half.isCommitted);
  }

  /** A seal has met its mode, and its CP is not committed. */
  get isAnyDue(): boolean {
    return this.#halves.some((half) => half.isSealAcknowledged && !half.isCommitted);
  }

  get dirtyBlocks(): number {
    return this.#halves.reduce((sum, half) => (half.isCommitted ? sum : sum + half.index.count), 0);
  }

  /** Trims wait for their CP. */
  get hasTrims(): boolean {
    return this.#halves.some((half) => !half.isCommitted && half.index.hasTrims);
  }

  /** A seal was appended: what follows belongs to the next half. */
  seal(seal: LogPosition): HalfIndex {
    const half = this.active;
    half.seal = seal;
    this.#halves.push(newHalf(half.cp + 1, seal.sequence + 1));
    return half;
  }

  ofSequence(sequence: number): HalfIndex {
    for (let i = this.#halves.length - 1; i >= 0; i--) {
      if (this.#halves[i]!.firstSequence <= sequence) return this.#halves[i]!;
    }
    assert(false, `entry ${sequence} belongs to no half`);
  }

  /** Makes an entry's blocks visible. */
  apply(entry: PendingEntry): void {
    const { index } = this.ofSequence(entry.sequence);
    if (entry.kind === ENTRY_KIND_WRITE) {
      for (let i = 0; i < entry.count; i++) {
        index.putBlock(entry.lba + i, entry.sequence, entry.location + i, entry.hashes!, i * 4);
      }
    } else if (entry.count <= TRIM_BLOCKS_MAX) {
      for (let i = 0; i < entry.count; i++) index.putBlock(entry.lba + i, entry.sequence, 0, ZERO_HASH, 0);
    } else index.putTrim(entry.lba, entry.count, entry.sequence);
  }

  /** The newest visible entry for a block, or null: it is as the image has it. */
  find(lba: number): Found | null {
    for (let i = this.#halves.length - 1; i >= 0; i--) {
      const half = this.#halves[i]!;
      if (half.isCommitted) break;
      const found = half.index.find(lba);
      if (found === null) continue;
      if (found.kind === "trim") return { half, location: 0, hashes: ZERO_HASH, hashAt: 0, isHole: true };
      const { index } = half;
      const isHole = index.isHole(found.slot);
      return {
        half,
        location: index.locationAt(found.slot),
        hashes: index.hashes,
        hashAt: found.slot * 4,
        isHole,
      };
    }
    return null;
  }

  sequenceOf(lba: number): number {
    let newest = 0;
    for (const half of this.#halves)
      if (!half.isCommitted) newest = Math.max(newest, half.index.sequenceOf(lba));
    return newest;
  }

  /** The same, also of halves that are in the image and not forgotten. */
  newestOf(lba: number): number {
    return this.#halves.reduce((newest, { index }) => Math.max(newest, index.sequenceOf(lba)), 0);
  }

  cpData(cp: number): CpData | null {
    const half = this.#halves.find((each) => each.cp === cp && each.seal !== null);
    return half ? half.index.toCpData(cp, half.seal!, half.firstSequence) : null;
  }

  /** Forgets committed halves whose seal is not needed any more. */
  dropThrough(sequence: number): void {
    const isNeeded = ({ isCommitted, seal }: HalfIndex) => !isCommitted || seal!.sequence > sequence;
    for (const half of this.#halves) if (!isNeeded(half)) this.droppedThrough = half.seal!.sequence;
    this.#halves = this.#halves.filter(isNeeded);
  }
}

function newHalf(cp: number, firstSequence: number): HalfIndex {
  const index = new DirtyIndex();
  return { cp, firstSequence, index, seal: null, isSealAcknowledged: false, isCommitted: false };
}
