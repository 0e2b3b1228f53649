// What a simulated disk holds: a sparse array of bytes in pages of 8 KiB. Pages nobody wrote read as zeros
// and cost nothing, so a disk of many terabytes is fine. `fork` makes a second image that shares every page;
// whoever writes to a shared page copies it first.

export const PAGE_BYTES = 8 * 1024;

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
    forEachPage(offset, from, (index, within, piece) => this.writable(index).set(piece, within));
  }

  /** The page as something that may be written; a new one starts as a copy of `base`, or as zeros. */
  writable(index: number, base?: Uint8Array): Uint8Array {
    const old = this.#pages.get(index);
    if (old !== undefined && this.#owned.has(index)) return old;
    const page = new Uint8Array(PAGE_BYTES);
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
