// A storage over another one, for faults, counters and the like: everything is handed on. Override what is to differ,
// and say how a disk is wrapped.

import type { Disk, DiskOperation, Storage } from "../../src/io/disk.ts";

export abstract class WrappedStorage<Inner extends Storage = Storage> implements Storage {
  readonly inner: Inner;

  constructor(inner: Inner) {
    this.inner = inner;
  }

  protected abstract wrap(disk: Disk): WrappedDisk;

  async open(path: string, options?: { readonly readOnly?: boolean }): Promise<Disk> {
    return this.wrap(await this.inner.open(path, options));
  }

  async create(path: string, bytes: number, fill: "sparse" | "zeros"): Promise<Disk> {
    return this.wrap(await this.inner.create(path, bytes, fill));
  }

  exists(path: string): Promise<boolean> {
    return this.inner.exists(path);
  }

  remove(path: string): Promise<void> {
    return this.inner.remove(path);
  }

  lock(disks: readonly Disk[]): Promise<void> {
    return this.inner.lock(disks.map((disk) => (disk as WrappedDisk).inner));
  }
}

export class WrappedDisk implements Disk {
  readonly inner: Disk;

  constructor(inner: Disk) {
    this.inner = inner;
  }

  get path(): string {
    return this.inner.path;
  }

  get bytes(): number {
    return this.inner.bytes;
  }

  submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    return this.inner.submit(batch);
  }

  sync(): Promise<void> {
    return this.inner.sync();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.inner.discard(offset, length);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
