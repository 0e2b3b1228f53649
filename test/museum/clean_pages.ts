// Linux's page cache after an fsync that failed: it reports the error once, and marks the pages clean. They
// still read as written, and the next fsync succeeds; after a power failure they are what they were before.
import type { Disk, DiskOperation, Storage } from "../../src/io/disk.ts";
import type { MemoryStorage } from "../support/memory_storage.ts";

const SECTOR_BYTES = 512;

interface LostSector {
  /** What the device holds. */
  readonly stored: Uint8Array;
  /** It was written again: the next sync that succeeds brings it to the device. */
  isDirty: boolean;
}

export class CleanPagesStorage implements Storage {
  /** Syncs that were asked for since the failure, of the path that failed. */
  syncsAfterFailure = 0;
  readonly #inner: MemoryStorage;
  readonly #failing = new Set<string>();
  readonly #failed = new Set<string>();
  readonly #lost = new Map<string, Map<number, LostSector>>();

  constructor(inner: MemoryStorage) {
    this.#inner = inner;
  }

  /** The next sync of that file fails, once. */
  failNextSync(path: string): void {
    this.#failing.add(path);
  }

  /** Everything that the failed sync should have written is gone, and so is what was not synced at all. */
  afterPowerFailure(): MemoryStorage {
    const after = this.#inner.afterCrash("drop");
    for (const [path, sectors] of this.#lost) {
      for (const [offset, { stored }] of sectors) after.poke(path, offset, stored);
    }
    return after;
  }

  async open(path: string, options?: { readonly readOnly?: boolean }): Promise<Disk> {
    return new CleanPagesDisk(this, await this.#inner.open(path, options));
  }

  async create(path: string, bytes: number, fill: "sparse" | "zeros"): Promise<Disk> {
    return new CleanPagesDisk(this, await this.#inner.create(path, bytes, fill));
  }

  exists(path: string): Promise<boolean> {
    return this.#inner.exists(path);
  }

  remove(path: string): Promise<void> {
    return this.#inner.remove(path);
  }

  lock(disks: readonly Disk[]): Promise<void> {
    return this.#inner.lock(disks.map((disk) => (disk as CleanPagesDisk).inner));
  }

  /** For its disks. */
  onWrite(path: string, { offset, buffer }: DiskOperation): void {
    const sectors = this.#lost.get(path);
    for (let at = offset; at < offset + buffer.length; at += SECTOR_BYTES) {
      const sector = sectors?.get(at);
      if (sector !== undefined) sector.isDirty = true;
    }
  }

  /** For its disks: whether this sync fails. */
  onSync(path: string): boolean {
    if (this.#failed.has(path)) this.syncsAfterFailure += 1;
    const sectors = this.#lost.get(path) ?? new Map<number, LostSector>();
    this.#lost.set(path, sectors);
    if (!this.#failing.delete(path)) {
      for (const [offset, { isDirty }] of sectors) if (isDirty) sectors.delete(offset);
      return false;
    }
    this.#failed.add(path);
    const device = this.#inner.ifPowerFailedNow("drop");
    for (const { offset, data } of this.#inner.unsynced(path)) {
      for (let at = offset; at < offset + data.length; at += SECTOR_BYTES) {
        sectors.set(at, { stored: device.peek(path, at, SECTOR_BYTES), isDirty: false });
      }
    }
    return true;
  }
}

class CleanPagesDisk implements Disk {
  readonly inner: Disk;
  readonly #storage: CleanPagesStorage;

  constructor(storage: CleanPagesStorage, inner: Disk) {
    this.#storage = storage;
    this.inner = inner;
  }

  get path(): string {
    return this.inner.path;
  }

  get bytes(): number {
    return this.inner.bytes;
  }

  submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    for (const operation of batch)
      if (operation.kind === "write") this.#storage.onWrite(this.path, operation);
    return this.inner.submit(batch);
  }

  async sync(): Promise<void> {
    const isFailing = this.#storage.onSync(this.path);
    await this.inner.sync();
    if (isFailing) throw Object.assign(new Error(`${this.path}: fsync: i/o error`), { code: "EIO" });
  }

  discard(offset: number, length: number): Promise<void> {
    return this.inner.discard(offset, length);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
