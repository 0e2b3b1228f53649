// A storage for a recovery that changes nothing: it opens for reading only, and what the recovery would have written
// is told to the listener instead. So a check sees with the eyes of the opening itself what each copy lacks.
//
// A recovery does not read again what it has written, so nothing has to be kept.

import type { Disk, DiskOperation, Storage } from "../io/disk.ts";
import { MirrorvolError } from "../kernel/errors.ts";

export type DryWrite = { readonly path: string } & Omit<DiskOperation, "kind">;

export class DryRunStorage implements Storage {
  readonly #inner: Storage;
  readonly #onWrite: (write: DryWrite) => void;

  constructor(inner: Storage, onWrite: (write: DryWrite) => void) {
    this.#inner = inner;
    this.#onWrite = onWrite;
  }

  async open(path: string): Promise<Disk> {
    return new DryRunDisk(await this.#inner.open(path, { readOnly: true }), this.#onWrite);
  }

  exists(path: string): Promise<boolean> {
    return this.#inner.exists(path);
  }

  create(path: string): Promise<Disk> {
    throw refusal(path);
  }

  remove(path: string): Promise<void> {
    throw refusal(path);
  }

  async lock(): Promise<void> {}
}

class DryRunDisk implements Disk {
  readonly #inner: Disk;
  readonly #onWrite: (write: DryWrite) => void;

  constructor(inner: Disk, onWrite: (write: DryWrite) => void) {
    this.#inner = inner;
    this.#onWrite = onWrite;
  }

  get path(): string {
    return this.#inner.path;
  }

  get bytes(): number {
    return this.#inner.bytes;
  }

  async submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    const reads = batch.filter(({ kind }) => kind === "read");
    const results = await this.#inner.submit(reads);
    return batch.map(({ kind, offset, buffer }) => {
      if (kind === "read") return results.shift()!;
      this.#onWrite({ path: this.path, offset, buffer });
      return null;
    });
  }

  async sync(): Promise<void> {}

  async discard(): Promise<void> {}

  close(): Promise<void> {
    return this.#inner.close();
  }
}

function refusal(path: string): MirrorvolError {
  return new MirrorvolError("ERR_READ_ONLY", `${path}: a check changes nothing`);
}
