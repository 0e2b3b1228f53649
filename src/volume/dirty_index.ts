// The dirty index of one half: for every block that the half's entries changed, where its newest content lies in
// the log and what it hashes to. Blocks stand in an open-addressing table of typed arrays (48 bytes a slot),
// trims as extents, whatever their length.
//
// Which is newer, an extent or a block under it, is told by their sequences. Entries come in order of sequence,
// but may become visible out of order (modes differ): an older one never replaces a newer one.
import type { CpData, TrimExtent } from "./cp_data.ts";
import { copyWords, hashIsZero } from "./words.ts";

const SLOTS_MIN = 64;
const EMPTY = -1;

interface Extent {
  readonly start: number;
  readonly end: number;
  readonly sequence: number;
}

/** What the index knows of a block. */
export type DirtyBlock = { readonly kind: "block"; readonly slot: number } | { readonly kind: "trim" };

export class DirtyIndex {
  #slots = SLOTS_MIN;
  #count = 0;
  #lbas = new Float64Array(SLOTS_MIN).fill(EMPTY);
  #sequences = new Float64Array(SLOTS_MIN);
  #locations = new Float64Array(SLOTS_MIN);
  #hashes = new Uint32Array(SLOTS_MIN * 4);
  /** Ascending, disjoint. */
  #trims: Extent[] = [];

  /** Blocks in the index. */
  get count(): number {
    return this.#count;
  }

  get isEmpty(): boolean {
    return this.#count === 0 && this.#trims.length === 0;
  }

  get hasTrims(): boolean {
    return this.#trims.length > 0;
  }

  putBlock(lba: number, sequence: number, location: number, hash: Uint32Array, hashAt: number): void {
    if ((this.#count + 1) * 2 > this.#slots) this.#grow();
    const slot = this.#slotOf(lba);
    if (this.#lbas[slot] === EMPTY) {
      this.#lbas[slot] = lba;
      this.#count++;
    } else if (this.#sequences[slot]! > sequence) return;
    this.#sequences[slot] = sequence;
    this.#locations[slot] = location;
    for (let i = 0; i < 4; i++) this.#hashes[slot * 4 + i] = hash[hashAt + i]!;
  }

  putTrim(lba: number, count: number, sequence: number): void {
    const end = lba + count;
    const first = this.#trimFrom(lba);
    let last = first;
    const pieces: Extent[] = [];
    let from = lba;
    for (; last < this.#trims.length && this.#trims[last]!.start < end; last++) {
      const extent = this.#trims[last]!;
      if (extent.sequence < sequence) {
        if (extent.start < lba) pieces.push({ ...extent, end: lba });
        if (extent.end <= end) continue;
        pieces.push({ start: from, end, sequence }, { ...extent, start: end });
        from = end;
      } else {
        if (extent.start > from) pieces.push({ start: from, end: extent.start, sequence });
        pieces.push(extent);
        from = Math.max(from, extent.end);
      }
    }
    if (from < end) pieces.push({ start: from, end, sequence });
    this.#trims.splice(first, last - first, ...pieces);
  }

  /** The newest thing known of a block, or null. */
  find(lba: number): DirtyBlock | null {
    const slot = this.#slotOf(lba);
    const isBlock = this.#lbas[slot] !== EMPTY;
    const trim = this.#trimAt(lba);
    if (trim !== null && (!isBlock || trim.sequence > this.#sequences[slot]!)) return { kind: "trim" };
    return isBlock ? { kind: "block", slot } : null;
  }

  /** Sequence of the newest entry that changed the block, 0 if none did. */
  sequenceOf(lba: number): number {
    const slot = this.#slotOf(lba);
    const block = this.#lbas[slot] === EMPTY ? 0 : this.#sequences[slot]!;
    return Math.max(block, this.#trimAt(lba)?.sequence ?? 0);
  }

  locationAt(slot: number): number {
    return this.#locations[slot]!;
  }

  /** The hashes of all slots; a block's stands at slot * 4. */
  get hashes(): Uint32Array {
    return this.#hashes;
  }

  /** What the half changed in all, as CP data: trims first, then the blocks that no later trim covers, ascending. */
  toCpData(cp: number, seal: { sequence: number; chain: bigint }, firstSequence: number): CpData {
    const found = new Float64Array(this.#count);
    let count = 0;
    for (let slot = 0; slot < this.#slots; slot++) {
      const lba = this.#lbas[slot]!;
      if (lba === EMPTY) continue;
      const trim = this.#trims.length === 0 ? null : this.#trimAt(lba);
      if (trim === null || trim.sequence < this.#sequences[slot]!) found[count++] = lba;
    }
    // Numbers alone, and each looked up again: far cheaper than to sort slots by what they hold.
    const lbas = found.subarray(0, count).sort();
    const hashes = new Uint32Array(count * 4);
    for (let i = 0; i < count; i++) copyWords(this.#hashes, this.#slotOf(lbas[i]!) * 4, hashes, i * 4, 4);
    return { cp, seal, firstSequence, count, lbas, hashes, trims: this.#mergedTrims() };
  }

  isHole(slot: number): boolean {
    return hashIsZero(this.#hashes, slot * 4);
  }

  #mergedTrims(): TrimExtent[] {
    const merged: TrimExtent[] = [];
    for (const { start, end } of this.#trims) {
      const last = merged[merged.length - 1];
      if (last && last.lba + last.count === start)
        merged[merged.length - 1] = { lba: last.lba, count: end - last.lba };
      else merged.push({ lba: start, count: end - start });
    }
    return merged;
  }

  /** Index of the first extent that ends behind lba. */
  #trimFrom(lba: number): number {
    let low = 0;
    let high = this.#trims.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#trims[middle]!.end <= lba) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #trimAt(lba: number): Extent | null {
    const extent = this.#trims[this.#trimFrom(lba)];
    return extent && extent.start <= lba ? extent : null;
  }

  /** Where the block is or would be. */
  #slotOf(lba: number): number {
    const mask = this.#slots - 1;
    let slot = (Math.imul(lba % 0x7fffffff, 0x9e3779b1) ^ Math.floor(lba / 0x7fffffff)) & mask;
    slot = (slot ^ (slot >>> 7)) & mask;
    while (this.#lbas[slot] !== EMPTY && this.#lbas[slot] !== lba) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const { lbas, sequences, locations, hashes } = {
      lbas: this.#lbas,
      sequences: this.#sequences,
      locations: this.#locations,
      hashes: this.#hashes,
    };
    this.#slots *= 2;
    this.#count = 0;
    this.#lbas = new Float64Array(this.#slots).fill(EMPTY);
    this.#sequences = new Float64Array(this.#slots);
    this.#locations = new Float64Array(this.#slots);
    this.#hashes = new Uint32Array(this.#slots * 4);
    for (let slot = 0; slot < lbas.length; slot++) {
      if (lbas[slot] !== EMPTY)
        this.putBlock(lbas[slot]!, sequences[slot]!, locations[slot]!, hashes, slot * 4);
    }
  }
}
