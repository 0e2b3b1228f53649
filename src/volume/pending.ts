// Entries that were appended and have not met their mode yet, oldest first. When an entry meets it, its blocks
// become visible (the dirty index) and its write is acknowledged; nothing else reads from here but the completion
// of partial blocks, which must see the newest entry, pending ones included.
//
// An entry whose client gave up waiting (deadline, abort) stays here, in doubt: it may still become visible, so
// its blocks are not readable until it does.
import { ENTRY_KIND_SEAL, ENTRY_KIND_TRIM, ENTRY_KIND_WRITE } from "../../assembly/format.ts";
import type { MirrorvolError } from "../kernel/errors.ts";

/** When a write is acknowledged: synced here and there; synced here and received there; synced here. */
export type WriteMode = "sync" | "semi-sync" | "async";

export interface PendingEntry {
  readonly sequence: number;
  readonly kind: number;
  readonly lba: number;
  readonly count: number;
  readonly location: number;
  readonly mode: WriteMode;
  /** Payload in the log's ring; null when the entry was replayed from the file. */
  readonly payload: Uint8Array | null;
  /** Content hashes, four words a block. */
  readonly hashes: Uint32Array | null;
  /** When its client stops waiting; Infinity: never. */
  readonly deadlineMs: number;
  isInDoubt: boolean;
  readonly settle: (error: MirrorvolError | null) => void;
}

/** What this side and the mirror have. */
export interface Frontier {
  readonly local: number;
  readonly mirrorReceived: number;
  readonly mirrorDurable: number;
  /** Without it nobody waits for the mirror. */
  readonly mirrorRequired: boolean;
}

export class PendingQueue {
  #entries: PendingEntry[] = [];
  #last = 0;
  #blocks = 0;

  get count(): number {
    return this.#entries.length;
  }

  /** Blocks of all pending writes. */
  get blocks(): number {
    return this.#blocks;
  }

  /** Highest sequence such that everything up to it has met its mode. */
  get acknowledged(): number {
    const first = this.#entries[0];
    return first === undefined ? this.#last : first.sequence - 1;
  }

  /** Nothing is pending, and everything up to here counts as acknowledged. */
  reset(sequence: number): void {
    this.#entries = [];
    this.#blocks = 0;
    this.#last = sequence;
  }

  push(entry: PendingEntry): void {
    this.#entries.push(entry);
    this.#blocks += blocksOf(entry);
    this.#last = entry.sequence;
  }

  /** Takes out, in order, what has met its mode. */
  take(frontier: Frontier): PendingEntry[] {
    const first = this.#entries[0];
    if (first === undefined || first.sequence > frontier.local) return [];
    const met: PendingEntry[] = [];
    const left: PendingEntry[] = [];
    for (const entry of this.#entries) (hasMetMode(entry, frontier) ? met : left).push(entry);
    this.#entries = left;
    for (const entry of met) this.#blocks -= blocksOf(entry);
    return met;
  }

  /** The newest pending entry that changes a block. */
  newestOf(lba: number): PendingEntry | null {
    for (let i = this.#entries.length - 1; i >= 0; i--) {
      const entry = this.#entries[i]!;
      if (covers(entry, lba)) return entry;
    }
    return null;
  }

  /** The entries in doubt over an extent. */
  inDoubtOver(lba: number, count: number): PendingEntry[] {
    return this.#entries.filter((entry) => entry.isInDoubt && overlaps(entry, lba, count));
  }

  /** Gives up on every client whose time is over; their entries stay. Returns the next deadline. */
  expire(nowMs: number, error: () => MirrorvolError): number {
    let next = Number.POSITIVE_INFINITY;
    for (const entry of this.#entries) {
      if (entry.isInDoubt) continue;
      if (entry.deadlineMs > nowMs) next = Math.min(next, entry.deadlineMs);
      else this.#giveUp(entry, error());
    }
    return next;
  }

  /** The volume has stopped: nobody waits any more. */
  fail(error: MirrorvolError): void {
    for (const entry of this.#entries) if (!entry.isInDoubt) this.#giveUp(entry, error);
  }

  #giveUp(entry: PendingEntry, error: MirrorvolError): void {
    entry.isInDoubt = true;
    entry.settle(error);
  }
}

function hasMetMode(entry: PendingEntry, frontier: Frontier): boolean {
  if (entry.sequence > frontier.local) return false;
  if (!frontier.mirrorRequired || entry.mode === "async") return true;
  return entry.sequence <= (entry.mode === "sync" ? frontier.mirrorDurable : frontier.mirrorReceived);
}

function blocksOf(entry: PendingEntry): number {
  return entry.kind === ENTRY_KIND_WRITE ? entry.count : 0;
}

function covers(entry: PendingEntry, lba: number): boolean {
  return entry.kind !== ENTRY_KIND_SEAL && lba >= entry.lba && lba < entry.lba + entry.count;
}

function overlaps(entry: PendingEntry, lba: number, count: number): boolean {
  return entry.kind !== ENTRY_KIND_SEAL && entry.lba < lba + count && lba < entry.lba + entry.count;
}

export function isContent(kind: number): boolean {
  return kind === ENTRY_KIND_WRITE || kind === ENTRY_KIND_TRIM;
}
