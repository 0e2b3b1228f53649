// What replication needs of a volume: the part of `Volume` that source and mirror use, and nothing more. The
// tests of the protocol put a small model behind the same interface.

import type { MirrorvolError } from "../kernel/errors.ts";
import type { AppendedEntry, EntryView, Generation, LogPosition } from "../log/types.ts";
import type { CpData } from "../volume/cp_data.ts";
import type { RemoteImage } from "../volume/image_sync.ts";
import type { GenerationRecord, Role } from "../volume/superblock.ts";

export type {
  AppendedEntry,
  CpData,
  EntryView,
  Generation,
  GenerationRecord,
  LogPosition,
  RemoteImage,
  Role,
};

export interface PinnedImage extends RemoteImage {
  release(): void;
}

export interface Relationship {
  readonly role: Role;
  readonly history: readonly GenerationRecord[];
  readonly inSync: boolean;
  readonly everInSync: boolean;
  readonly aloneSince: number | null;
  readonly boundTo: Uint8Array | null;
  readonly fencedBy: GenerationRecord | null;
}

export interface ReplicatedLog {
  readonly recovery: { readonly requiredThrough: number };
  readonly tail: LogPosition;
  readonly durable: number;
  readonly halfPayloadBytes: number;
  /** The chain at a sequence if the log still holds everything that follows it, else null. */
  chainAt(sequence: number): Promise<bigint | null>;
  /** Durable entries from that one on, as far as there are any. */
  entries(from: number): AsyncIterable<EntryView>;
  whenDurable(sequence: number, signal?: AbortSignal): Promise<void>;
  status(): readonly { readonly free: boolean }[];
}

export type Gate = "open" | "waiting" | { readonly refused: MirrorvolError };

export interface CpObserver {
  begin(cp: CpData): void;
  rootHash(cp: number, root: Uint8Array): void;
  committed(cp: number, root: Uint8Array, seal: LogPosition): void;
}

export interface ReplicatedVolume {
  readonly name: string;
  readonly bytes: number;
  readonly volumeId: Uint8Array;
  readonly acknowledged: number;
  readonly cp: number;
  readonly rootHash: Uint8Array;
  readonly persisted: Readonly<Relationship>;
  readonly sealed: readonly { readonly cp: number; readonly seal: LogPosition }[];
  readonly log: ReplicatedLog;

  persist(changes: Partial<Relationship>): Promise<void>;
  pinImage(): Promise<PinnedImage>;
  setLogRetention(sequence: number): void;
  setGate(gate: Gate): void;

  // The source.
  onAppended: ((entry: AppendedEntry) => void) | null;
  cpObserver: CpObserver | null;
  setRemote(remote: { required: boolean; received: number; durable: number }): void;
  setForwarded(sequence: number): void;
  cpData(cp: number): CpData | null;

  // The mirror.
  onDurable: ((sequence: number) => void) | null;
  onSpace: (() => void) | null;
  adopt(entry: Uint8Array): AppendedEntry | null;
  applyConsistencyPoint(
    cpData: CpData,
    options: { fetch(lbas: number[]): Promise<Uint8Array[]>; expectedRoot: Uint8Array },
  ): Promise<"committed" | "mismatch">;
  applyOwnConsistencyPoint(cp: number, expectedRoot: Uint8Array | null): Promise<"committed" | "mismatch">;
  adoptImage(
    image: RemoteImage,
    history: readonly GenerationRecord[],
    signal?: AbortSignal,
  ): Promise<"committed" | "mismatch">;
  promote(): Promise<GenerationRecord>;
}
