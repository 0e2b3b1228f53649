// From a client's byte range to log entries: whole blocks, partial ones completed first from the newest entry
// (pending ones included), pieces of at most 1 MiB, each one entry.
//
// Completing a partial block may read from the members, and somebody may change the block meanwhile: then it is
// completed again. The check and the append are one synchronous step.
import { BLOCK_BYTES, ENTRY_KIND_TRIM, ENTRY_KIND_WRITE } from "../../assembly/format.ts";
import { hashChecker } from "./consistency_point.ts";
import type { VolumeCore } from "./core.ts";
import type { PendingEntry, WriteMode } from "./pending.ts";
import { findRoom, fitsLimit } from "./space.ts";

export interface AppendRequest {
  readonly mode: WriteMode;
  readonly signal?: AbortSignal;
}

/** Reads one whole block as it is visible now. */
export type BlockReader = (lba: number, out: Uint8Array, signal?: AbortSignal) => Promise<void>;

interface NewEntry {
  readonly kind: number;
  readonly lba: number;
  readonly count: number;
  readonly parts: readonly Uint8Array[] | null;
}

interface Waiting {
  /** When it gives up waiting for room. */
  readonly deadlineMs: number;
}

const TRIM_BLOCKS_PER_ENTRY = 0x7fffffff;

interface Edge {
  readonly lba: number;
  readonly block: Uint8Array;
  /** The content is what this entry and those before it have made of the block. */
  readonly through: number;
}

export class Appender {
  readonly #core: VolumeCore;
  readonly #readVisible: BlockReader;

  constructor(core: VolumeCore, readVisible: BlockReader) {
    this.#core = core;
    this.#readVisible = readVisible;
  }

  /** Resolves when the whole range has met its mode. */
  write(offset: number, data: Uint8Array, request: AppendRequest): Promise<void> {
    return this.#writeNow(offset, data, request) ?? this.#writePieces(offset, data, request);
  }

