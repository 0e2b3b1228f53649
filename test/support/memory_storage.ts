// A simulated Storage whose every write, order and crash belongs to the test.
//
// Everything runs in the order it was asked for, each operation in a microtask of its own, without timers: the
// same calls give the same run. What changes durable state is an *event* and has a number, from 1:
// a write, a sync, a create, a remove. (Reads, opens and closes run in order too, but have no number.)
//
//   const storage = new MemoryStorage();
//   storage.stopAt(17, "torn");                          // the power goes in the middle of event 17
//   await Promise.race([workload(storage), storage.stopped]);
//   const found = storage.afterCrash(seed);              // what the next process finds; again with other seeds
//   await recover(found);
//
// After the stop nothing completes any more: promises of the dead world stay pending for ever, also those of
// close. So never await them alone: race them with `stopped`. To learn how many events a workload has, run it
// once to its end and read `eventCount`.
//
// What a crash does to unsynced writes stands in memory_file.ts. create and remove are durable when they are
// reported, and a torn create leaves a file of 0 bytes.

import type { Disk, Storage } from "../../src/io/disk.ts";
import { diskError } from "../../src/io/disk_errors.ts";
import { assert } from "../../src/kernel/errors.ts";
import { MemoryDisk } from "./memory_disk.ts";
import {
  type CrashPolicy,
  MemoryFile,
  seededCrash,
  type UnsyncedWrite,
  type WriteFate,
} from "./memory_file.ts";
import { SeededRandom } from "./memory_random.ts";

export type { CrashPolicy, UnsyncedWrite, WriteFate };

export type EventKind = "write" | "sync" | "create" | "remove";

