// Linux's page cache after an fsync that failed: it reports the error once, and marks the pages clean. They
// still read as written, and the next fsync succeeds; after a power failure they are what they were before.
import type { Disk, DiskOperation } from "../../src/io/disk.ts";
import type { MemoryStorage } from "../support/memory_storage.ts";
import { WrappedDisk, WrappedStorage } from "../support/wrapped_storage.ts";

const SECTOR_BYTES = 512;

interface LostSector {
  /** What the device holds. */
  readonly stored: Uint8Array;
  /** It was written again: the next sync that succeeds brings it to the device. */
  isDirty: boolean;
}

export class CleanPagesStorage extends WrappedStorage<MemoryStorage> {
  /** Syncs that were asked for since the failure, of the path that failed. */
  syncsAfterFailure = 0;
  readonly #failing = new Set<string>();
  readonly #failed = new Set<string>();
  readonly #lost = new Map<string, Map<number, LostSector>>();

  /** The next sync of that file fails, once. */
  failNextSync(path: string): void {
    this.#failing.add(path);
  }

  /** Everything that the failed sync should have written is gone, and so is what was not synced at all. */
  afterPowerFailure(): MemoryStorage {
    const after = this.inner.afterCrash("drop");
    for (const [path, sectors] of this.#lost) {
      for (const [offset, { stored }] of sectors) after.poke(path, offset, stored);
    }
    return after;
  }

  protected wrap(disk: Disk): WrappedDisk {
    return new CleanPagesDisk(this, disk);
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
    const device = this.inner.ifPowerFailedNow("drop");
    for (const { offset, data } of this.inner.unsynced(path)) {
      for (let at = offset; at < offset + data.length; at += SECTOR_BYTES) {
        sectors.set(at, { stored: device.peek(path, at, SECTOR_BYTES), isDirty: false });
      }
    }
    return true;
  }
}

class CleanPagesDisk extends WrappedDisk {
  readonly #storage: CleanPagesStorage;

  constructor(storage: CleanPagesStorage, inner: Disk) {
    super(inner);
    this.#storage = storage;
  }

  override submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    for (const operation of batch)
      if (operation.kind === "write") this.#storage.onWrite(this.path, operation);
    return this.inner.submit(batch);
  }

  override async sync(): Promise<void> {
    const isFailing = this.#storage.onSync(this.path);
    await this.inner.sync();
    if (isFailing) throw Object.assign(new Error(`${this.path}: fsync: i/o error`), { code: "EIO" });
  }
}
