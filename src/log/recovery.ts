// Recovery: from the files of the trusted copies to one log.
//
//   1. find the half that starts behind the applied position, by its header or by its first entry;
//   2. walk the chain from there; each entry is taken from any copy that has it (walk.ts);
//      A generation newer than the owner's: refused, before anything is written;
//   3. repair: entries and half headers that a copy lacks are written to it;
//   4. scan everything else for evidence and for stale entries (scan.ts);
//   5. without evidence beyond the tail: the rest is a torn tail, and is erased;
//   6. sync every file: entries may have been read from a page cache that no disk has seen yet.
//
// Each step may be repeated: a crash in the middle leaves what the next recovery handles in the same way.
// Repairs only add what the chain proves. Erasing goes from evidence-free to evidence-free, because a claim
// beyond the tail forbids it.
//
// Example: entries 1 to 5, batches {1, 2} and {3, 4, 5}, a crash in the second. Found: 1, 2, 4, 5; the entries
// 4 and 5 say "durable through 2". The tail is 2; 4 and 5 are erased. Had 5 said "durable through 3", then 3
// would be lost, not torn: requiredThrough is 3, and nothing is erased until 3 has come from a mirror.

import { BLOCK_BYTES, LOG_HALF_COUNT } from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { LogCopies } from "./copies.ts";
import { ENTRY_BYTES_MAX } from "./entry_codec.ts";
import { FileWindow } from "./file_window.ts";
import type { LogHalf } from "./half.ts";
import type { HalfHeader } from "./half_header.ts";
import { Lineage } from "./lineage.ts";
import { eraseStale, LogScan, type StalePlace } from "./scan.ts";
import type { Generation, LogPosition, LogStart, Recovery } from "./types.ts";
import { ChainWalk } from "./walk.ts";

/** Two of the largest entries fit, so at least half of what is read at once is new. Whole blocks, for the arena. */
export const WINDOW_BYTES = Math.ceil((2 * ENTRY_BYTES_MAX) / BLOCK_BYTES) * BLOCK_BYTES;

export interface Recovered {
  readonly recovery: Recovery;
  readonly halves: LogHalf[];
  readonly tail: LogPosition;
  /** What must be erased before a new branch or an entry beyond `requiredThrough` is written. */
  readonly stale: readonly StalePlace[];
}

export async function recoverLog(kernel: Kernel, copies: LogCopies, start: LogStart): Promise<Recovered> {
  const scratch = await kernel.arena.lease(WINDOW_BYTES * copies.current.length);
  try {
    const windows = copies.current.map((copy, index) => {
      const view = scratch.subarray(index * WINDOW_BYTES, (index + 1) * WINDOW_BYTES);
      return new FileWindow(copy, view, copies.halfBytes);
    });
    return await recoverThrough(kernel, copies, start, windows);
  } finally {
    kernel.arena.free(scratch);
  }
}

async function recoverThrough(
  kernel: Kernel,
  copies: LogCopies,
  start: LogStart,
  windows: readonly FileWindow[],
): Promise<Recovered> {
  const headers = copies.current.flatMap((copy) => copy.headers.filter(isUsed));
  const { applied } = start;
  const lineage = new Lineage(start.history ?? []);
  const walk = new ChainWalk({ kernel, copies, windows, applied, lineage });
  const halves = await walk.run(await findStart(headers, walk, start));
  const tail = walk.tail;
  refuseNewer(start.generation, headers, walk.generations);
  await repairHeaders(copies, halves, start.generation);
  for (const window of windows) window.forget();
  const known = knownGenerations(headers, walk.generations);
  const tailSequence = tail.sequence;
  const scan = new LogScan({ kernel, copies, tailSequence, start, known, lineage });
  const { durableThrough, stale } = await scan.run(windows, halves);
  const claimed = walk.isEndUnreadable ? Math.max(durableThrough, tail.sequence + 1) : durableThrough;
  const requiredThrough = Math.max(claimed, tail.sequence);
  const isTorn = requiredThrough === tail.sequence && stale.length > 0;
  if (isTorn) await eraseStale(copies, stale);
  await copies.syncAll();
  const recovery = { tail: tail.sequence, torn: isTorn, requiredThrough, repaired: walk.repaired };
  return { recovery, halves, tail, stale: isTorn ? [] : stale };
}

