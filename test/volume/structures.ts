// Where everything lies that a volume keeps beside its data: each structure with its file, its place, and which of
// its bytes carry something. For tests that damage one after the other.
import {
  BLOCK_BYTES,
  ENTRY_HEADER_BYTES,
  HALF_FILE_BYTES,
  HALF_HEADER_BYTES,
  LOG_ENTRIES_OFFSET,
  LOG_HALF_COUNT,
  RECORD_KIND_CONTAINER,
  RECORD_KIND_DATA,
  RECORD_KIND_FREE_LIST,
  RECORD_KIND_MAP,
  SEGMENT_TABLE_OFFSET,
  SUMMARY_HEADER_BYTES,
  SUMMARY_RECORD_BYTES,
  SUPERBLOCK_BYTES,
  SUPERBLOCK_SLOTS,
} from "../../assembly/format.ts";
import { halfPath } from "../../src/log/copies.ts";
import { inspectLog } from "../../src/log/inspect.ts";
import { pvbnOf, RowLayout } from "../../src/raid/geometry.ts";
import { readSummary } from "../../src/volume/cleaner.ts";
import { slotOffsets } from "../../src/volume/members.ts";
import type { Store } from "../../src/volume/store.ts";
import type { RunRecord } from "../../src/volume/summary.ts";
import type { VolumeConfig } from "../../src/volume/volume.ts";
import { readU64 } from "../../src/volume/words.ts";
import type { MemoryStorage } from "../support/memory_storage.ts";
import { placeOf, withStore } from "./checking.ts";
import { makeKernel } from "./fixture.ts";

export type StructureKind =
  | "superblock"
  | "table page"
  | "map node"
  | "container node"
  | "free-list node"
  | "data"
  | "summary"
  | "parity"
  | "half header"
  | "entry header"
  | "payload"
  | "seal";

export interface Structure {
  readonly kind: StructureKind;
  readonly path: string;
  readonly offset: number;
  readonly bytes: number;
  /** The bytes from the start that are not just padding. */
  readonly usedBytes: number;
  /** It is what the volume goes by, as opposed to what was overtaken and waits to be overwritten. */
  readonly isInUse: boolean;
  /** Member, copy of the log, or level of a node. */
  readonly index: number;
}

/** Of a closed volume. */
export async function structuresOf(storage: MemoryStorage, config: VolumeConfig): Promise<Structure[]> {
  const ofMembers = await withStore(storage, config, async (store) => [
    ...superblocks(storage, store, config),
    ...tablePages(store, config),
    ...(await unitsOf(store, config)),
  ]);
  const applied = await withStore(storage, config, async (store) => store.superblock.appliedSequence);
  return [...ofMembers, ...(await logStructures(storage, config, applied))];
}

function superblocks(storage: MemoryStorage, store: Store, config: VolumeConfig): Structure[] {
  const { commit, memberBytes } = store.superblock;
  const slots = Array.from({ length: SUPERBLOCK_SLOTS }, (_, slot) => slot);
  return config.members.flatMap((path, index) =>
    slots.flatMap((slot) =>
      slotOffsets(memberBytes, slot).map((offset) => ({
        kind: "superblock" as const,
        path,
        offset,
        bytes: SUPERBLOCK_BYTES,
        usedBytes: lastNonZero(storage.peek(path, offset, SUPERBLOCK_BYTES)),
        isInUse: slot === commit % SUPERBLOCK_SLOTS,
        index,
      })),
    ),
  );
}

function lastNonZero(bytes: Uint8Array): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}

function tablePages({ table }: Store, config: VolumeConfig): Structure[] {
  const { offset: valid, bytes } = table.validPage(0);
  return config.members.flatMap((path, index) =>
    [0, 1].map((slot) => {
      const offset = SEGMENT_TABLE_OFFSET + slot * BLOCK_BYTES;
      const usedBytes = Math.ceil(lastNonZero(bytes) / 32) * 32;
      return {
        kind: "table page" as const,
        path,
        offset,
        bytes: BLOCK_BYTES,
        usedBytes,
        isInUse: offset === valid,
        index,
      };
    }),
  );
}

const KIND_OF_RECORD: Record<number, StructureKind> = {
  [RECORD_KIND_DATA]: "data",
  [RECORD_KIND_MAP]: "map node",
  [RECORD_KIND_FREE_LIST]: "free-list node",
  [RECORD_KIND_CONTAINER]: "container node",
};

