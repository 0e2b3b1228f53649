// The words that every part of the log shares.

import type { Storage } from "../io/disk.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { GenerationStart } from "./lineage.ts";

/** An entry's sequence and its header's checksum, which its successor names. Before the first entry: 0 and 0n. */
export interface LogPosition {
  readonly sequence: number;
  readonly chain: bigint;
}

export interface Generation {
  readonly number: number;
  readonly id: bigint;
}

export interface AppendedEntry {
  readonly sequence: number;
  /** Where its payload will lie (location.ts); add the index of a block to name that block. */
  readonly location: number;
  /** The encoded entry in the ring: valid until it is durable and released. */
  readonly view: Uint8Array;
}

export interface EntryView {
  readonly sequence: number;
  readonly kind: number;
  readonly lba: number;
  readonly blockCount: number;
  readonly generation: number;
  readonly generationId: bigint;
  readonly durableThrough: number;
  readonly location: number;
  /** Header and payload, valid until the next step of the iteration. */
  readonly bytes: Uint8Array;
  readonly payload: Uint8Array;
}

export interface LogOptions {
  readonly kernel: Kernel;
  readonly storage: Storage;
  /** One per copy; its files are `${prefix}.0` and so on. */
  readonly prefixes: readonly string[];
  readonly volumeId: Uint8Array;
  /** Memory for entries that are not yet durable and released. Default 8 MiB. */
  readonly ringBytes?: number;
  /** Called after each batch, synchronously, when its entries are durable on every current copy. */
  readonly onDurable: (sequence: number) => void;
  /** An append was refused for want of room, and now there is some. */
  readonly onSpace: () => void;
  /** Awaited before anything that depends on it counts as durable: record that the copy must not be trusted. */
  readonly onCopyFailed: (copyIndex: number, error: Error) => Promise<void>;
  /** No copy is left. Nothing becomes durable any more. */
  readonly onFailed: (error: Error) => void;
}

export interface LogStart {
  /** The position that the committed image includes: a seal's, that of a reset, or 0. */
  readonly applied: LogPosition;
  /** The half that ended at `applied`, if the owner knows it. */
  readonly appliedHalf?: number;
  readonly generation: Generation;
  /** Where each generation began, oldest first, as far as the owner knows. Default: nothing was left behind. */
  readonly history?: readonly GenerationStart[];
  /** The entries were encoded by a source and adopted: what they say of durability is its own, not this log's. */
  readonly isMirror?: boolean;
  /** By copy, from the superblock; a copy that is not trusted is never touched. Default: all. */
  readonly trustedCopies?: readonly boolean[];
}

export interface Recovery {
  /** The last entry that is there, and so durable from now on. */
  readonly tail: number;
  /** Entries behind the tail, never known to be durable, were cut off. */
  readonly torn: boolean;
  /** The highest sequence known to have been durable. Greater than `tail` means corruption. */
  readonly requiredThrough: number;
  /** How many entries were restored in a copy from another one. */
  readonly repaired: number;
}

export type CopyState = "current" | "failed" | "missing";

export interface HalfStatus {
  readonly number: number;
  readonly slot: number;
  /** Zero when the half holds no entry. */
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly bytesUsed: number;
  readonly sealed: boolean;
  readonly free: boolean;
}