export interface EventRange {
  readonly kind: EventKind;
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

export interface StorageEvent extends EventRange {
  readonly number: number;
}

/**
 * What becomes of the event at which everything stops: it never happens, it happens and nobody hears of it,
 * or (a write) some of its sectors get as far as the unsynced list. A torn sync or remove does not happen.
 */
export type StopVariant = "before" | "after" | "torn";

const NEVER = new Promise<never>(() => {});

export class MemoryStorage implements Storage {
  /** Called with each event just before it happens. */
  onEvent: (event: StorageEvent) => void = () => {};
  /** Resolves when the world stops. */
  readonly stopped: Promise<void>;
  #resolveStopped!: () => void;
  #files = new Map<string, MemoryFile>();
  #eventCount = 0;
  #stopNumber = 0;
  #stopVariant: StopVariant = "before";
  #isStopped = false;
  /** The end of the queue of steps. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor() {
    this.stopped = new Promise((resolve) => (this.#resolveStopped = resolve));
  }

  get eventCount(): number {
    return this.#eventCount;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  get paths(): string[] {
    return [...this.#files.keys()];
  }

  /** Everything stops at the event of that number (from 1, counted since this storage was made). */
  stopAt(eventNumber: number, variant: StopVariant = "before"): void {
    assert(eventNumber > this.#eventCount, `event ${eventNumber} is over, ${this.#eventCount} were counted`);
    this.#stopNumber = eventNumber;
    this.#stopVariant = variant;
  }

  /** Everything stops before the next step. */
  stop(): void {
    this.#isStopped = true;
    this.#resolveStopped();
  }

  /**
   * What a new process finds after the power failed; a storage that still runs is stopped first. A number is
   * a seed; "keep" is what a process that died alone leaves; "drop" is the most that a crash can take. May be
   * called several times, and changes nothing here.
   */
  afterCrash(how: number | "drop" | "keep" | CrashPolicy): MemoryStorage {
    this.stop();
    return this.ifPowerFailedNow(how);
  }

  /** The same while this storage goes on: from onEvent, one run of a workload gives all its crash points. */
  ifPowerFailedNow(how: number | "drop" | "keep" | CrashPolicy): MemoryStorage {
    const policy = typeof how === "number" ? seededCrash(how) : typeof how === "string" ? () => how : how;
    const after = new MemoryStorage();
    for (const [path, file] of this.#files) after.#files.set(path, file.afterCrash(policy));
    return after;
  }

  async open(path: string, options: { readonly readOnly?: boolean } = {}): Promise<Disk> {
    return this.runStep(() => {
      const file = this.#files.get(path);
      if (file === undefined) throw fault(path, "open", "ERR_NOT_FOUND", "no such file");
      return new MemoryDisk(this, file, options.readOnly === true);
    });
  }

  async create(path: string, bytes: number, fill: "sparse" | "zeros"): Promise<Disk> {
    assert(fill === "sparse" || fill === "zeros", `${path}: create: unknown fill`);
    assert(Number.isSafeInteger(bytes) && bytes >= 0, `${path}: create: ${bytes} is no size`);
    return this.runEvent({ kind: "create", path, offset: 0, length: bytes }, (fate) => {
      if (this.#files.has(path)) throw fault(path, "create", "ERR_EXISTS", "the file exists");
      const file = new MemoryFile(path, fate === "keep" ? bytes : 0);
      this.#files.set(path, file);
      return new MemoryDisk(this, file, false);
    });
  }

  async exists(path: string): Promise<boolean> {
    return this.runStep(() => this.#files.has(path));
  }

  async remove(path: string): Promise<void> {
    await this.runEvent({ kind: "remove", path, offset: 0, length: 0 }, (fate) => {
      if (!this.#files.has(path)) throw fault(path, "remove", "ERR_NOT_FOUND", "no such file");
      if (fate === "keep") this.#files.delete(path);
    });
  }

  async lock(disks: readonly Disk[]): Promise<void> {
    return this.runStep(() => {
      const mine = disks.map((disk) => {
        assert(disk instanceof MemoryDisk, `${disk.path}: lock: not a disk of this storage`);
        return disk;
      });
      const held = mine.find((disk) => disk.file.lockedBy !== null && disk.file.lockedBy !== disk);
      if (held) throw fault(held.path, "lock", "ERR_LOCKED", "another opener holds the lock");
      for (const disk of mine) disk.file.lockedBy = disk;
    });
  }

  /** Bytes as a running system sees them, without a step. */
  peek(path: string, offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#file(path).read(offset, bytes);
    return bytes;
  }

  /** Changes stored bytes behind everybody's back, durably and without a step. */
  poke(path: string, offset: number, data: Uint8Array): void {
    this.#file(path).poke(offset, data);
  }

  unsynced(path: string): readonly UnsyncedWrite[] {
    return this.#file(path).unsynced;
  }

  /** For disks of this storage: runs one step after all earlier ones, or never. */
  runStep<T>(action: () => T | Promise<T>): Promise<T> {
    const result = this.#tail.then(() => (this.#isStopped ? NEVER : action()));
    this.#tail = result.then(ignore, ignore);
    return result;
  }

  /** For disks of this storage: a step that counts. The action is told how much of it happens. */
  runEvent<T>(range: EventRange, action: (fate: WriteFate) => T): Promise<T> {
    return this.runStep(() => {
      this.#eventCount += 1;
      this.onEvent({ ...range, number: this.#eventCount });
      if (this.#isStopped) return NEVER;
      if (this.#eventCount !== this.#stopNumber) return action("keep");
      this.stop();
      this.#finish(range.kind, action);
      return NEVER;
    });
  }

  #finish(kind: EventKind, action: (fate: WriteFate) => unknown): void {
    if (this.#stopVariant === "after") action("keep");
    if (this.#stopVariant !== "torn" || kind === "sync") return;
    const random = new SeededRandom(this.#eventCount);
    action(() => random.chance(0.5));
  }

  #file(path: string): MemoryFile {
    const file = this.#files.get(path);
    assert(file !== undefined, `${path}: no such file`);
    return file;
  }
}

function fault(path: string, operation: string, code: `ERR_${string}`, cause: string): Error {
  return diskError({ path, operation, code, cause });
}

function ignore(): void {}
