// The cleaner: evacuate(segment) moves everything that lives in a segment to a new place, so that the segment is
// empty at the next commit. Moving touches the container map only: no image, no snapshot, no hash changes.
//
// Victims are the segments with the fewest live blocks. Several go in one commit, because blocks that live close
// together share container leaves; a commit must give back more than it takes.
//
// What cannot be read any more cannot be moved: it stays, and its segment is left alone from then on, while the
// rest of the volume goes on.
import {
  BLOCK_BYTES,
  CONTAINER_LEAF_FANOUT,
  LEAF_FANOUT,
  RECORD_KIND_CONTAINER,
} from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { pvbnOf, RowLayout } from "../raid/geometry.ts";
import type { Store } from "./store.ts";
import { decodeSummaryHeader, decodeSummaryRecords, type RunHeader, type RunRecord } from "./summary.ts";
import { FREE_SLICE, type Transaction } from "./transaction.ts";
import { readU64 } from "./words.ts";

const BATCH_BLOCKS = 64;
/** Segments fuller than this give back too little to be worth the work. */
const LIVE_SHARE_MAX = 0.95;

/** Evacuates what was found damaged, then the emptiest segments until `wanted` are free. Caller holds commitLock. */
export async function clean(store: Store, wanted: number): Promise<void> {
  const suspects = [...store.suspects];
  if (suspects.length > 0) {
    await cleanSegments(
      store,
      suspects.filter((segment) => store.table.get(segment).used),
    );
    // Evacuating finds the same damage once more; what it found elsewhere stays to be done.
    for (const segment of suspects) store.suspects.delete(segment);
  }
  for (;;) {
    // Slow readers hold up the cleaner only where what they read from is needed.
    if (store.emptySegments >= wanted) return;
    await store.readersDrained();
    const empty = store.emptySegments;
    if (empty >= wanted) return;
    const victims = chooseVictims(store, empty);
    if (victims.length === 0) return;
    const rowsBefore = store.freeRows;
    await cleanSegments(store, victims);
    await store.readersDrained();
    // Rows, not segments: what is gained may be a part of the open segment first.
    if (store.freeRows <= rowsBefore) return;
  }
}

/** Commits once more, which frees a slice of the free list. That takes room before it gives any. */
export function workOffFreeList(store: Store): Promise<void> {
  return store.commitLock.run(async () => {
    await clean(store, segmentsFor(store, 0));
    await cleanSegments(store, []);
  });
}

/**
 * Segments that the worst case of so many changed blocks takes: with the nodes of both maps, those that a slice of
 * the free list changes included, and two in reserve.
 */
export function segmentsFor(store: Store, blocks: number): number {
  const { sizeBlocks, vvbnCount, segmentStripes } = store.superblock;
  const mapNodes = Math.min(blocks, Math.ceil(sizeBlocks / LEAF_FANOUT)) * 1.1 + store.mapHeight;
  const leaves = Math.min(3 * blocks + FREE_SLICE, Math.ceil(vvbnCount / CONTAINER_LEAF_FANOUT));
  const segmentBlocks = segmentStripes * Math.max(1, store.dataUnitsNow);
  return Math.ceil(((blocks + mapNodes + leaves * 1.1 + 4) * 1.05) / segmentBlocks) + 2;
}

async function cleanSegments(store: Store, segments: readonly number[]): Promise<void> {
  const { cp, appliedSequence, appliedChain } = store.image;
  await store.transact(cp, async (transaction) => {
    for (const segment of segments) await unlessLost(() => evacuate(store, transaction, segment));
    return { cp, appliedSequence, appliedChain };
  });
  // What is still alive there is out of reach, or its summary is that of an earlier use: no second try.
  for (const segment of segments) {
    if (store.table.get(segment).live === 0) store.evacuatedSegments++;
    else if (segment !== store.openSegment) store.stuck.add(segment);
  }
}

/** Goes on where something cannot be read; false then. */
async function unlessLost(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    if (code !== "ERR_UNRECOVERABLE" && code !== "ERR_SUMMARY") throw error;
    return false;
  }
}

/** As many of the emptiest segments as the empty ones can surely take. */
function chooseVictims(store: Store, empty: number): number[] {
  const { segmentStripes } = store.superblock;
  const dataUnits = store.dataUnitsNow;
  const candidates: { segment: number; live: number }[] = [];
  for (let segment = 0; segment < store.table.count; segment++) {
    const record = store.table.get(segment);
    // While members are missing, what comes out of a wide segment needs more narrow ones.
    const isWorthIt = record.live < segmentStripes * Math.min(record.geometry.k, dataUnits) * LIVE_SHARE_MAX;
    const isFree = segment !== store.openSegment && !store.stuck.has(segment);
    if (record.used && isFree && isWorthIt) candidates.push({ segment, live: record.live });
  }
  candidates.sort((a, b) => a.live - b.live);
  // What moving drags along: up to every container leaf, or as much as is moved, besides summaries and padding.
  const free = empty * segmentStripes * dataUnits;
  const leaves = Math.ceil(store.superblock.vvbnCount / CONTAINER_LEAF_FANOUT);
  let room = Math.max(free / 2, free * 0.9 - leaves * 1.1 - store.mapHeight - 4);
  const victims: number[] = [];
  for (const { segment, live } of candidates) {
    if (live > room && victims.length > 0) break;
    room -= live;
    victims.push(segment);
  }
  return victims;
}

