// What `status` shows of a volume: plain data.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { geometryFor, slotsOf } from "../raid/geometry.ts";
import type { VolumeCore } from "./core.ts";
import { limitBlocks } from "./space.ts";
import type { Role } from "./superblock.ts";
import { toHex } from "./words.ts";

export interface VolumeStatus {
  readonly name: string;
  readonly volumeId: string;
  readonly role: Role;
  /** "serving", "waiting", "refused" or "failed". */
  readonly state: string;
  /** Why it does not serve. */
  readonly reason: string | null;
  readonly sizeBytes: number;
  readonly generation: number;
  readonly generationId: string;
  readonly sequence: number;
  readonly durableSequence: number;
  readonly acknowledgedSequence: number;
  readonly cp: number;
  readonly commit: number;
  readonly rootHash: string;
  readonly geometry: { readonly data: number; readonly parity: number };
  /** Geometry that new segments get with the members that are there. */
  readonly presentGeometry: { readonly data: number; readonly parity: number } | null;
  readonly members: readonly {
    path: string;
    state: string;
    readErrors: number;
    checksumErrors: number;
    reason?: string;
  }[];
  readonly log: readonly { path: string; state: string }[];
  /** `evacuated`: by the cleaner, since the volume was opened. */
  readonly segments: { readonly total: number; readonly empty: number; readonly evacuated: number };
  readonly usedBytes: number;
  readonly limitBytes: number;
  readonly dirtyBlocks: number;
  readonly fencedBy: number | null;
}

export function volumeStatus(
  core: VolumeCore,
  excluded: readonly { path: string; reason: string }[],
): VolumeStatus {
  const { store, log } = core;
  const { superblock } = store;
  const { dataUnits: k, parityUnits: m } = superblock;
  const geometry = geometryFor(store.raid.present, { k, m });
  return {
    name: core.config.name,
    volumeId: toHex(superblock.volumeId),
    role: superblock.role,
    ...stateOf(core),
    sizeBytes: superblock.sizeBlocks * BLOCK_BYTES,
    generation: log.generation.number,
    generationId: log.generation.id.toString(16).padStart(16, "0"),
    sequence: log.tail.sequence,
    durableSequence: log.durable,
    acknowledgedSequence: core.pending.acknowledged,
    cp: superblock.cp,
    commit: superblock.commit,
    rootHash: toHex(store.rootHash()),
    geometry: { data: k, parity: m },
    presentGeometry: geometry && { data: geometry.k, parity: geometry.m },
    members: membersOf(core, excluded),
    log: log.copies.map(({ path, state }) => ({ path, state })),
    segments: {
      total: store.table.count,
      empty: store.emptySegments,
      evacuated: store.evacuatedSegments,
    },
    usedBytes: store.usedBlocks() * BLOCK_BYTES,
    limitBytes: limitBlocks(core) * BLOCK_BYTES,
    dirtyBlocks: core.halves.dirtyBlocks,
    fencedBy: superblock.fencedBy?.number ?? null,
  };
}

function stateOf(core: VolumeCore): { state: string; reason: string | null } {
  if (core.failure) return { state: "failed", reason: core.failure.message };
  if (core.gate === "open") return { state: "serving", reason: null };
  if (core.gate === "waiting") return { state: "waiting", reason: null };
  return { state: "refused", reason: core.gate.refused.message };
}

function membersOf(
  core: VolumeCore,
  excluded: readonly { path: string; reason: string }[],
): VolumeStatus["members"] {
  const { store } = core;
  const present = new Set(slotsOf(store.raid.present));
  return store.superblock.members.map(({ path: hint, state }, slot) => {
    const disk = store.disks[slot];
    const path = disk?.path ?? core.config.members[slot] ?? hint;
    const errors = store.raid.memberErrors[slot];
    const { readErrors = 0, checksumErrors = 0 } = errors ?? {};
    const reason = excluded.find((each) => each.path === path)?.reason;
    const isThere = present.has(slot) && state === "current";
    return {
      path,
      state: isThere ? "current" : "missing",
      readErrors,
      checksumErrors,
      ...(reason ? { reason } : {}),
    };
  });
}
