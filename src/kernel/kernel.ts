// The typed side of the kernels: the only place that touches WebAssembly.
//
// A kernel owns a memory of fixed size. The low region belongs to the kernels (assembly/layout.ts), the rest
// is the arena. Offsets are byte offsets into the memory, and views into it can be used as they are: only
// data that lies outside is copied, piece by piece, through the staging area. All calls are synchronous, so
// one staging area, one result and one unit table are enough.
//
// Two volumes in one process have two kernels; nothing here is global but the compiled module.

import { type ASUtil, instantiate, instantiateSync } from "@assemblyscript/loader";
import { BLOCK_BYTES, DATA_UNITS_MAX, PARITY_UNITS_MAX } from "../../assembly/format.ts";
import {
  ARENA_OFFSET,
  PROMISE_DIGEST_PIECE,
  PROMISE_ENTRY_OVERLAP,
  PROMISE_ENTRY_SIZE,
  PROMISE_LOST_COUNT,
  PROMISE_PARITY_BYTES,
  PROMISE_PARITY_SHAPE,
  RESULT_OFFSET,
  STAGING_BYTES,
  STAGING_OFFSET,
  UNITS_OFFSET,
} from "../../assembly/layout.ts";
import { Arena } from "./arena.ts";
import { assert, MirrorvolError } from "./errors.ts";
import { WASM_BASE64 } from "./wasm.gen.ts";

const WASM_PAGE_BYTES = 65_536;
const MEMORY_BYTES = 64 * 1024 * 1024;
const DIGEST_BLOCK_BYTES = 1024;
/** Staged pieces leave room in front for the end of the piece before. */
const STAGING_BODY_OFFSET = STAGING_OFFSET + DIGEST_BLOCK_BYTES;
const STAGING_BODY_BYTES = STAGING_BYTES - DIGEST_BLOCK_BYTES;
const CARRY_BYTES = 64;
const HASH_BYTES = 16;
const HASH_WORDS = 4;
const HASHES_PER_CALL = STAGING_BYTES / HASH_BYTES;

const PROMISES: Record<number, string> = {
  [PROMISE_PARITY_SHAPE]: "k is 1 to 15 and m is 0 to 3",
  [PROMISE_PARITY_BYTES]: "a unit is a multiple of 64 bytes",
  [PROMISE_LOST_COUNT]: "at most m units are lost, all of them among the k + m",
  [PROMISE_ENTRY_SIZE]: "the payload has the size that its header names, at most 1 MiB",
  [PROMISE_ENTRY_OVERLAP]: "the payload lies behind its header or apart from it",
  [PROMISE_DIGEST_PIECE]: "the last piece of a digest is 1 to 1024 bytes",
};

interface Exports extends Record<string, unknown> {
  initialize(): void;
  hash64(data: number, bytes: number): void;
  hash128(data: number, bytes: number): void;
  hashRun(data: number, count: number, bytes: number, out: number): void;
  streamBegin(): void;
  streamBlocks(data: number, count: number): void;
  streamEnd(data: number, bytes: number, totalBytes: number): void;
  isZero(data: number, bytes: number): number;
  encodeEntry(entry: number, source: number, payloadBytes: number): void;
  checkEntryHeader(entry: number): number;
  checkEntryPayload(entry: number): number;
  encodeParity(units: number, k: number, m: number, bytes: number): void;
  reconstruct(units: number, k: number, m: number, lostMask: number, bytes: number): void;
}

export interface KernelOptions {
  /** The whole memory, rounded up to 64 KiB. Never grows. Default 64 MiB. */
  memoryBytes?: number;
  /** A memory to use instead of a new one. Nobody else may: what is in it is overwritten. */
  memory?: WebAssembly.Memory;
}

export class Kernel {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly arena: Arena;
  readonly #wasm: Exports;
  readonly #result: Uint32Array;
  readonly #units: Uint32Array;

  static async create(options: KernelOptions = {}): Promise<Kernel> {
    const memory = createMemory(options);
    compiled ??= await WebAssembly.compile(decodeModule());
    const module = await instantiate<Exports>(compiled, importsFor(memory));
    return new Kernel(memory, module.exports);
  }

