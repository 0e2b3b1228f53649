// The Disk over a simulated file. Every read, write and sync is one step of the storage it belongs to, so
// that the storage can number them and stop the world at any of them.
//
// It is stricter than a kernel where that finds mistakes: a buffer is copied only when its operation runs
// (whoever changes it too early sees it), and operations of one batch that overlap are an assertion.

import type { Disk, DiskOperation } from "../../src/io/disk.ts";
import { refuseOperation } from "../../src/io/disk_errors.ts";
import { assert, MirrorvolError } from "../../src/kernel/errors.ts";
import type { MemoryFile } from "./memory_file.ts";
import type { MemoryStorage } from "./memory_storage.ts";

export class MemoryDisk implements Disk {
  readonly path: string;
  readonly bytes: number;
  readonly file: MemoryFile;
  readonly #storage: MemoryStorage;
  readonly #isReadOnly: boolean;
  #isClosed = false;

  constructor(storage: MemoryStorage, file: MemoryFile, isReadOnly: boolean) {
    this.path = file.path;
    this.bytes = file.bytes;
    this.file = file;
    this.#storage = storage;
    this.#isReadOnly = isReadOnly;
  }

  async submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    assertDisjoint(this.path, batch);
    let newest = 0;
    const results = await Promise.all(
      batch.map(async (operation) => {
        const refused = this.#isClosed
          ? this.#closedError(operation.kind)
          : refuseOperation(this, operation, this.#isReadOnly);
        if (refused) return refused;
        const order = await this.#run(operation);
        newest = Math.max(newest, order);
        return null;
      }),
    );
    this.file.completedThrough = Math.max(this.file.completedThrough, newest);
    return results;
  }

  async sync(): Promise<void> {
    if (this.#isClosed) throw this.#closedError("sync");
    const through = this.file.completedThrough;
    await this.#storage.runEvent({ kind: "sync", path: this.path, offset: 0, length: 0 }, () => {
      this.file.sync(through);
    });
  }

  /** A hint that this disk does not take: what was forgotten reads as before. */
  async discard(_offset: number, _length: number): Promise<void> {}

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#storage.runStep(() => {
      if (this.file.lockedBy === this) this.file.lockedBy = null;
    });
  }

  #run(operation: DiskOperation): Promise<number> {
    const { offset, buffer } = operation;
    if (operation.kind === "read") {
      return this.#storage.runStep(() => {
        this.file.read(offset, buffer);
        return 0;
      });
    }
    const event = { kind: "write", path: this.path, offset, length: buffer.length } as const;
    return this.#storage.runEvent(event, (fate) => {
      if (fate === "keep") return this.file.write(offset, buffer);
      this.file.writeTorn(offset, buffer, fate);
      return 0;
    });
  }

  #closedError(operation: string): MirrorvolError {
    return new MirrorvolError("ERR_DISK_CLOSED", `${this.path}: ${operation}: the disk is closed`);
  }
}

/** Operations of one batch may run in any order, so those that overlap are a mistake. */
export function assertDisjoint(path: string, batch: readonly DiskOperation[]): void {
  const sorted = [...batch].sort((left, right) => left.offset - right.offset);
  let end = Number.NEGATIVE_INFINITY;
  let isAnyWrite = false;
  for (const { kind, offset, buffer } of sorted) {
    const isOverlap = offset < end && (isAnyWrite || kind === "write");
    assert(!isOverlap, `${path}: operations of one batch overlap at ${offset}`);
    isAnyWrite = offset < end ? isAnyWrite || kind === "write" : kind === "write";
    end = Math.max(end, offset + buffer.length);
  }
}
