// Faults as a decorator over any Storage, simulated or real. Each fault belongs to a path and holds for disks
// that are open already as well as for those opened later.
//
//   const faults = new FaultyStorage(new MemoryStorage());
//   faults.fail("/m/0", "read", { offset: 4096, length: 512 });   // a bad sector, until heal()
//   faults.fail("/m/0", "sync", { count: 1 });                    // then the open disk is dead, as a real one
//   faults.loseNextWrite("/m/1");                                 // reported as done, never done
//   faults.misdirectNextWrite("/m/1", 8192);                      // lands that many bytes further on
//   await faults.corrupt("/m/2", 0, 16);                          // flips bits of what is stored
//   faults.detach("/m/2");                                        // the member is gone; attach brings it back
//   faults.fillUp("/m/");                                         // ENOSPC below a prefix
//   faults.heal();                                                // the end of all of them but corruption

import type { Disk, DiskOperation, Storage } from "../../src/io/disk.ts";
import { readDisk, writeDisk } from "../../src/io/disk.ts";
import { diskError } from "../../src/io/disk_errors.ts";

type Kind = "read" | "write" | "sync";

export interface FaultRange {
  /** How often; for ever unless given. */
  readonly count?: number;
  /** Only operations that touch this range of bytes; the whole disk unless given. */
  readonly offset?: number;
  readonly length?: number;
}

interface Fault {
  readonly path: string;
  readonly kind: Kind;
  readonly start: number;
  readonly end: number;
  remaining: number;
}

/** Where a write goes instead; null: nowhere. */
type Detour = { readonly byOffset: number } | null;

const FLIP = 0x5a;

export class FaultyStorage<S extends Storage = Storage> implements Storage {
  readonly inner: S;
  #faults: Fault[] = [];
  #detached = new Set<string>();
  #fullPrefixes = new Set<string>();
  #detours = new Map<string, Detour[]>();

  constructor(inner: S) {
    this.inner = inner;
  }

  fail(path: string, kind: Kind, range: FaultRange = {}): void {
    const { count = Number.POSITIVE_INFINITY, offset = 0, length = Number.POSITIVE_INFINITY } = range;
    this.#faults.push({ path, kind, start: offset, end: offset + length, remaining: count });
  }

  loseNextWrite(path: string): void {
    this.#detour(path, null);
  }

  misdirectNextWrite(path: string, byOffset: number): void {
    this.#detour(path, { byOffset });
  }

  /** The disk disappears: what is open fails, opening finds nothing. */
  detach(path: string): void {
    this.#detached.add(path);
  }

  /** It is back, with what it held. What was open stays dead, as the descriptors of a lost device do. */
  attach(path: string): void {
    this.#detached.delete(path);
  }

  fillUp(prefix: string): void {
    this.#fullPrefixes.add(prefix);
  }

  heal(): void {
    this.#faults = [];
    this.#detached.clear();
    this.#fullPrefixes.clear();
    this.#detours.clear();
  }

  /** Changes stored bytes, durably, through the disk below. */
  async corrupt(path: string, offset: number, length: number): Promise<void> {
    const disk = await this.inner.open(path);
    const bytes = new Uint8Array(length);
    await readDisk(disk, offset, bytes);
    await writeDisk(
      disk,
      offset,
      bytes.map((byte) => byte ^ FLIP),
    );
    await disk.sync();
    await disk.close();
  }