/** Moves what lives in the segment. Its damaged blocks are repaired from parity on the way. */
async function evacuate(store: Store, transaction: Transaction, segment: number): Promise<void> {
  const record = store.table.get(segment);
  if (record.live === 0) return;
  const layout = new RowLayout(record.geometry);
  const base = segment * store.superblock.segmentStripes;
  for (let end = record.written; end > 0; ) {
    const { header, records } = await readSummary(store, layout, base + end - 1);
    await moveLive(store, transaction, layout, header, records);
    end = header.firstStripe - base;
  }
}

/** The summary of the run whose last row is `lastStripe`. */
export async function readSummary(
  store: Store,
  layout: RowLayout,
  lastStripe: number,
): Promise<{ header: RunHeader; records: RunRecord[] }> {
  const last = await readPart(store, placeOf(layout, lastStripe, layout.k - 1), null);
  const { firstStripe, rows, parts, blocks } = last.header;
  const isOfRun = firstStripe + rows - 1 === lastStripe && last.header.part === parts - 1;
  if (!isOfRun || blocks + parts > rows * layout.k) {
    throw new MirrorvolError("ERR_SUMMARY", `the summary at stripe ${lastStripe} describes another run`);
  }
  const records: RunRecord[] = [];
  for (let part = 0; part < parts; part++) {
    const index = rows * layout.k - parts + part;
    const { block } = await readPart(store, placeAt(layout, firstStripe, index), { ...last.header, part });
    records.push(...decodeSummaryRecords({ ...last.header, part }, block));
  }
  return { header: last.header, records };
}

async function readPart(
  store: Store,
  pvbn: number,
  expected: RunHeader | null,
): Promise<{ header: RunHeader; block: Uint8Array }> {
  const out = new Uint8Array(BLOCK_BYTES);
  let header: RunHeader | null = null;
  const verify = (block: Uint8Array) => {
    header = decodeSummaryHeader(store.kernel, store.superblock.volumeId, block.slice());
    if (header === null || expected === null) return header !== null;
    return (
      header.part === expected.part &&
      header.firstStripe === expected.firstStripe &&
      header.commit === expected.commit
    );
  };
  await store.raid.read([{ pvbn, out, hash: new Uint32Array(4), hashIndex: 0, verify }]);
  return { header: header!, block: out };
}

function placeOf(layout: RowLayout, stripe: number, unit: number): number {
  return pvbnOf(stripe, layout.slotOfUnit(stripe, unit));
}

function placeAt(layout: RowLayout, firstStripe: number, index: number): number {
  return placeOf(layout, firstStripe + Math.floor(index / layout.k), index % layout.k);
}

async function moveLive(
  store: Store,
  transaction: Transaction,
  layout: RowLayout,
  header: RunHeader,
  records: readonly RunRecord[],
): Promise<void> {
  const outs = Array.from({ length: BATCH_BLOCKS }, () => new Uint8Array(BLOCK_BYTES));
  let batch: { record: RunRecord; pvbn: number }[] = [];
  const moveAll = async (moved: typeof batch) => {
    await store.raid.read(
      moved.map(({ record, pvbn }, i) => ({ pvbn, out: outs[i]!, hash: record.hash, hashIndex: 0 })),
    );
    for (const [i, { record }] of moved.entries()) {
      const pvbn = await transaction.place(record.kind, record.level, record.id, record.hash, outs[i]!);
      await transaction.move(record.id, pvbn);
    }
  };
  const flush = async () => {
    const moved = batch;
    batch = [];
    if (await unlessLost(() => moveAll(moved))) return;
    for (const each of moved) await unlessLost(() => moveAll([each]));
  };
  for (const [index, record] of records.entries()) {
    const pvbn = placeAt(layout, header.firstStripe, index);
    if (!(await isLive(store, transaction, record, pvbn))) continue;
    if (record.kind === RECORD_KIND_CONTAINER) transaction.moveContainerNode(record.level, record.id);
    else batch.push({ record, pvbn });
    if (batch.length === BATCH_BLOCKS) await flush();
  }
  if (batch.length > 0) await flush();
}

async function isLive(
  store: Store,
  transaction: Transaction,
  record: RunRecord,
  pvbn: number,
): Promise<boolean> {
  if (record.kind !== RECORD_KIND_CONTAINER) return (await transaction.lookup(record.id)) === pvbn;
  const pointer = await store.containers.pointerAt(transaction.containerRoot, record.level, record.id);
  return pointer !== null && readU64(pointer[0], pointer[1]) === pvbn;
}