/**
 * A generation is durable in the superblocks before the log has anything of it. A log that knows more than its owner
 * belongs to what the owner's members were later: they are an old copy, whatever of it may still fit together.
 */
function refuseNewer(
  newest: Generation,
  headers: readonly HalfHeader[],
  walked: ReadonlyMap<string, Generation>,
): void {
  const isUnknown = ({ number, id }: Generation) =>
    number > newest.number || (number === newest.number && id !== newest.id);
  const unknown = [...headers.map(({ generation }) => generation), ...walked.values()].find(isUnknown);
  if (unknown === undefined) return;
  const name = ({ number, id }: Generation) => `${number} (${id.toString(16)})`;
  const text = `log: it holds generation ${name(unknown)}, and the members know of none behind ${name(newest)}`;
  throw new MirrorvolError("ERR_MEMBERS_STALE", `${text}: they are an old copy`);
}

/** The number of the half behind the applied position; a new one if there is none. */
async function findStart(headers: readonly HalfHeader[], walk: ChainWalk, start: LogStart): Promise<number> {
  const { applied, appliedHalf } = start;
  const isStart = (header: HalfHeader) =>
    header.startSequence === applied.sequence + 1 && header.startChain === applied.chain;
  const found = headers.filter(isStart).map((header) => header.number);
  if (found.length > 0) return Math.max(...found);
  const newest = Math.max(appliedHalf ?? 0, 0, ...headers.map((header) => header.number));
  for (let slot = 0; slot < LOG_HALF_COUNT; slot += 1) {
    if (await walk.startsIn(slot)) return numberOfSlot(slot, headers, applied.sequence, newest);
  }
  return newest + 1;
}

/** The number of a half whose header is lost in every copy, from its neighbours'. */
function numberOfSlot(slot: number, headers: readonly HalfHeader[], applied: number, newest: number): number {
  const later = headers.filter((header) => header.startSequence > applied + 1).map((header) => header.number);
  // The halves in use are neighbours: it is the last number of this slot before the first later half.
  const limit = later.length > 0 ? Math.min(...later) : newest + LOG_HALF_COUNT + 1;
  const back = (limit - 1 - slot + LOG_HALF_COUNT) % LOG_HALF_COUNT;
  const number = limit - 1 - back;
  return number > 0 ? number : number + LOG_HALF_COUNT;
}

/** Writes the headers that a copy lacks of halves that hold entries, and notes which halves have theirs. */
async function repairHeaders(copies: LogCopies, halves: readonly LogHalf[], generation: Generation) {
  for (const half of halves) {
    const use = {
      number: half.number,
      startSequence: half.firstSequence,
      startChain: half.before.chain,
      generation,
    };
    const lacking = copies.current.filter((copy) => !isHeaderOf(half, copy.headers[half.slot] ?? null));
    if (!half.isEmpty) {
      for (const copy of lacking) {
        const buffer = copies.encodeHeader(copy, half.slot, use);
        await copies.write(copy, half.slot, [{ kind: "write", offset: 0, buffer }]);
      }
    }
    half.isHeaderWritten = !half.isEmpty || lacking.length === 0;
  }
}

function isUsed(header: HalfHeader | null): header is HalfHeader {
  return header !== null && header.startSequence > 0;
}

function isHeaderOf(half: LogHalf, header: HalfHeader | null): boolean {
  if (header === null || header.number !== half.number) return false;
  return header.startSequence === half.firstSequence && header.startChain === half.before.chain;
}

function knownGenerations(
  headers: readonly HalfHeader[],
  walked: ReadonlyMap<string, Generation>,
): ReadonlyMap<string, Generation> {
  const known = new Map(walked);
  for (const { generation } of headers) known.set(`${generation.number}:${generation.id}`, generation);
  return known;
}
