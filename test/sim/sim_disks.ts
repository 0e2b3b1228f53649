// The disks of one simulated machine. They outlive the lives of its program.
//
// Every operation takes time, drawn from the tape, so operations overtake each other. What was written is
// *unsynced* until a sync that began after it was done has ended; a crash decides about each 512-byte sector of
// what is unsynced, and of what was under way, by itself (memory_file.ts).
//
// Faults are traps, set on a file and sprung by the next operation of their kind:
//
//   write error        some sectors may have been written
//   sync error         what was unsynced is there or not, and the disk is dead for this life; for the next one it
//                      works again, with the data lost: pages that were marked clean
//   read error         once; a second try may succeed
//   no space           a write is refused
//   lost write         reported as done, never done
//   misdirected write  lands some blocks further on, which is overwritten
//   misdirected read   gives what lies some blocks further on

import type { Disk, DiskOperation, Storage } from "../../src/io/disk.ts";
import { diskError, refuseOperation } from "../../src/io/disk_errors.ts";
import type { MirrorvolError } from "../../src/kernel/errors.ts";
import { assertDisjoint } from "../support/memory_disk.ts";
import { type CrashPolicy, MemoryFile } from "../support/memory_file.ts";
import type { Choices } from "./tape.ts";
import type { Life, Timeline } from "./timeline.ts";

export type Trap =
  | "write error"
  | "sync error"
  | "read error"
  | "no space"
  | "lost write"
  | "misdirected write"
  | "misdirected read";

export interface SetTrap {
  readonly kind: Trap;
  /** How far off a misdirected operation lands. */
  readonly byBlocks: number;
  readonly onSprung: () => void;
}

const BLOCK = 4096;
const READ_US = 80;
const WRITE_US = 60;
const SYNC_US = 200;
const OTHER_US = 30;
/** Zero is the usual delay. */
const FACTORS = [1, 1, 1, 2, 3, 6, 15, 40];
const LABELS = { read: 11, write: 12, sync: 13, other: 14 };

export class SimFile {
  memory: MemoryFile;
  readonly traps: SetTrap[] = [];
  /** Writes that have not been reported. */
  readonly underWay = new Set<DiskOperation>();
  slowFactor = 1;
  stuckUntilUs = 0;
  /** After a failed sync: nothing works in this life. */
  failure: Error | null = null;
  /** As it was some time ago, for a device that comes back stale. */
  older: MemoryFile | null = null;

  constructor(memory: MemoryFile) {
    this.memory = memory;
  }

  /** Uses up the first trap of these kinds. */
  spring(...kinds: Trap[]): SetTrap | null {
    if (this.traps.length === 0) return null;
    const index = this.traps.findIndex((trap) => kinds.includes(trap.kind));
    if (index < 0) return null;
    const trap = this.traps.splice(index, 1)[0]!;
    trap.onSprung();
    return trap;
  }
}

export class SimDisks {
  readonly files = new Map<string, SimFile>();
  readonly timeline: Timeline;
  readonly timing: Choices;
  readonly #locks = new Map<string, Life>();

  constructor(timeline: Timeline, timing: Choices) {
    this.timeline = timeline;
    this.timing = timing;
  }

