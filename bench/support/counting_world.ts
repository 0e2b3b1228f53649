// The real world, with a count of what is written to which files: log and members are told apart by their
// names.

import type { Disk, DiskOperation, Storage } from "../../src/io/disk.ts";
import { nodeWorld } from "../../src/io/node_world.ts";
import type { World } from "../../src/io/world.ts";

export class WriteCount {
  logBytes = 0;
  memberBytes = 0;
  syncs = 0;
}

export function countingWorld(count: WriteCount): World {
  const world = nodeWorld();
  return { ...world, storage: new CountingStorage(world.storage, count) };
}

class CountingStorage implements Storage {
  readonly #inner: Storage;
  readonly #count: WriteCount;

  constructor(inner: Storage, count: WriteCount) {
    this.#inner = inner;
    this.#count = count;
  }

  async open(path: string, options?: { readonly readOnly?: boolean }): Promise<Disk> {
    return new CountingDisk(await this.#inner.open(path, options), this.#count);
  }

  async create(path: string, bytes: number, fill: "sparse" | "zeros"): Promise<Disk> {
    return new CountingDisk(await this.#inner.create(path, bytes, fill), this.#count);
  }

  exists(path: string): Promise<boolean> {
    return this.#inner.exists(path);
  }

  remove(path: string): Promise<void> {
    return this.#inner.remove(path);
  }

  lock(disks: readonly Disk[]): Promise<void> {
    return this.#inner.lock(disks.map((disk) => (disk as CountingDisk).inner));
  }
}

class CountingDisk implements Disk {
  readonly inner: Disk;
  readonly #count: WriteCount;
  readonly #kind: "logBytes" | "memberBytes";

  constructor(inner: Disk, count: WriteCount) {
    this.inner = inner;
    this.#count = count;
    this.#kind = /-log\d+[^/]*$/.test(inner.path) ? "logBytes" : "memberBytes";
  }

  get path(): string {
    return this.inner.path;
  }

  get bytes(): number {
    return this.inner.bytes;
  }

  submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    for (const { kind, buffer } of batch) if (kind === "write") this.#count[this.#kind] += buffer.length;
    return this.inner.submit(batch);
  }

  sync(): Promise<void> {
    this.#count.syncs++;
    return this.inner.sync();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.inner.discard(offset, length);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