  /** Nearly every write is one entry of whole blocks, and nothing has to be waited for before it is appended. */
  #writeNow(offset: number, data: Uint8Array, request: AppendRequest): Promise<void> | null {
    const isEntry = data.length > 0 && data.length <= this.#core.log.entryPayloadMax;
    if (!isEntry || offset % BLOCK_BYTES !== 0 || data.length % BLOCK_BYTES !== 0) return null;
    const count = data.length / BLOCK_BYTES;
    if (!fitsLimit(this.#core, count)) return null;
    const what = { kind: ENTRY_KIND_WRITE, lba: offset / BLOCK_BYTES, count, parts: [data] };
    return this.#appendUnlessWaiting(what, request);
  }

  async #writePieces(offset: number, data: Uint8Array, request: AppendRequest): Promise<void> {
    const acknowledged: Promise<void>[] = [];
    for (let at = 0; at < data.length; ) {
      const position = offset + at;
      const room = this.#core.log.entryPayloadMax - (position % BLOCK_BYTES);
      const piece = data.subarray(at, at + Math.min(room, data.length - at));
      try {
        acknowledged.push((await this.#writePiece(position, piece, request)).done);
      } catch (error) {
        // The pieces before it are acknowledged or in doubt when the client hears of it, never merely late.
        await Promise.allSettled(acknowledged);
        throw error;
      }
      at += piece.length;
    }
    await allSettledOrThrow(acknowledged);
  }

  /** The whole blocks in the range read as zeros from now on. */
  trim(offset: number, length: number, request: AppendRequest): Promise<void> {
    const first = Math.ceil(offset / BLOCK_BYTES);
    const end = Math.floor((offset + length) / BLOCK_BYTES);
    return this.#trimNow(first, end - first, request) ?? this.#trimPieces(first, end, request);
  }

  /** Also so that nothing that is asked for later in the same turn overtakes it. */
  #trimNow(lba: number, count: number, request: AppendRequest): Promise<void> | null {
    if (count <= 0 || count > TRIM_BLOCKS_PER_ENTRY) return null;
    return this.#appendUnlessWaiting({ kind: ENTRY_KIND_TRIM, lba, count, parts: null }, request);
  }

  async #trimPieces(first: number, end: number, request: AppendRequest): Promise<void> {
    const acknowledged: Promise<void>[] = [];
    for (let lba = first; lba < end; lba += TRIM_BLOCKS_PER_ENTRY) {
      const count = Math.min(TRIM_BLOCKS_PER_ENTRY, end - lba);
      const what = { kind: ENTRY_KIND_TRIM, lba, count, parts: null, deadlineMs: this.#core.newDeadlineMs() };
      const appended = await this.#append(what, request, () => true);
      acknowledged.push(appended!.done);
    }
    await allSettledOrThrow(acknowledged);
  }

  /** The range reads as zeros: whole blocks as a trim, the edges written. */
  async zero(offset: number, length: number, request: AppendRequest): Promise<void> {
    const end = offset + length;
    const head = Math.min(end, Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES);
    const tail = Math.max(head, Math.floor(end / BLOCK_BYTES) * BLOCK_BYTES);
    if (head > offset) await this.write(offset, new Uint8Array(head - offset), request);
    if (tail > head) await this.trim(head, tail - head, request);
    if (end > tail) await this.write(tail, new Uint8Array(end - tail), request);
  }

  async #writePiece(
    offset: number,
    data: Uint8Array,
    request: AppendRequest,
  ): Promise<{ done: Promise<void> }> {
    const first = Math.floor(offset / BLOCK_BYTES);
    const count = Math.ceil((offset + data.length) / BLOCK_BYTES) - first;
    // One for all rounds: a piece waits for room as long as it would wait for its acknowledgement.
    const deadlineMs = this.#core.newDeadlineMs();
    const partial = partialBlocks(offset, data.length);
    for (;;) {
      await this.#core.pass(request.signal, deadlineMs);
      const hasRoom = await findRoom(this.#core, first, count, deadlineMs, request.signal);
      const edges = partial.length === 0 ? [] : await this.#prepareEdges(partial, deadlineMs, request.signal);
      const isCurrent = () => hasRoom() && edges.every(({ lba, through }) => !this.#hasChanged(lba, through));
      const parts = edges.length === 0 ? [data] : mergeEdges(offset, data, edges);
      const what = { kind: ENTRY_KIND_WRITE, lba: first, count, parts, deadlineMs };
      const appended = await this.#append(what, request, isCurrent);
      if (appended !== null) return appended;
    }
  }

  /** null: what the caller prepared is not current any more. The promise is wrapped, so that it is not awaited here. */
  async #append(
    what: NewEntry & Waiting,
    request: AppendRequest,
    isCurrent: () => boolean,
  ): Promise<{ done: Promise<void> } | null> {
    const core = this.#core;
    const { deadlineMs } = what;
    for (;;) {
      await core.pass(request.signal, deadlineMs);
      if (!isCurrent()) return null;
      if (core.log.needsSeal(payloadBytesOf(what))) {
        if (!core.seal()) await core.waitForSpace(request.signal, deadlineMs);
        continue;
      }
      const done = this.#appendNow(what, request);
      if (done === null) {
        await core.waitForSpace(request.signal, deadlineMs);
        continue;
      }
      // It may fail while a later piece of the same write waits for room, before anybody looks at it.
      done.catch(() => {});
      return { done };
    }
  }

  /** Without waiting for the gate or a seal; null: one of them, or room in the log, has to be waited for. */
  #appendUnlessWaiting(what: NewEntry, request: AppendRequest): Promise<void> | null {
    const { isPassable, log } = this.#core;
    if (!isPassable || request.signal?.aborted || log.needsSeal(payloadBytesOf(what))) return null;
    return this.#appendNow(what, request);
  }

