// The real world, with a count of what is written to which files: log and members are told apart by their
// names.

import type { Disk, DiskOperation, Storage } from "../../src/io/disk.ts";
import { nodeWorld } from "../../src/io/node_world.ts";
import type { World } from "../../src/io/world.ts";
import { WrappedDisk, WrappedStorage } from "../../test/support/wrapped_storage.ts";

export class WriteCount {
  logBytes = 0;
  memberBytes = 0;
  syncs = 0;
}

export function countingWorld(count: WriteCount): World {
  const world = nodeWorld();
  return { ...world, storage: new CountingStorage(world.storage, count) };
}

class CountingStorage extends WrappedStorage {
  readonly #count: WriteCount;

  constructor(inner: Storage, count: WriteCount) {
    super(inner);
    this.#count = count;
  }

  protected wrap(disk: Disk): WrappedDisk {
    return new CountingDisk(disk, this.#count);
  }
}

class CountingDisk extends WrappedDisk {
  readonly #count: WriteCount;
  readonly #kind: "logBytes" | "memberBytes";

  constructor(inner: Disk, count: WriteCount) {
    super(inner);
    this.#count = count;
    this.#kind = /-log\d+[^/]*$/.test(inner.path) ? "logBytes" : "memberBytes";
  }

  override submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    for (const { kind, buffer } of batch) if (kind === "write") this.#count[this.#kind] += buffer.length;
    return this.inner.submit(batch);
  }

  override sync(): Promise<void> {
    this.#count.syncs++;
    return this.inner.sync();
  }
}
