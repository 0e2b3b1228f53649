// What a simulated disk holds: a sparse array of bytes in pages of 4 KiB. Pages nobody wrote read as zeros
// and cost nothing, so a disk of many terabytes is fine. `fork` makes a second image that shares every page;
// whoever writes to a shared page copies it first.

export const PAGE_BYTES = 4 * 1024;
/** Pages are cut from larger pieces: a buffer for each would keep the collector busy. */
const SLAB_BYTES = 512 * 1024;

class Slabs {
  /** The newest one last. Only those that are to be used again are remembered. */
  used: Uint8Array[] = [];
  readonly #areShortLived: boolean;
  #rest = 0;

  constructor(areShortLived: boolean) {
    this.#areShortLived = areShortLived;
  }

  get shortLived(): readonly Uint8Array[] {
    return this.#areShortLived ? this.used : [];
  }

  /** New bytes, all zero. */
  allocate(bytes: number): Uint8Array {
    if (bytes > SLAB_BYTES / 4) return new Uint8Array(bytes);
    if (bytes > this.#rest) {
      if (!this.#areShortLived) this.used = [];
      const old = this.#areShortLived ? spare.pop()?.fill(0) : undefined;
      this.used.push(old ?? new Uint8Array(SLAB_BYTES));
      this.#rest = SLAB_BYTES;
    }
    const at = SLAB_BYTES - this.#rest;
    this.#rest -= bytes;
    return this.used.at(-1)!.subarray(at, at + bytes);
  }
}

const spare: Uint8Array[] = [];
let slabs = new Slabs(false);

/** New bytes, all zero. */
export function allocate(bytes: number): Uint8Array {
  return slabs.allocate(bytes);
}

/** What is allocated meanwhile is used again as soon as the action has ended. No two may run at once. */
export function withShortLivedPages<T>(action: () => Promise<T>): Promise<T> {
  return withSlabs(new Slabs(true), action);
}

/** What is allocated meanwhile stays, also within withShortLivedPages. */
export function withLastingPages<T>(action: () => Promise<T>): Promise<T> {
  return withSlabs(new Slabs(false), action);
}

async function withSlabs<T>(own: Slabs, action: () => Promise<T>): Promise<T> {
  const outer = slabs;
  slabs = own;
  try {
    return await action();
  } finally {
    slabs = outer;
    spare.push(...own.shortLived);
  }
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
