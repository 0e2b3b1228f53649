// A block device in memory for the tests: sparse, so that it may be large; every call is recorded, can be
// held until the test lets it go, and can be made to fail.
import type { BlockDevice, DeviceOptions } from "../../src/nbd/export.ts";
import { onAbort } from "../../src/volume/aborts.ts";

const PAGE_BYTES = 65_536;

export type Operation = "read" | "write" | "trim" | "zero" | "flush";

export interface Call {
  readonly operation: Operation;
  readonly offset: number;
  readonly length: number;
  readonly signal: AbortSignal | undefined;
  /** Of a held call: lets it go on. */
  release(): void;
}

export class MemoryDevice implements BlockDevice {
  readonly bytes: number;
  readonly readOnly: boolean;
  readonly calls: Call[] = [];
  /** Calls for which it says true wait until they are released, or aborted. */
  holds: (operation: Operation, offset: number) => boolean = () => false;
  /** The error that a call ends with, or null. */
  fails: (operation: Operation, offset: number) => Error | null = () => null;
  abortedCalls = 0;
  #pages = new Map<number, Uint8Array>();

  constructor(bytes: number, options: { readOnly?: boolean } = {}) {
    this.bytes = bytes;
    this.readOnly = options.readOnly ?? false;
  }

  async read(offset: number, length: number, options?: DeviceOptions): Promise<Uint8Array> {
    await this.#enter("read", offset, length, options);
    const data = new Uint8Array(length);
    for (const [page, from, to, at] of this.#pieces(offset, length)) {
      const content = this.#pages.get(page);
      if (content) data.set(content.subarray(from, to), at);
    }
    return data;
  }

  async write(offset: number, data: Uint8Array, options?: DeviceOptions): Promise<void> {
    await this.#enter("write", offset, data.length, options);
    for (const [page, from, to, at] of this.#pieces(offset, data.length)) {
      let content = this.#pages.get(page);
      if (content === undefined) this.#pages.set(page, (content = new Uint8Array(PAGE_BYTES)));
      content.set(data.subarray(at, at + to - from), from);
    }
  }

  async trim(offset: number, length: number, options?: DeviceOptions): Promise<void> {
    await this.#enter("trim", offset, length, options);
    this.#clear(offset, length);
  }

  async zero(offset: number, length: number, options?: DeviceOptions): Promise<void> {
    await this.#enter("zero", offset, length, options);
    this.#clear(offset, length);
  }

  async flush(options?: DeviceOptions): Promise<void> {
    await this.#enter("flush", 0, 0, options);
  }

  #clear(offset: number, length: number): void {
    for (const [page, from, to] of this.#pieces(offset, length)) {
      if (to - from === PAGE_BYTES) this.#pages.delete(page);
      else this.#pages.get(page)?.fill(0, from, to);
    }
  }

  *#pieces(offset: number, length: number): Generator<[page: number, from: number, to: number, at: number]> {
    if (offset < 0 || offset + length > this.bytes) throw new Error("the server let an offset through");
    for (let at = 0; at < length; ) {
      const from = (offset + at) % PAGE_BYTES;
      const to = Math.min(PAGE_BYTES, from + length - at);
      yield [Math.floor((offset + at) / PAGE_BYTES), from, to, at];
      at += to - from;
    }
  }

  async #enter(operation: Operation, offset: number, length: number, options?: DeviceOptions): Promise<void> {
    const signal = options?.signal;
    await new Promise<void>((resolve, reject) => {
      this.calls.push({ operation, offset, length, signal, release: resolve });
      if (!this.holds(operation, offset)) return resolve();
      if (signal === undefined) return;
      onAbort(signal, () => {
        this.abortedCalls += 1;
        reject(signal.reason);
      });
    });
    const error = this.fails(operation, offset);
    if (error !== null) throw error;
  }
}
