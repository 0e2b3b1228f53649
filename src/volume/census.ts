// What the maps refer to, gathered while they are walked, and compared with what the container map and the run
// summaries say. It must be small, because it is in proportion to the blocks in use:
//
//   references   8 bytes for each vvbn that is referred to: vvbn * 256 + shape, sorted before they are compared
//   places       a bit for each place of the members: something lives there, and no summary has described it yet
//   digest       of all (vvbn, hash) of the maps, minus those of the summaries: zero when they agree
//
// The shape of a block is its kind and its level in one byte. What stands in the free list as a single block has no
// shape: the list does not say what it was.
import { CONTAINER_LEAF_FANOUT } from "../../assembly/format.ts";

export const ANY_SHAPE = 7;
const SHAPES = 256;
const FIRST_CAPACITY = 4096;

export function shapeOf(kind: number, level: number): number {
  return kind | (level << 3);
}

/** All vvbns that something refers to, once sorted; and a place in them, for whoever walks vvbns in order. */
export class References {
  #packed = new Float64Array(FIRST_CAPACITY);
  #count = 0;
  #next = 0;

  get count(): number {
    return this.#count;
  }

  add(vvbn: number, shape: number): void {
    if (this.#count === this.#packed.length) {
      const larger = new Float64Array(this.#packed.length * 2);
      larger.set(this.#packed);
      this.#packed = larger;
    }
    this.#packed[this.#count++] = vvbn * SHAPES + shape;
  }

  /** Sorts; calls back for each vvbn that stands there more than once. */
  sort(onTwice: (vvbn: number) => void): void {
    this.#packed = this.#packed.subarray(0, this.#count).sort();
    for (let i = 1; i < this.#count; i++)
      if (this.#vvbnAt(i) === this.#vvbnAt(i - 1)) onTwice(this.#vvbnAt(i));
  }

  /** Passes over the references before `vvbn`, with a call for each, and over those to it; true if there are any. */
  passTo(vvbn: number, onPassed: (vvbn: number, shape: number) => void): boolean {
    while (this.#next < this.#count && this.#vvbnAt(this.#next) < vvbn) this.#pass(onPassed);
    const isThere = this.#next < this.#count && this.#vvbnAt(this.#next) === vvbn;
    while (this.#next < this.#count && this.#vvbnAt(this.#next) === vvbn) this.#next++;
    return isThere;
  }

  passToEnd(onPassed: (vvbn: number, shape: number) => void): void {
    while (this.#next < this.#count) this.#pass(onPassed);
  }

  /** The shape of a vvbn, or -1 when nothing refers to it. */
  shapeOf(vvbn: number): number {
    let low = 0;
    let high = this.#count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const found = this.#vvbnAt(middle);
      if (found === vvbn) return this.#packed[middle]! % SHAPES;
      if (found < vvbn) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  #pass(onPassed: (vvbn: number, shape: number) => void): void {
    onPassed(this.#vvbnAt(this.#next), this.#packed[this.#next]! % SHAPES);
    this.#next++;
  }

  #vvbnAt(index: number): number {
    return Math.floor(this.#packed[index]! / SHAPES);
  }
}

/** One bit for each place (stripe and slot) of the members. */
export class Places {
  readonly #bits: Uint8Array;
  readonly #slots: number;

  constructor(stripes: number, slots: number) {
    this.#bits = new Uint8Array(Math.ceil((stripes * slots) / 8));
    this.#slots = slots;
  }

  /** False if it was taken already. */
  take(stripe: number, slot: number): boolean {
    const [byte, bit] = this.#at(stripe, slot);
    if (this.#bits[byte]! & bit) return false;
    this.#bits[byte]! |= bit;
    return true;
  }

  /** True if it had been taken. */
  give(stripe: number, slot: number): boolean {
    const [byte, bit] = this.#at(stripe, slot);
    if ((this.#bits[byte]! & bit) === 0) return false;
    this.#bits[byte]! &= ~bit;
    return true;
  }

  #at(stripe: number, slot: number): [byte: number, bit: number] {
    const index = stripe * this.#slots + slot;
    return [Math.floor(index / 8), 1 << (index % 8)];
  }
}

/** A sum over (vvbn, hash) that does not depend on their order. */
export class Digest {
  readonly #sums = new Uint32Array(4);

  add(vvbn: number, hash: Uint32Array, at: number): void {
    this.#fold(vvbn, hash, at, 1);
  }

  subtract(vvbn: number, hash: Uint32Array, at: number): void {
    this.#fold(vvbn, hash, at, -1);
  }

  get isZero(): boolean {
    return this.#sums.every((sum) => sum === 0);
  }

  /** The vvbn is made odd and spread first, so that two hashes cannot have changed places. */
  #fold(vvbn: number, hash: Uint32Array, at: number, sign: number): void {
    const leaf = Math.floor(vvbn / CONTAINER_LEAF_FANOUT);
    const factor = Math.imul(vvbn % CONTAINER_LEAF_FANOUT, 0x9e3779b1) + Math.imul(leaf, 0x85ebca6b);
    for (let lane = 0; lane < 4; lane++) {
      this.#sums[lane]! += sign * Math.imul(hash[at + lane]!, factor * 2 + 1);
    }
  }
}
