// A storage whose disks fail where the test says, over any other storage.
import type { Disk, DiskOperation } from "../../src/io/disk.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { WrappedDisk, WrappedStorage } from "../support/wrapped_storage.ts";

export interface DiskCall {
  readonly path: string;
  readonly kind: DiskOperation["kind"] | "sync" | "open";
  readonly offset: number;
  readonly length: number;
}

export class FaultyStorage extends WrappedStorage {
  /** The fate of each call; a failed write is not written, a failed sync makes nothing durable. */
  judge: (call: DiskCall) => Error | null = () => null;
  /** Writes that are reported as done and never happen. */
  loses: (call: DiskCall) => boolean = () => false;
  /** Awaited by every call. */
  gate: (call: DiskCall) => Promise<void> | void = () => {};

  protected wrap(disk: Disk): WrappedDisk {
    return new FaultyDisk(this, disk);
  }

  override async open(path: string, options?: { readonly readOnly?: boolean }): Promise<Disk> {
    const error = this.judge({ path, kind: "open", offset: 0, length: 0 });
    if (error) throw error;
    return super.open(path, options);
  }

  /** From now on everything on these paths fails. */
  kill(...prefixes: string[]): void {
    const before = this.judge;
    this.judge = (call) =>
      prefixes.some((prefix) => call.path.startsWith(prefix)) ? eio(call) : before(call);
  }
}

class FaultyDisk extends WrappedDisk {
  readonly #storage: FaultyStorage;

  constructor(storage: FaultyStorage, inner: Disk) {
    super(inner);
    this.#storage = storage;
  }

  override async submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    const calls = batch.map((operation) => this.#callOf(operation));
    for (const call of calls) await this.#storage.gate(call);
    const verdicts = calls.map((call) => this.#storage.judge(call));
    const isDone = (index: number) =>
      verdicts[index] === null && !(calls[index]!.kind === "write" && this.#storage.loses(calls[index]!));
    const results = await this.inner.submit(batch.filter((_, index) => isDone(index)));
    return verdicts.map((verdict, index) => verdict ?? (isDone(index) ? results.shift()! : null));
  }

  override async sync(): Promise<void> {
    const call: DiskCall = { path: this.path, kind: "sync", offset: 0, length: 0 };
    await this.#storage.gate(call);
    const error = this.#storage.judge(call);
    if (error) throw error;
    await this.inner.sync();
  }

  #callOf({ kind, offset, buffer }: DiskOperation): DiskCall {
    return { path: this.path, kind, offset, length: buffer.length };
  }
}

export function eio({ path, kind, offset }: DiskCall): Error {
  return Object.assign(new Error(`${path}: ${kind} at ${offset}: simulated I/O error`), { code: "EIO" });
}

/** What a process that died just now leaves, while the first one goes on. */
export async function copyOf(storage: MemoryStorage): Promise<MemoryStorage> {
  const copy = new MemoryStorage();
  for (const path of storage.paths) {
    const disk = await storage.open(path, { readOnly: true });
    await disk.close();
    await (await copy.create(path, disk.bytes, "sparse")).close();
    copy.poke(path, 0, storage.peek(path, 0, disk.bytes));
  }
  return copy;
}
