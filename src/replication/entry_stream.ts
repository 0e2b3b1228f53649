// Log entries on the wire, outside the live path: reading them back from the log files and sending them in
// batches, and taking a message of entries apart.

import {
  ENTRY_HEADER_BYTES,
  ENTRY_KIND_SEAL,
  ENTRY_PAYLOAD_MAX,
  SECTOR_BYTES,
} from "../../assembly/format.ts";
import { assert, type MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { type EntryHeader, readHeader } from "../log/entry_codec.ts";
import { wireFault } from "./fields.ts";
import type { Link } from "./link.ts";
import type { EntryView, ReplicatedLog } from "./port.ts";

/** The largest entry fits. */
const BATCH_BYTES = ENTRY_HEADER_BYTES + ENTRY_PAYLOAD_MAX;
/** A batch is sent when so much of it is full: small enough for the peer's inbox. */
const BATCH_FULL_BYTES = 256 * 1024;

export interface StreamOptions {
  readonly link: Link;
  readonly log: ReplicatedLog;
  readonly from: number;
  /** The last entry to send; it must be durable. */
  readonly through: number;
  /** Called when the entry is on its way. */
  readonly onSent: (entry: { readonly sequence: number; readonly seal: number | null }) => void;
  /** Nothing more is to be sent, although the link goes on. */
  readonly isStopped?: () => boolean;
}

/**
 * Sends durable entries, one batch after the other: the next is filled when the system has taken the last.
 * Rejects when the link closes, or with ERR_LOG_RANGE if the log no longer holds them.
 */
export async function streamEntries(options: StreamOptions): Promise<void> {
  const { link, log, from, through, onSent, isStopped = () => false } = options;
  if (from > through) return;
  const batch = new EntryBatch();
  for await (const entry of log.entries(from)) {
    if (entry.sequence > through) break;
    if (isStopped()) return;
    if (!batch.hasRoom(entry)) await batch.send(link, onSent);
    batch.add(entry);
    if (entry.sequence === through) break;
  }
  if (!isStopped()) await batch.send(link, onSent);
}

class EntryBatch {
  #bytes = new Uint8Array(BATCH_FULL_BYTES);
  #used = 0;
  #entries: { sequence: number; seal: number | null }[] = [];

  hasRoom(entry: EntryView): boolean {
    return this.#used === 0 || this.#used + entry.bytes.length <= BATCH_FULL_BYTES;
  }

  add(entry: EntryView): void {
    const end = this.#used + entry.bytes.length;
    assert(end <= BATCH_BYTES, `an entry of ${entry.bytes.length} bytes`);
    if (end > this.#bytes.length) this.#bytes = new Uint8Array(BATCH_BYTES);
    this.#bytes.set(entry.bytes, this.#used);
    this.#used = end;
    const seal = entry.kind === ENTRY_KIND_SEAL ? entry.lba : null;
    this.#entries.push({ sequence: entry.sequence, seal });
  }

  async send(link: Link, onSent: StreamOptions["onSent"]): Promise<void> {
    if (this.#used === 0) return;
    const sending = link.sendAndWait(this.#bytes.subarray(0, this.#used));
    for (const entry of this.#entries) onSent(entry);
    this.#used = 0;
    this.#entries = [];
    await sending;
  }
}

/** Takes messages of entries apart. Holds one sector of the arena until it is closed. */
export class EntrySplitter {
  readonly #kernel: Kernel;
  readonly #header: Uint8Array;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#header = kernel.arena.allocate(SECTOR_BYTES);
  }

  /** The first entry; throws ERR_PROTOCOL if its header is wrong or it is not there as a whole. */
  first(bytes: Uint8Array): { readonly entry: Uint8Array; readonly header: EntryHeader } {
    if (bytes.length < ENTRY_HEADER_BYTES) throw this.#fault(`${bytes.length} bytes after the last entry`);
    this.#header.set(bytes.subarray(0, ENTRY_HEADER_BYTES));
    const header = readHeader(this.#kernel, this.#header.byteOffset, ENTRY_HEADER_BYTES);
    if (header === null) throw this.#fault("the header of a log entry is damaged");
    const length = ENTRY_HEADER_BYTES + header.payloadBytes;
    if (length > bytes.length) {
      throw this.#fault(`entry ${header.sequence} has ${length} bytes, ${bytes.length} are there`);
    }
    return { entry: bytes.subarray(0, length), header };
  }

  close(): void {
    this.#kernel.arena.free(this.#header);
  }

  #fault(text: string): MirrorvolError {
    return wireFault(`entries: ${text}`);
  }
}
