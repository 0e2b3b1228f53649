// What a simulated disk holds: a sparse array of bytes in pages of 4 KiB. Pages nobody wrote read as zeros
// and cost nothing, so a disk of many terabytes is fine. `fork` makes a second image that shares every page;
// whoever writes to a shared page copies it first.

export const PAGE_BYTES = 4 * 1024;
/** Pages are cut from larger pieces: a buffer for each would keep the collector busy. */
const SLAB_BYTES = 64 * PAGE_BYTES;

let slab = new Uint8Array(0);
let slabUsed = 0;

/** New bytes, all zero. */
export function allocate(bytes: number): Uint8Array {
  if (bytes > SLAB_BYTES / 4) return new Uint8Array(bytes);
  if (slabUsed + bytes > slab.length) {
    slab = new Uint8Array(SLAB_BYTES);
    slabUsed = 0;
  }
  slabUsed += bytes;
  return slab.subarray(slabUsed - bytes, slabUsed);
}

export class SparseImage {
  #pages: Map<number, Uint8Array>;
  /** Pages that no fork shares, so that they may be written in place. */
  #owned = new Set<number>();

  constructor(pages = new Map<number, Uint8Array>()) {
    this.#pages = pages;
  }

  get pageCount(): number {
    return this.#pages.size;
  }

  /** The pages that were ever written, in order. */
  get pages(): number[] {
    return [...this.#pages.keys()].sort((a, b) => a - b);
  }

  page(index: number): Uint8Array | undefined {
    return this.#pages.get(index);
  }

  read(offset: number, into: Uint8Array): void {
    forEachPage(offset, into, (index, within, piece) => {
      const page = this.#pages.get(index);
      if (page === undefined) piece.fill(0);
      else piece.set(page.subarray(within, within + piece.length));
    });
  }

  write(offset: number, from: Uint8Array): void {
    forEachPage(offset, from, (index, within, piece) => this.put(index, within, piece));
  }

  /** Writes within a page; a new page starts as a copy of `base`, or as zeros. */
  put(index: number, within: number, piece: Uint8Array, base?: Uint8Array): void {
    // What was never written is zeros already.
    if (base === undefined && this.#pages.get(index) === undefined && isZero(piece)) return;
    if (piece.length < PAGE_BYTES || this.#owned.has(index)) {
      this.writable(index, base).set(piece, within);
      return;
    }
    const page = allocate(PAGE_BYTES);
    page.set(piece);
    this.#pages.set(index, page);
    this.#owned.add(index);
  }

  /** The page as something that may be written; a new one starts as a copy of `base`, or as zeros. */
  writable(index: number, base?: Uint8Array): Uint8Array {
    const old = this.#pages.get(index);
    if (old !== undefined && this.#owned.has(index)) return old;
    const page = allocate(PAGE_BYTES);
    const content = old ?? base;
    if (content !== undefined) page.set(content);
    this.#pages.set(index, page);
    this.#owned.add(index);
    return page;
  }

  clear(): void {
    this.#pages.clear();
    this.#owned.clear();
  }

  fork(): SparseImage {
    this.#owned.clear();
    return new SparseImage(new Map(this.#pages));
  }
}

const ZEROS = new Uint8Array(1024 * 1024);

export function isZero(bytes: Uint8Array): boolean {
  if (bytes.length === 0 || bytes[0] !== 0) return bytes.length === 0;
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const piece = bytes.subarray(at, at + ZEROS.length);
    if (Buffer.compare(piece, ZEROS.subarray(0, piece.length)) !== 0) return false;
  }
  return true;
}

/** Cuts a range of bytes at the borders of pages. */
export function forEachPage(
  offset: number,
  bytes: Uint8Array,
  visit: (index: number, within: number, piece: Uint8Array) => void,
): void {
  for (let done = 0; done < bytes.length; ) {
    const at = offset + done;
    const within = at % PAGE_BYTES;
    const length = Math.min(PAGE_BYTES - within, bytes.length - done);
    visit((at - within) / PAGE_BYTES, within, bytes.subarray(done, done + length));
    done += length;
  }
}