  async open(path: string, options?: { readonly readOnly?: boolean }): Promise<Disk> {
    if (this.#detached.has(path)) throw goneError(path, "open", "ERR_NOT_FOUND");
    return new FaultyDisk(this, await this.inner.open(path, options));
  }

  async create(path: string, bytes: number, fill: "sparse" | "zeros"): Promise<Disk> {
    if (this.#detached.has(path)) throw goneError(path, "create", "ERR_NOT_FOUND");
    if (this.isFull(path)) throw fullError(path, "create");
    return new FaultyDisk(this, await this.inner.create(path, bytes, fill));
  }

  async exists(path: string): Promise<boolean> {
    return !this.#detached.has(path) && this.inner.exists(path);
  }

  async remove(path: string): Promise<void> {
    if (this.#detached.has(path)) throw goneError(path, "remove", "ERR_NOT_FOUND");
    await this.inner.remove(path);
  }

  async lock(disks: readonly Disk[]): Promise<void> {
    await this.inner.lock(disks.map((disk) => (disk instanceof FaultyDisk ? disk.inner : disk)));
  }

  isDetached(path: string): boolean {
    return this.#detached.has(path);
  }

  isFull(path: string): boolean {
    return [...this.#fullPrefixes].some((prefix) => path.startsWith(prefix));
  }

  /** Uses up one count of the first fault that meets the operation. */
  strikes(path: string, kind: Kind, offset: number, length: number): boolean {
    const meets = (fault: Fault) =>
      fault.path === path && fault.kind === kind && fault.remaining > 0 && touches(fault, offset, length);
    const fault = this.#faults.find(meets);
    if (fault) fault.remaining -= 1;
    return fault !== undefined;
  }

  /** Undefined: the write goes where it should. */
  takeDetour(path: string): Detour | undefined {
    return this.#detours.get(path)?.shift();
  }

  #detour(path: string, detour: Detour): void {
    const list = this.#detours.get(path) ?? [];
    list.push(detour);
    this.#detours.set(path, list);
  }
}

class FaultyDisk implements Disk {
  readonly inner: Disk;
  readonly #faults: FaultyStorage;
  #failure: Error | null = null;

  constructor(faults: FaultyStorage, inner: Disk) {
    this.#faults = faults;
    this.inner = inner;
  }

  get path(): string {
    return this.inner.path;
  }

  get bytes(): number {
    return this.inner.bytes;
  }

  async submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    const results: (Error | null)[] = batch.map((operation) => this.#meet(operation));
    const passed: DiskOperation[] = [];
    const places: number[] = [];
    for (const [place, operation] of batch.entries()) {
      const changed = results[place] === null ? this.#redirect(operation) : null;
      if (changed === null) continue;
      passed.push(changed);
      places.push(place);
    }
    const outcome = passed.length > 0 ? await this.inner.submit(passed) : [];
    for (const [index, place] of places.entries()) results[place] = outcome[index]!;
    return results;
  }

  async sync(): Promise<void> {
    const failure = this.#dead("sync");
    if (failure) throw failure;
    if (this.#faults.strikes(this.path, "sync", 0, this.bytes)) {
      this.#failure = deviceError(this.path, "sync", undefined);
      throw this.#failure;
    }
    await this.inner.sync();
  }

  async discard(offset: number, length: number): Promise<void> {
    if (this.#dead("discard") === null) await this.inner.discard(offset, length);
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  #meet({ kind, offset, buffer }: DiskOperation): Error | null {
    const failure = this.#dead(kind);
    if (failure) return failure;
    if (this.#faults.strikes(this.path, kind, offset, buffer.length))
      return deviceError(this.path, kind, offset);
    return kind === "write" && this.#faults.isFull(this.path) ? fullError(this.path, kind) : null;
  }

  /** Null: it goes nowhere, and is reported as done. */
  #redirect(operation: DiskOperation): DiskOperation | null {
    if (operation.kind === "read") return operation;
    const detour = this.#faults.takeDetour(this.path);
    if (detour === undefined) return operation;
    return detour === null ? null : { ...operation, offset: operation.offset + detour.byOffset };
  }

  #dead(operation: string): Error | null {
    if (this.#faults.isDetached(this.path)) {
      this.#failure ??= goneError(this.path, operation, "ERR_DISK_FAILED");
    }
    return this.#failure;
  }
}

function touches(fault: Fault, offset: number, length: number): boolean {
  return offset < fault.end && offset + length > fault.start;
}

function deviceError(path: string, operation: string, offset: number | undefined): Error {
  const cause = Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
  return diskError({ path, operation, offset, cause });
}

function goneError(path: string, operation: string, code: `ERR_${string}`): Error {
  return diskError({ path, operation, code, cause: new Error("the disk is gone") });
}

function fullError(path: string, operation: string): Error {
  const cause = Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
  return diskError({ path, operation, cause });
}