/** Nodes, blocks, summaries and parity of every written stripe. */
async function unitsOf(store: Store, config: VolumeConfig): Promise<Structure[]> {
  const units: Structure[] = [];
  const { segmentStripes } = store.superblock;
  for (let segment = 0; segment < store.table.count; segment++) {
    const { used, written, geometry } = store.table.get(segment);
    if (!used) continue;
    const layout = new RowLayout(geometry);
    const base = segment * segmentStripes;
    for (let end = written; end > 0; ) {
      const { header, records } = await readSummary(store, layout, base + end - 1);
      const { firstStripe, rows, parts } = header;
      for (let row = 0; row < rows; row++) {
        for (let unit = 0; unit < layout.unitCount; unit++) {
          const stripe = firstStripe + row;
          const pvbn = pvbnOf(stripe, layout.slotOfUnit(stripe, unit));
          const { path, offset } = placeOf(store, config, pvbn);
          const unitAt = { path, offset, bytes: BLOCK_BYTES };
          const index = row * layout.k + unit;
          const part = index - (rows * layout.k - parts);
          const record = records[index];
          if (unit >= layout.k) {
            units.push({
              ...unitAt,
              kind: "parity",
              usedBytes: BLOCK_BYTES,
              isInUse: true,
              index: unit - layout.k,
            });
          } else if (record !== undefined) {
            const isInUse = await isLive(store, record, pvbn);
            const kind = KIND_OF_RECORD[record.kind]!;
            units.push({ ...unitAt, kind, usedBytes: BLOCK_BYTES, isInUse, index: record.level });
          } else if (part >= 0) {
            const described = Math.min(126, records.length - part * 126);
            const usedBytes = SUMMARY_HEADER_BYTES + described * SUMMARY_RECORD_BYTES;
            units.push({ ...unitAt, kind: "summary", usedBytes, isInUse: true, index: part });
          }
        }
      }
      end = firstStripe - base;
    }
  }
  return units;
}

async function isLive(store: Store, record: RunRecord, pvbn: number): Promise<boolean> {
  const { containerRoot } = store.image;
  if (record.kind !== RECORD_KIND_CONTAINER) {
    return (await store.containers.lookup(containerRoot, record.id)) === pvbn;
  }
  const pointer = await store.containers.pointerAt(containerRoot, record.level, record.id);
  return pointer !== null && readU64(pointer[0], pointer[1]) === pvbn;
}

/** Entries behind the applied one are in use; of the half that they begin in, the header is. */
async function logStructures(
  storage: MemoryStorage,
  config: VolumeConfig,
  applied: number,
): Promise<Structure[]> {
  const structures: Structure[] = [];
  for (const [index, prefix] of config.log.entries()) {
    const halves = await inspectLog(makeKernel(), storage, prefix);
    for (let slot = 0; slot < LOG_HALF_COUNT; slot++) {
      const path = halfPath(prefix, slot);
      const { entries, header } = halves[slot]!;
      const isHalfInUse = header !== null && header.startSequence > applied;
      const head = { path, offset: 0, bytes: HALF_HEADER_BYTES, usedBytes: HALF_FILE_BYTES + 8 };
      structures.push({ ...head, kind: "half header", isInUse: isHalfInUse, index });
      for (const { offset, sequence, payloadBytes, kind } of entries) {
        const isInUse = sequence > applied && isHalfInUse && offset >= LOG_ENTRIES_OFFSET;
        const isSeal = kind === "seal";
        const at = { path, isInUse, index };
        const bytes = ENTRY_HEADER_BYTES;
        structures.push({ ...at, kind: isSeal ? "seal" : "entry header", offset, bytes, usedBytes: bytes });
        if (payloadBytes === 0) continue;
        const behind = offset + ENTRY_HEADER_BYTES;
        structures.push({
          ...at,
          kind: "payload",
          offset: behind,
          bytes: payloadBytes,
          usedBytes: payloadBytes,
        });
      }
    }
  }
  return structures;
}

export function flipBit(storage: MemoryStorage, { path, offset }: Structure, bit: number): void {
  const at = offset + (bit >> 3);
  const bytes = storage.peek(path, at, 1);
  bytes[0]! ^= 1 << (bit & 7);
  storage.poke(path, at, bytes);
}