  storage(life: Life): Storage {
    return new SimStorage(this, life, this.#locks);
  }

  file(path: string): SimFile {
    const file = this.files.get(path);
    if (file === undefined) throw new Error(`no file ${path}`);
    return file;
  }

  /** The power fails: the policy decides about everything that is not durable. */
  crash(policyOf: (file: SimFile) => CrashPolicy): void {
    for (const file of this.files.values()) {
      for (const operation of file.underWay) file.memory.write(operation.offset, operation.buffer);
      file.underWay.clear();
      file.memory = file.memory.afterCrash(policyOf(file));
      file.failure = null;
    }
  }

  /** Remembers devices as they are, for when they come back stale. */
  keepOlder(devices: readonly string[]): void {
    for (const [path, file] of this.files) {
      if (!devices.some((device) => path === device || path.startsWith(`${device}.`))) continue;
      file.older = file.memory.afterCrash(() => "keep");
    }
  }

  /** Something is on its way to one of these files, or was and is not durable. */
  isWriting(paths: readonly string[]): boolean {
    return paths.some((path) => {
      const file = this.files.get(path);
      return file !== undefined && (file.underWay.size > 0 || file.memory.unsynced.length > 0);
    });
  }

  /** What is broken for a while works again. */
  heal(): void {
    for (const file of this.files.values()) {
      file.traps.length = 0;
      file.slowFactor = 1;
      file.stuckUntilUs = 0;
    }
  }

  /** Copies of the files as they are, for a state that many histories start from. */
  snapshot(): Map<string, MemoryFile> {
    return new Map([...this.files].map(([path, { memory }]) => [path, memory.afterCrash(() => "keep")]));
  }

  restore(files: ReadonlyMap<string, MemoryFile>): void {
    for (const [path, memory] of files) this.files.set(path, new SimFile(memory.afterCrash(() => "keep")));
  }
}

class SimStorage implements Storage {
  readonly #disks: SimDisks;
  readonly #life: Life;
  readonly #locks: Map<string, Life>;

  constructor(disks: SimDisks, life: Life, locks: Map<string, Life>) {
    this.#disks = disks;
    this.#life = life;
    this.#locks = locks;
  }

  async open(path: string, options: { readonly readOnly?: boolean } = {}): Promise<Disk> {
    await this.#wait();
    const file = this.#disks.files.get(path);
    if (file === undefined)
      throw diskError({ path, operation: "open", code: "ERR_NOT_FOUND", cause: "no such file" });
    return new SimDisk(this.#disks, this.#life, path, file, options.readOnly === true, this.#locks);
  }

  async create(path: string, bytes: number, _fill: "sparse" | "zeros"): Promise<Disk> {
    await this.#wait();
    if (this.#disks.files.has(path)) {
      throw diskError({ path, operation: "create", code: "ERR_EXISTS", cause: "the file exists" });
    }
    const file = new SimFile(new MemoryFile(path, bytes));
    this.#disks.files.set(path, file);
    return new SimDisk(this.#disks, this.#life, path, file, false, this.#locks);
  }

  async exists(path: string): Promise<boolean> {
    await this.#wait();
    return this.#disks.files.has(path);
  }

  async remove(path: string): Promise<void> {
    await this.#wait();
    if (!this.#disks.files.delete(path)) {
      throw diskError({ path, operation: "remove", code: "ERR_NOT_FOUND", cause: "no such file" });
    }
  }

  async lock(disks: readonly Disk[]): Promise<void> {
    await this.#wait();
    const held = disks.find(({ path }) => this.#locks.get(path)?.isOver === false);
    if (held) {
      const fault = {
        path: held.path,
        operation: "lock",
        code: "ERR_LOCKED",
        cause: "another opener holds it",
      };
      throw diskError(fault as Parameters<typeof diskError>[0]);
    }
    for (const { path } of disks) this.#locks.set(path, this.#life);
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#disks.timeline.after(OTHER_US, this.#life, LABELS.other, resolve);
    });
  }
}

class SimDisk implements Disk {
  readonly path: string;
  readonly bytes: number;
  readonly #disks: SimDisks;
  readonly #life: Life;
  readonly #file: SimFile;
  readonly #isReadOnly: boolean;
  readonly #locks: Map<string, Life>;
  #isClosed = false;

  constructor(
    disks: SimDisks,
    life: Life,
    path: string,
    file: SimFile,
    isReadOnly: boolean,
    locks: Map<string, Life>,
  ) {
    this.path = path;
    this.bytes = file.memory.bytes;
    this.#disks = disks;
    this.#life = life;
    this.#file = file;
    this.#isReadOnly = isReadOnly;
    this.#locks = locks;
  }

  submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    assertDisjoint(this.path, batch);
    // A dead program may still have been about to ask for something.
    if (this.#life.isOver) return new Promise(() => {});
    const refused = batch.map((operation) => this.#refuse(operation));
    let baseUs = READ_US;
    for (const [index, operation] of batch.entries()) {
      if (operation.kind !== "write" || refused[index] !== null) continue;
      this.#file.underWay.add(operation);
      baseUs = WRITE_US;
    }
    return this.#later(baseUs, baseUs === READ_US ? LABELS.read : LABELS.write, () => {
      const results = batch.map((operation, index) => {
        this.#file.underWay.delete(operation);
        return refused[index] ?? this.#file.failure ?? this.#run(operation);
      });
      const { memory } = this.#file;
      const newest = memory.unsynced.at(-1)?.order ?? 0;
      memory.completedThrough = Math.max(memory.completedThrough, newest);
      return results;
    });
  }

  async sync(): Promise<void> {
    const closed = this.#isClosed ? this.#error("sync", "ERR_DISK_CLOSED", "the disk is closed") : null;
    if (closed) throw closed;
    const through = this.#file.memory.completedThrough;
    const error = await this.#later(SYNC_US, LABELS.sync, () => this.#sync(through));
    if (error) throw error;
  }

  async discard(_offset: number, _length: number): Promise<void> {}

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#later(OTHER_US, LABELS.other, () => {
      if (this.#locks.get(this.path) === this.#life) this.#locks.delete(this.path);
    });
  }

  #sync(through: number): Error | null {
    const file = this.#file;
    if (file.failure) return file.failure;
    if (file.spring("sync error") === null) {
      file.memory.sync(through);
      return null;
    }
    file.failure = this.#error("sync", "ERR_DISK_FAILED", "simulated: the sync failed");
    const isKept = this.#disks.timing.below(2) === 1;
    file.memory = file.memory.afterCrash(() => (isKept ? "keep" : "drop"));
    return file.failure;
  }

  #run(operation: DiskOperation): Error | null {
    return operation.kind === "read" ? this.#read(operation) : this.#write(operation);
  }

  #read({ offset, buffer }: DiskOperation): Error | null {
    const trap = this.#file.spring("read error", "misdirected read");
    if (trap?.kind === "read error") return this.#error("read", "ERR_DISK_FAILED", "simulated: EIO");
    this.#file.memory.read(trap ? this.#elsewhere(offset, buffer.length, trap.byBlocks) : offset, buffer);
    return null;
  }

  #write({ offset, buffer }: DiskOperation): Error | null {
    const { memory } = this.#file;
    const trap = this.#file.spring("write error", "no space", "lost write", "misdirected write");
    if (trap === null) memory.write(offset, buffer);
    else if (trap.kind === "no space") return this.#error("write", "ERR_NO_SPACE", "simulated: ENOSPC");
    else if (trap.kind === "misdirected write") {
      memory.write(this.#elsewhere(offset, buffer.length, trap.byBlocks), buffer);
    } else if (trap.kind === "write error") {
      memory.writeTorn(offset, buffer, () => this.#disks.timing.below(2) === 1);
      return this.#error("write", "ERR_DISK_FAILED", "simulated: EIO");
    }
    return null;
  }

  #elsewhere(offset: number, length: number, byBlocks: number): number {
    const room = this.bytes - length;
    return room <= 0 ? offset : (offset + byBlocks * BLOCK) % (room + 1);
  }

  #refuse(operation: DiskOperation): Error | null {
    if (this.#isClosed) return this.#error(operation.kind, "ERR_DISK_CLOSED", "the disk is closed");
    return refuseOperation(this, operation, this.#isReadOnly);
  }

  #later<T>(baseUs: number, label: number, action: () => T): Promise<T> {
    const { timeline, timing } = this.#disks;
    const file = this.#file;
    const delayUs = baseUs * FACTORS[timing.below(FACTORS.length)]! * file.slowFactor;
    const stuckUs = Math.max(0, file.stuckUntilUs - timeline.nowUs);
    return new Promise((resolve) => {
      timeline.after(delayUs + stuckUs, this.#life, label, () => resolve(action()));
    });
  }

  #error(operation: string, code: `ERR_${string}`, cause: string): MirrorvolError {
    return diskError({ path: this.path, operation, code, cause }) as MirrorvolError;
  }
}
