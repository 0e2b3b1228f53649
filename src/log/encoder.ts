// The head of the chain: what the next entry must say, and the encoding of entries that say it.

import { ENTRY_HEADER_BYTES } from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import {
  bigintOf,
  checkForeignEntry,
  checksumOf,
  type EntryFields,
  type EntryHeader,
  encodeEntry,
  isPrevious,
  readOwnChecksum,
} from "./entry_codec.ts";
import type { Generation, LogPosition } from "./types.ts";

/** What the caller knows of an entry. */
export interface EntryContent {
  readonly kind: number;
  readonly lba: number;
  readonly blockCount: number;
  readonly payload: readonly Uint8Array[] | null;
  readonly payloadBytes: number;
}

/** The field has four bytes. */
const LAG_MAX = 0xffffffff;

export class EntryEncoder {
  readonly #kernel: Kernel;
  /** Kept from entry to entry, so that encoding leaves no garbage; `previous` is the chain at the tail. */
  readonly #fields: EntryFields;
  #sequence: number;
  #generation: Generation;

  constructor(kernel: Kernel, tail: LogPosition, generation: Generation) {
    this.#kernel = kernel;
    this.#sequence = tail.sequence;
    this.#generation = generation;
    this.#fields = {
      sequence: 0,
      durableThrough: 0,
      mirrorLag: 0,
      generation: generation.number,
      generationId: checksumOf(generation.id),
      previous: checksumOf(tail.chain),
      kind: 0,
      lba: 0,
      blockCount: 0,
      payloadBytes: 0,
    };
  }

  get tail(): LogPosition {
    return { sequence: this.#sequence, chain: this.chain };
  }

  get sequence(): number {
    return this.#sequence;
  }

  get chain(): bigint {
    return bigintOf(this.#fields.previous);
  }

  get generation(): Generation {
    return this.#generation;
  }

  set generation(generation: Generation) {
    this.#generation = generation;
    this.#fields.generation = generation.number;
    Object.assign(this.#fields.generationId, checksumOf(generation.id));
  }

  goTo(position: LogPosition): void {
    this.#sequence = position.sequence;
    Object.assign(this.#fields.previous, checksumOf(position.chain));
  }

  /** Writes the entry that comes next to that place in memory. The tail does not move yet. */
  encode(at: number, content: EntryContent, durableThrough: number, mirrorLag: number): void {
    const fields = this.#fields;
    fields.sequence = this.#sequence + 1;
    fields.durableThrough = durableThrough;
    fields.mirrorLag = Math.min(mirrorLag, LAG_MAX);
    fields.kind = content.kind;
    fields.lba = content.lba;
    fields.blockCount = content.blockCount;
    fields.payloadBytes = content.payloadBytes;
    encodeEntry(this.#kernel, at, fields, this.#bringPayload(at, content.payload));
  }

  /** Throws ERR_ENTRY_* unless the whole entry at that place is valid and comes next. */
  checkNext(at: number, entryBytes: number): EntryHeader {
    const header = checkForeignEntry(this.#kernel, at, entryBytes);
    const next = this.#sequence + 1;
    if (header.sequence !== next) throw refusal("SEQUENCE", header, `${next} comes next`);
    if (!isPrevious(this.#kernel.view, at, this.#fields.previous)) {
      throw refusal("CHAIN", header, `it follows another entry than our ${this.#sequence}`);
    }
    const { number, id } = this.#generation;
    if (header.generation > number) {
      throw refusal("GENERATION", header, `it is of generation ${header.generation}, ours is ${number}`);
    }
    if (header.generation === number && header.generationId !== id) {
      throw refusal("GENERATION", header, `it is of another branch of generation ${number}`);
    }
    return header;
  }

  /** The entry at that place is the tail now. */
  advance(at: number): void {
    this.#sequence += 1;
    readOwnChecksum(this.#kernel.view, at, this.#fields.previous);
  }

  /** Where the payload is copied from: its own place if that is this memory, behind the header otherwise. */
  #bringPayload(at: number, payload: readonly Uint8Array[] | null): number {
    const behind = at + ENTRY_HEADER_BYTES;
    if (payload === null) return behind;
    const inside = payload.length === 1 ? this.#kernel.offsetOf(payload[0]!) : -1;
    if (inside >= 0) return inside;
    let offset = behind;
    for (const part of payload) {
      this.#kernel.bytes.set(part, offset);
      offset += part.length;
    }
    return behind;
  }
}

function refusal(what: "SEQUENCE" | "CHAIN" | "GENERATION", header: EntryHeader, text: string) {
  return new MirrorvolError(`ERR_ENTRY_${what}`, `log entry ${header.sequence}: ${text}`);
}
