// Sends the CP data of each consistency point to the mirror, one after the other.
//
//   due       seals that the mirror has (or is being sent) and whose consistency point it has not made
//   sent      the head of `due`, once its data are on their way; the root hash follows when it is known
//   awaited   sent as a whole; the mirror's acknowledgement is to come
//
// Invariants:
//   - cp numbers go out in ascending order without gaps, each behind its seal;
//   - data that are not kept any more are replaced by "make it from your own index", with the root hash that
//     must result if it is known;
//   - when both sides have a consistency point, and not before, the log up to its seal is let go, here and
//     (by cpCommitted) over there.
//
// A CP that is still being made is sent while it is made; its root hash ends it, its commit is not waited for.

import {
  CP_BLOCK_BYTES,
  CP_BLOCK_HASH,
  CP_BLOCK_LBA,
  CP_PIECE_COUNT_MAX,
  CP_TRIM_BYTES,
} from "../../assembly/wire_format.ts";
import { bytesEqual, bytesOf } from "../volume/words.ts";
import type { CpMemory } from "./cp_memory.ts";
import { wireFault } from "./fields.ts";
import type { Link } from "./link.ts";
import type { BodyOf } from "./messages.ts";
import type { CpData, ReplicatedVolume } from "./port.ts";

export interface Due {
  readonly cp: number;
  /** The seal's. */
  readonly sequence: number;
}

/** What the mirror said about a consistency point. */
export type CpVerdict =
  | { readonly kind: "done"; readonly cp: number; readonly sequence: number }
  | { readonly kind: "repair"; readonly cp: number; readonly reason: string };

export interface CpSenderOptions {
  readonly volume: ReplicatedVolume;
  readonly link: Link;
  readonly memory: CpMemory;
  /** Seals in the mirror's log whose consistency points it has not made, oldest first. */
  readonly due: readonly Due[];
  /** Consistency points that the mirror made and we did not, oldest first. */
  readonly ahead: readonly Due[];
}

export class CpSender {
  readonly #volume: ReplicatedVolume;
  readonly #link: Link;
  readonly #memory: CpMemory;
  #due: Due[];
  #awaited: Due[] = [];
  /** Made by the mirror, not committed here yet. */
  readonly #ahead: Due[];
  #isHeadSent = false;

  constructor(options: CpSenderOptions) {
    this.#volume = options.volume;
    this.#link = options.link;
    this.#memory = options.memory;
    this.#due = [...options.due];
    this.#ahead = [...options.ahead];
  }

  /** The mirror has still to make, or to acknowledge, a consistency point. */
  get isOwed(): boolean {
    return this.#due.length + this.#awaited.length > 0;
  }

  /** The seal of a consistency point is on its way to the mirror. */
  sealSent(cp: number, sequence: number): void {
    this.#due.push({ cp, sequence });
    this.step();
  }

  /** Sends whatever can be sent now: call it when a CP begins, has its root hash, or is committed. */
  step(): void {
    for (let head = this.#due[0]; head !== undefined; head = this.#due[0]) {
      if (!this.#sendHead(head)) return;
      this.#due.shift();
      this.#awaited.push(head);
      this.#isHeadSent = false;
    }
  }

  onAck({ cp, outcome, root, text }: BodyOf<"cpAck">): CpVerdict {
    const awaited = this.#awaited.shift();
    if (awaited?.cp !== cp) throw wireFault(`an acknowledgement of CP ${cp}, awaited is ${awaited?.cp}`);
    if (outcome !== "committed") return { kind: "repair", cp, reason: `${outcome}: ${text}` };
    const expected = this.#rootOf(cp);
    if (expected !== null && !bytesEqual(expected, root)) {
      return { kind: "repair", cp, reason: "it committed another root hash" };
    }
    this.#ahead.push(awaited);
    this.committed();
    return { kind: "done", cp, sequence: awaited.sequence };
  }

  /** Lets go of the log of every consistency point that both sides have now. */
  committed(): void {
    while (this.#ahead.length > 0 && this.#ahead[0]!.cp <= this.#volume.cp) {
      const { cp, sequence } = this.#ahead.shift()!;
      this.#volume.setLogRetention(sequence);
      this.#link.send("cpCommitted", { cp, sequence });
    }
  }

  /** True when everything of it is on its way. */
  #sendHead({ cp }: Due): boolean {
    const isCommitted = cp <= this.#volume.cp;
    if (!isCommitted && this.#memory.begun < cp) return false;
    const root = this.#rootOf(cp);
    if (!this.#isHeadSent) {
      const data = this.#volume.cpData(cp);
      if (data === null || (isCommitted && root === null)) {
        this.#link.send("cpOwn", { cp, root });
        return true;
      }
      this.#sendData(data);
      this.#isHeadSent = true;
    }
    if (root === null) return false;
    this.#link.send("cpEnd", { cp, root });
    return true;
  }

  #rootOf(cp: number): Uint8Array | null {
    return this.#memory.root(cp) ?? (cp === this.#volume.cp ? this.#volume.rootHash : null);
  }

  #sendData(data: CpData): void {
    const { cp, seal, firstSequence, count, trims } = data;
    this.#link.send("cpBegin", { cp, seal, firstSequence, blocks: count, trims: trims.length });
    for (let from = 0; from < trims.length; from += CP_PIECE_COUNT_MAX) {
      this.#link.send("cpTrims", { cp, trims: encodeTrims(data, from) });
    }
    for (let from = 0; from < count; from += CP_PIECE_COUNT_MAX) {
      this.#link.send("cpBlocks", { cp, blocks: encodeBlocks(data, from) });
    }
  }
}

function encodeTrims({ trims }: CpData, from: number): Uint8Array {
  const some = trims.slice(from, from + CP_PIECE_COUNT_MAX);
  const bytes = new Uint8Array(some.length * CP_TRIM_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [index, { lba, count }] of some.entries()) {
    view.setBigUint64(index * CP_TRIM_BYTES, BigInt(lba), true);
    view.setBigUint64(index * CP_TRIM_BYTES + 8, BigInt(count), true);
  }
  return bytes;
}

function encodeBlocks({ count, lbas, hashes }: CpData, from: number): Uint8Array {
  const some = Math.min(CP_PIECE_COUNT_MAX, count - from);
  const bytes = new Uint8Array(some * CP_BLOCK_BYTES);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < some; index++) {
    const at = index * CP_BLOCK_BYTES;
    view.setBigUint64(at + CP_BLOCK_LBA, BigInt(lbas[from + index]!), true);
    const words = (from + index) * 4;
    bytes.set(bytesOf(hashes.subarray(words, words + 4)), at + CP_BLOCK_HASH);
  }
  return bytes;
}