  static createSync(options: KernelOptions = {}): Kernel {
    const memory = createMemory(options);
    compiled ??= new WebAssembly.Module(decodeModule());
    return new Kernel(memory, instantiateSync<Exports>(compiled, importsFor(memory)).exports);
  }

  private constructor(memory: WebAssembly.Memory, wasm: ASUtil & Exports) {
    const buffer = memory.buffer;
    this.memory = memory;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.arena = new Arena(buffer, ARENA_OFFSET);
    this.#wasm = wasm;
    this.#result = new Uint32Array(buffer, RESULT_OFFSET, HASH_WORDS);
    this.#units = new Uint32Array(buffer, UNITS_OFFSET, DATA_UNITS_MAX + PARITY_UNITS_MAX);
    wasm.initialize();
  }

  /** The offset of a view into this memory, or -1 if it lies elsewhere. */
  offsetOf(view: Uint8Array): number {
    return view.buffer === this.memory.buffer ? view.byteOffset : -1;
  }

  /** XXH3-64 of any bytes: out[0] is the low half, out[1] the high half. */
  checksum64(data: Uint8Array, out: Uint32Array): void {
    this.#digest(data, this.#wasm.hash64);
    this.#takeResult(out, 2);
  }

  checksum64At(offset: number, length: number, out: Uint32Array): void {
    this.#checkRange(offset, length);
    this.#wasm.hash64(offset, length);
    this.#takeResult(out, 2);
  }

  /** XXH3-128 of any bytes, least significant word first. */
  hash128(data: Uint8Array, out: Uint32Array): void {
    this.#digest(data, this.#wasm.hash128);
    this.#takeResult(out, HASH_WORDS);
  }

  /** XXH3-128 of `count` neighbouring blocks, four words each, into `out` from `outIndex`. */
  hashBlocksAt(offset: number, count: number, out: Uint32Array, outIndex = 0): void {
    this.#checkRange(offset, count * BLOCK_BYTES);
    assert(outIndex + count * HASH_WORDS <= out.length, "hashBlocksAt: out is too short");
    for (let done = 0; done < count; done += HASHES_PER_CALL) {
      const part = Math.min(HASHES_PER_CALL, count - done);
      this.#wasm.hashRun(offset + done * BLOCK_BYTES, part, BLOCK_BYTES, STAGING_OFFSET);
      const hashes = new Uint32Array(this.memory.buffer, STAGING_OFFSET, part * HASH_WORDS);
      out.set(hashes, outIndex + done * HASH_WORDS);
    }
  }

  hashBlock(block: Uint8Array, out: Uint32Array, outIndex = 0): void {
    assert(block.length === BLOCK_BYTES, `hashBlock: a block has ${BLOCK_BYTES} bytes, not ${block.length}`);
    assert(outIndex + HASH_WORDS <= out.length, "hashBlock: out is too short");
    this.#wasm.hashRun(this.#stage(block), 1, BLOCK_BYTES, RESULT_OFFSET);
    for (let word = 0; word < HASH_WORDS; word++) out[outIndex + word] = this.#result[word]!;
  }

