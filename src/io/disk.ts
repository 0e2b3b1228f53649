// A disk is one file or block device of fixed size. Everything the engine keeps goes through this interface,
// so that tests can own every byte, every order and every fault.

/** One read or write of a batch. Offsets and lengths in bytes; the buffer must not be touched until completion. */
export type DiskOperation =
  | { readonly kind: "read"; readonly offset: number; readonly buffer: Uint8Array }
  | { readonly kind: "write"; readonly offset: number; readonly buffer: Uint8Array };

export interface Disk {
  readonly path: string;
  /** Fixed size in bytes. */
  readonly bytes: number;
  /**
   * Runs a batch; its operations may run in any order and side by side. Never rejects: one result per
   * operation, in order, null for done. A short read or write is an error.
   */
  submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]>;
  /**
   * Makes every write that completed before this call durable. Rejects on failure, which is fatal for the
   * disk: after it every operation fails with ERR_DISK_FAILED and nothing is retried.
   */
  sync(): Promise<void>;
  /**
   * Writes a batch and makes it durable, as submit and sync would, but faster. Rejects with the first error; one of
   * the sync is fatal for the disk. Not every disk has it.
   */
  commit?(batch: readonly DiskOperation[]): Promise<void>;
  /** Lets the device forget a range (it reads as anything afterwards). A hint: never fails. */
  discard(offset: number, length: number): Promise<void>;
  close(): Promise<void>;
}

/** Where disks come from: the file system, or a simulated one. */
export interface Storage {
  /** Opens what exists. Rejects with ERR_NOT_FOUND, or ERR_DISK_FAILED with the cause. */
  open(path: string, options?: { readonly readOnly?: boolean }): Promise<Disk>;
  /**
   * Makes a file of the given size and syncs it and its directory; rejects with ERR_EXISTS if there is one.
   * fill "sparse" only sets the size; "zeros" writes zeros, so that later syncs need no metadata.
   * A block device that exists is opened instead (it must be at least that large).
   */
  create(path: string, bytes: number, fill: "sparse" | "zeros"): Promise<Disk>;
  exists(path: string): Promise<boolean>;
  remove(path: string): Promise<void>;
  /**
   * Takes an exclusive lock on every disk, held until the disks are closed or the process dies (the kernel
   * drops it). Rejects with ERR_LOCKED, naming the path, when another opener holds one.
   */
  lock(disks: readonly Disk[]): Promise<void>;
}

/** Reads exactly buffer.length bytes or throws. */
export async function readDisk(disk: Disk, offset: number, buffer: Uint8Array): Promise<void> {
  const [error] = await disk.submit([{ kind: "read", offset, buffer }]);
  if (error) throw error;
}

/** Writes exactly buffer.length bytes (not yet durable) or throws. */
export async function writeDisk(disk: Disk, offset: number, buffer: Uint8Array): Promise<void> {
  const [error] = await disk.submit([{ kind: "write", offset, buffer }]);
  if (error) throw error;
}

/** Writes the batch and makes it durable, or throws. */
export async function commitToDisk(disk: Disk, batch: readonly DiskOperation[]): Promise<void> {
  await (disk.commit?.(batch) ?? submitAndSync(disk, batch));
}

/** The same in two steps, which every disk can do. */
export async function submitAndSync(disk: Disk, batch: readonly DiskOperation[]): Promise<void> {
  for (const error of await disk.submit(batch)) if (error !== null) throw error;
  await disk.sync();
}