  /** Resolves when the entry has met its mode. null: there is no room for it in the log now. */
  #appendNow(what: NewEntry, { mode, signal }: AppendRequest): Promise<void> | null {
    const core = this.#core;
    const { kind, lba, count, parts } = what;
    const appended = core.log.append(kind, lba, count, parts);
    if (appended === null) return null;
    const { sequence, location, view } = appended;
    const payload = parts === null ? null : view.subarray(view.length - payloadBytesOf(what));
    const hashes = payload === null ? null : hashesOf(core, payload, count);
    const done = core.track({ sequence, kind, lba, count, location, mode, payload, hashes }, signal);
    core.onAppended?.(appended);
    core.onWork();
    return done;
  }

  async #prepareEdges(lbas: readonly number[], deadlineMs: number, signal?: AbortSignal): Promise<Edge[]> {
    // It may have waited for room, and the volume may have been closed meanwhile.
    await this.#core.pass(signal, deadlineMs);
    return this.#core.reading.add(this.#readEdges(lbas, signal));
  }

  async #readEdges(lbas: readonly number[], signal?: AbortSignal): Promise<Edge[]> {
    const edges: Edge[] = [];
    for (const lba of lbas) edges.push(await this.#readNewest(lba, signal));
    return edges;
  }

  async #readNewest(lba: number, signal?: AbortSignal): Promise<Edge> {
    const through = this.#core.log.tail.sequence;
    const block = new Uint8Array(BLOCK_BYTES);
    const pending = this.#newestPending(lba);
    if (pending === null) await this.#readVisible(lba, block, signal);
    else await this.#readPending(pending, lba, block);
    return { lba, block, through };
  }

  /** Null: what is visible is newer, because entries become visible in whatever order they meet their modes. */
  #newestPending(lba: number): PendingEntry | null {
    const entry = this.#core.pending.newestOf(lba);
    return entry !== null && entry.sequence > this.#core.halves.sequenceOf(lba) ? entry : null;
  }

  async #readPending(entry: PendingEntry, lba: number, block: Uint8Array): Promise<void> {
    if (entry.hashes === null) return; // A trim: zeros, which the block is already.
    const index = lba - entry.lba;
    if (entry.payload !== null) {
      block.set(entry.payload.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES));
      return;
    }
    // A replayed entry that waits for the mirror: it is in the log's files only.
    const isRight = hashChecker(this.#core, entry.hashes, (at) => at * 4);
    await this.#core.log.read(entry.location + index, BLOCK_BYTES, block, (bytes) => isRight(index, bytes));
  }

  /** Has an entry behind that one changed the block, be it pending, visible, or in the image already? */
  #hasChanged(lba: number, through: number): boolean {
    const { pending, halves } = this.#core;
    if ((pending.newestOf(lba)?.sequence ?? 0) > through) return true;
    return halves.droppedThrough > through || halves.newestOf(lba) > through;
  }
}

function payloadBytesOf({ parts, count }: NewEntry): number {
  return parts === null ? 0 : count * BLOCK_BYTES;
}

export function hashesOf(core: VolumeCore, payload: Uint8Array, count: number): Uint32Array {
  const hashes = new Uint32Array(count * 4);
  core.kernel.hashBlocksAt(payload.byteOffset, count, hashes);
  for (let i = 0; i < count; i++) {
    const block = payload.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
    if (block[0] === 0 && block[BLOCK_BYTES - 1] === 0 && core.kernel.isZero(block))
      hashes.fill(0, i * 4, i * 4 + 4);
  }
  return hashes;
}

/** The blocks at the ends of the range that it covers in part: at most two. */
function partialBlocks(offset: number, length: number): number[] {
  const end = offset + length;
  const lbas = new Set<number>();
  if (offset % BLOCK_BYTES !== 0) lbas.add(Math.floor(offset / BLOCK_BYTES));
  if (end % BLOCK_BYTES !== 0) lbas.add(Math.floor(end / BLOCK_BYTES));
  return [...lbas];
}

/** The blocks that hold the data, with its own bytes over those of the edges. */
function mergeEdges(offset: number, data: Uint8Array, edges: readonly Edge[]): Uint8Array[] {
  const first = Math.floor(offset / BLOCK_BYTES);
  const end = offset + data.length;
  const last = Math.ceil(end / BLOCK_BYTES) - 1;
  const parts: Uint8Array[] = [];
  for (const { lba, block } of edges) {
    const from = Math.max(offset, lba * BLOCK_BYTES);
    const to = Math.min(end, (lba + 1) * BLOCK_BYTES);
    block.set(data.subarray(from - offset, to - offset), from - lba * BLOCK_BYTES);
  }
  const head = edges.find(({ lba }) => lba === first);
  const tail = first === last ? undefined : edges.find(({ lba }) => lba === last);
  const bodyFrom = head ? (first + 1) * BLOCK_BYTES : offset;
  const bodyTo = tail ? last * BLOCK_BYTES : end;
  if (head) parts.push(head.block);
  if (bodyTo > bodyFrom && (head === undefined || first !== last))
    parts.push(data.subarray(bodyFrom - offset, bodyTo - offset));
  if (tail) parts.push(tail.block);
  return parts;
}

async function allSettledOrThrow(promises: readonly Promise<void>[]): Promise<void> {
  if (promises.length === 1) return promises[0];
  for (const result of await Promise.allSettled(promises))
    if (result.status === "rejected") throw result.reason;
}