  isZero(data: Uint8Array): boolean {
    const offset = this.offsetOf(data);
    if (offset >= 0) return this.#wasm.isZero(offset, data.length) === 1;
    for (let from = 0; from < data.length; from += STAGING_BYTES) {
      const piece = data.subarray(from, from + STAGING_BYTES);
      if (this.#wasm.isZero(this.#stage(piece), piece.length) === 0) return false;
    }
    return true;
  }

  /**
   * Completes the entry whose header fields are in place at `entryOffset`: copies the payload behind the
   * header (unless it lies there already) and fills in both checksums.
   */
  encodeEntryAt(entryOffset: number, sourceOffset: number, payloadBytes: number): void {
    this.#checkRange(entryOffset, payloadBytes);
    this.#checkRange(sourceOffset, payloadBytes);
    this.#wasm.encodeEntry(entryOffset, sourceOffset, payloadBytes);
  }

  /** 0, or one of ENTRY_FAULT_*. */
  checkEntryHeaderAt(entryOffset: number): number {
    return this.#wasm.checkEntryHeader(entryOffset);
  }

  /** 0, or one of ENTRY_FAULT_*. The header must have been checked, and the payload must be there. */
  checkEntryPayloadAt(entryOffset: number): number {
    return this.#wasm.checkEntryPayload(entryOffset);
  }

  /**
   * Writes m parity units over k data units; `units` are offsets, k data then m parity. `bytes` is a multiple
   * of 64. Units may lie anywhere, but no parity unit overlaps another unit.
   */
  encodeParity(units: ArrayLike<number>, k: number, m: number, bytes: number): void {
    this.#setUnits(units, k + m);
    this.#wasm.encodeParity(UNITS_OFFSET, k, m, bytes);
  }

  /** Writes every unit whose bit is set in `lostMask`, reading only the others; else as encodeParity. */
  reconstruct(units: ArrayLike<number>, k: number, m: number, lostMask: number, bytes: number): void {
    this.#setUnits(units, k + m);
    this.#wasm.reconstruct(UNITS_OFFSET, k, m, lostMask, bytes);
  }

  #setUnits(units: ArrayLike<number>, count: number): void {
    assert(count <= units.length, `parity: ${count} units are needed, ${units.length} are given`);
    assert(count <= this.#units.length, `parity: ${count} units are too many`);
    for (let index = 0; index < count; index++) this.#units[index] = units[index]!;
  }

  #checkRange(offset: number, length: number): void {
    const isInside = offset >= 0 && length >= 0 && offset + length <= this.bytes.length;
    assert(isInside, `kernel: ${length} bytes at ${offset} are not in the memory`);
  }

  #takeResult(out: Uint32Array, words: number): void {
    for (let word = 0; word < words; word++) out[word] = this.#result[word]!;
  }

  #digest(data: Uint8Array, whole: (data: number, bytes: number) => void): void {
    const isInside = data.buffer === this.memory.buffer;
    if (isInside || data.length <= STAGING_BYTES) return whole(this.#stage(data), data.length);
    this.#digestStaged(data);
  }

  /** Digests data from outside that is longer than the staging area. */
  #digestStaged(data: Uint8Array): void {
    const lastFrom = Math.floor((data.length - 1) / DIGEST_BLOCK_BYTES) * DIGEST_BLOCK_BYTES;
    this.#wasm.streamBegin();
    for (let from = 0; from < lastFrom; from += STAGING_BODY_BYTES) {
      const to = Math.min(from + STAGING_BODY_BYTES, lastFrom);
      this.bytes.set(data.subarray(from, to), STAGING_BODY_OFFSET);
      this.#wasm.streamBlocks(STAGING_BODY_OFFSET, (to - from) / DIGEST_BLOCK_BYTES);
    }
    this.bytes.set(data.subarray(lastFrom - CARRY_BYTES), STAGING_BODY_OFFSET - CARRY_BYTES);
    this.#wasm.streamEnd(STAGING_BODY_OFFSET, data.length - lastFrom, data.length);
  }

  /** The offset of the data, copied to the staging area if it lies outside. */
  #stage(data: Uint8Array): number {
    const offset = this.offsetOf(data);
    if (offset >= 0) return offset;
    this.bytes.set(data, STAGING_OFFSET);
    return STAGING_OFFSET;
  }
}

function createMemory(options: KernelOptions): WebAssembly.Memory {
  if (options.memory) return options.memory;
  const memoryBytes = options.memoryBytes ?? MEMORY_BYTES;
  const pages = Math.ceil(memoryBytes / WASM_PAGE_BYTES);
  assert(pages >= 2 && pages <= 65_536, `kernel: a memory of ${memoryBytes} bytes cannot be made`);
  // initial === maximum: views over the memory stay valid for ever.
  return new WebAssembly.Memory({ initial: pages, maximum: pages });
}

function importsFor(memory: WebAssembly.Memory) {
  const fail = (promise: number) => {
    throw new MirrorvolError("ERR_ASSERTION", `kernel: broken promise: ${PROMISES[promise] ?? promise}`);
  };
  return { env: { memory }, promise: { fail } };
}

/** Compiled once a process; it holds no state. */
let compiled: WebAssembly.Module | undefined;

function decodeModule(): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(WASM_BASE64), (character) => character.charCodeAt(0));
}
