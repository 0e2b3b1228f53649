// Verified reads of healthy members. What fails here comes back as a list of faults, for repair.ts.
//
// Every block goes from the disk straight to where the caller wants it, and is verified there. Several blocks
// are sorted by member and stripe, and each member gets one batch; a disk joins what touches in a batch into
// one call. So that units of consecutive rows join although parity lies between them, a gap of up to
// GAP_BLOCKS_MAX blocks is read along into a waste buffer: a few kilobytes cost less than another call.
//
//     wanted on a member (k = 3, m = 1):   s0  s1  --  s3  s4        one disk read of five blocks,
//     batch:                               out out waste out out     the third is parity and thrown away
//
// Invariant: every block is verified before the read resolves; what is not verified is a fault.

import { BLOCK_BYTES, HASH_BYTES } from "../../assembly/format.ts";
import type { DiskOperation } from "../io/disk.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { slotOf, stripeOf } from "./geometry.ts";
import { MEMBER_MISSING, type Members } from "./members.ts";

/** One block to read, and how to know that it is the right one. */
export interface ReadRequest {
  readonly pvbn: number;
  /** BLOCK_BYTES bytes, in any memory. Their content is undefined when the read rejects. */
  readonly out: Uint8Array;
  /** The XXH3-128 of the stored block: four words from hashIndex. */
  readonly hash: Uint32Array;
  readonly hashIndex: number;
  /** Decides instead of the hash, for blocks that carry their own proof. */
  readonly verify?: (block: Uint8Array) => boolean;
}

/** A block that is not what it should be, and why. */
export interface Fault {
  readonly request: ReadRequest;
  readonly kind: "missing" | "unreadable" | "corrupt";
  readonly error: Error | null;
}

const HASH_WORDS = HASH_BYTES / 4;
/** As long as the longest run of parity on a member (PARITY_UNITS_MAX). */
const GAP_BLOCKS_MAX = 3;

export class Reader {
  readonly #kernel: Kernel;
  readonly #members: Members;
  readonly #dataOffset: number;
  readonly #found = new Uint32Array(HASH_WORDS);
  /** What lies in gaps goes here, of several reads at once; nobody looks at it. */
  readonly #waste = new Uint8Array(GAP_BLOCKS_MAX * BLOCK_BYTES);

  constructor(kernel: Kernel, members: Members, dataOffset: number) {
    this.#kernel = kernel;
    this.#members = members;
    this.#dataOffset = dataOffset;
  }

  /** True when the block is the one that was asked for. */
  isGenuine(request: ReadRequest, block: Uint8Array): boolean {
    if (request.verify !== undefined) return request.verify(block);
    const { hash, hashIndex } = request;
    const found = this.#found;
    this.#kernel.hashBlock(block, found);
    for (let word = 0; word < HASH_WORDS; word++) {
      if (found[word] !== hash[hashIndex + word]) return false;
    }
    return true;
  }

  /** Fills and verifies what it can; returns what it cannot. */
  async read(requests: readonly ReadRequest[]): Promise<readonly Fault[]> {
    if (requests.length === 1) return this.#readOne(requests[0]!);
    const bySlot = new Map<number, ReadRequest[]>();
    for (const request of requests) {
      const slot = slotOf(request.pvbn);
      const list = bySlot.get(slot);
      if (list === undefined) bySlot.set(slot, [request]);
      else list.push(request);
    }
    const faults: Fault[] = [];
    await Promise.all([...bySlot].map(([slot, list]) => this.#readMember(slot, list, faults)));
    return faults;
  }

  async #readOne(request: ReadRequest): Promise<readonly Fault[]> {
    const results = await this.#members.read(slotOf(request.pvbn), [this.#operationFor(request)]);
    const fault = this.#judge(request, results[0]!);
    return fault === null ? NO_FAULTS : [fault];
  }

  async #readMember(slot: number, requests: ReadRequest[], faults: Fault[]): Promise<void> {
    requests.sort((left, right) => left.pvbn - right.pvbn);
    const batch: DiskOperation[] = requests.map((request) => this.#operationFor(request));
    for (let index = 1; index < requests.length; index++) {
      const gap = this.#gapBetween(requests[index - 1]!, requests[index]!);
      if (gap !== null) batch.push(gap);
    }
    const results = await this.#members.read(slot, batch);
    for (const [index, request] of requests.entries()) {
      const fault = this.#judge(request, results[index]!);
      if (fault !== null) faults.push(fault);
    }
  }

  /** The read that joins two others, where that is worth it. */
  #gapBetween(left: ReadRequest, right: ReadRequest): DiskOperation | null {
    const firstStripe = stripeOf(left.pvbn) + 1;
    const blocks = stripeOf(right.pvbn) - firstStripe;
    if (blocks < 1 || blocks > GAP_BLOCKS_MAX) return null;
    const buffer = this.#waste.subarray(0, blocks * BLOCK_BYTES);
    return { kind: "read", offset: this.#dataOffset + firstStripe * BLOCK_BYTES, buffer };
  }

  #operationFor(request: ReadRequest): DiskOperation {
    const offset = this.#dataOffset + stripeOf(request.pvbn) * BLOCK_BYTES;
    return { kind: "read", offset, buffer: request.out };
  }

  #judge(request: ReadRequest, error: Error | null): Fault | null {
    if (error !== null) return { request, kind: error === MEMBER_MISSING ? "missing" : "unreadable", error };
    if (this.isGenuine(request, request.out)) return null;
    this.#members.noteChecksumError(slotOf(request.pvbn));
    return { request, kind: "corrupt", error: null };
  }
}

const NO_FAULTS: readonly Fault[] = [];
