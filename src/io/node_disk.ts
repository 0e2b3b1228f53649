// A Disk over a file descriptor: a file or a block device, in Node and in Deno.
//
// Invariants:
//   - a short read or write is continued where it stopped; only no progress at all is an error;
//   - the descriptor is closed after the last operation has ended, so that none can reach a file that got the
//     same number;
//   - syncs never overlap: the kernel reports a lost write to one fdatasync only, and a second one running at
//     the same time would succeed. Those that are asked for meanwhile share the next one;
//   - a failed sync kills the disk. The kernel has dropped what it could not write, so a later sync that
//     succeeds would prove nothing.
//
// Adjacent operations of a batch go out as one readv or writev. If that fails, its operations are tried one
// by one, so that each gets its own result: one bad sector does not take its neighbours with it.
//
// What somebody waits for as a whole (a write with its sync), and what would be many calls (reads here and there), is a
// job for a thread (file_threads.ts), if one is free.

import fs from "node:fs";
import { type Disk, type DiskOperation, submitAndSync } from "./disk.ts";
import { diskError, refuseOperation } from "./disk_errors.ts";
import { type JobError, type Piece, readInTurn, runInThread } from "./file_threads.ts";

type Kind = DiskOperation["kind"];

/** Operations of one kind, each starting where the one before it ends. */
interface Run {
  readonly kind: Kind;
  readonly offset: number;
  readonly buffers: Uint8Array[];
  /** Of each operation, its place in the batch. */
  readonly places: number[];
  bytes: number;
}

/**
 * The kernel's IOV_MAX. None are joined in Deno (2.9), whose readv moves the file's shared position: two at
 * the same time read from each other's places, silently.
 */
const RUN_OPERATIONS_MAX = "Deno" in globalThis ? 1 : 1024;
/** Longer runs are cut, so that the pool's threads share the work. */
const RUN_BYTES_MAX = 4 * 1024 * 1024;
/** So many reads that do not touch are cheaper in a thread than one by one. */
const SCATTERED_READS_MIN = 4;
/** Longer reads do not wait for company. */
const GATHERED_BYTES_MAX = 64 * 1024;

export interface NodeDiskOptions {
  readonly path: string;
  readonly fd: number;
  readonly bytes: number;
  readonly isReadOnly: boolean;
}

export class NodeDisk implements Disk {
  readonly path: string;
  readonly bytes: number;
  readonly fd: number;
  /** Set by the storage while it holds the kernel's lock on our descriptor. */
  isLocked = false;
  readonly #isReadOnly: boolean;
  #failure: Error | null = null;
  #closing: Promise<void> | null = null;
  #inFlightCount = 0;
  #onIdle: () => void = () => {};
  #runningSync: Promise<void> | null = null;
  #nextSync: Promise<void> | null = null;

  constructor({ path, fd, bytes, isReadOnly }: NodeDiskOptions) {
    this.path = path;
    this.fd = fd;
    this.bytes = bytes;
    this.#isReadOnly = isReadOnly;
  }

  async submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    const results = batch.map(
      (operation) => this.#refuse(operation.kind) ?? refuseOperation(this, operation, this.#isReadOnly),
    );
    const runs = joinAdjacent(batch, results);
    const isScattered = runs.length >= SCATTERED_READS_MIN && runs.every(({ kind }) => kind === "read");
    await this.#track(async () => {
      if (isScattered && (await this.#readInThread(batch, results))) return;
      await Promise.all(runs.map((run) => this.#transfer(run, results)));
    });
    return results;
  }

  async commit(batch: readonly DiskOperation[]): Promise<void> {
    for (const operation of batch) {
      const refused = this.#refuse(operation.kind) ?? refuseOperation(this, operation, this.#isReadOnly);
      if (refused) throw refused;
    }
    const isSyncing = this.#runningSync !== null || this.#nextSync !== null;
    const job = isSyncing ? null : runInThread("commit", this.#piecesOf(batch));
    if (job !== null) return (this.#runningSync = this.#commitInThread(batch, job));
    await submitAndSync(this, batch);
  }

  async sync(): Promise<void> {
    const refused = this.#refuse("sync");
    if (refused) throw refused;
    this.#nextSync ??= this.#syncAfter(this.#runningSync);
    return this.#nextSync;
  }

  /** Node has no call that punches holes or trims a device, and a process for each would cost more than it gives. */
  async discard(_offset: number, _length: number): Promise<void> {}

  close(): Promise<void> {
    this.#closing ??= this.#closeWhenIdle();
    return this.#closing;
  }

  async #syncAfter(running: Promise<void> | null): Promise<void> {
    await running?.catch(ignore);
    // From here on a new call needs a new sync: writes may complete that this one does not cover.
    this.#runningSync = this.#nextSync;
    this.#nextSync = null;
    try {
      if (this.#failure) throw this.#deadError("sync");
      await this.#track(() => call((done) => fs.fdatasync(this.fd, done))).catch((cause) => {
        throw this.#syncFailed(cause);
      });
    } finally {
      this.#runningSync = null;
    }
  }

  async #commitInThread(batch: readonly DiskOperation[], job: Promise<JobError | null>): Promise<void> {
    try {
      const failed = await this.#track(() => job);
      if (failed === null) return;
      const { piece, cause } = failed;
      if (piece === null) throw this.#syncFailed(cause);
      throw diskError({ path: this.path, operation: "write", offset: batch[piece]!.offset, cause });
    } finally {
      this.#runningSync = null;
    }
  }

  /** False: not all of it was read, and what could not be is to be found out. */
  async #readInThread(batch: readonly DiskOperation[], refused: readonly (Error | null)[]): Promise<boolean> {
    const wanted = batch.filter((_, place) => refused[place] === null);
    const job = runInThread("read", this.#piecesOf(wanted));
    return job !== null && (await job) === null;
  }

  #piecesOf(batch: readonly DiskOperation[]): Piece[] {
    return batch.map(({ offset, buffer }) => ({ fd: this.fd, offset, buffer }));
  }

  #syncFailed(cause: unknown): Error {
    this.#failure = diskError({ path: this.path, operation: "sync", cause, code: "ERR_DISK_FAILED" });
    return this.#failure;
  }

  async #closeWhenIdle(): Promise<void> {
    await this.#nextSync?.catch(ignore);
    if (this.#inFlightCount > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await call((done) => fs.close(this.fd, done)).catch((cause) => {
      throw diskError({ path: this.path, operation: "close", cause });
    });
  }

  async #transfer(run: Run, results: (Error | null)[]): Promise<void> {
    const error = await this.#transferAll(run);
    if (error === null) return;
    if (run.places.length === 1) {
      results[run.places[0]!] = error;
      return;
    }
    for (const single of splitRun(run)) await this.#transfer(single, results);
  }

  async #transferAll({ kind, offset, buffers, bytes }: Run): Promise<Error | null> {
    let done = 0;
    try {
      while (done < bytes) {
        const moved = await this.#move(kind, remaining(buffers, done), offset + done);
        if (moved === 0) throw new Error(`ended after ${done} of ${bytes} bytes`);
        done += moved;
      }
      return null;
    } catch (cause) {
      return diskError({ path: this.path, operation: kind, offset: offset + done, cause });
    }
  }

  #move(kind: Kind, buffers: Uint8Array[], offset: number): Promise<number> {
    const only = buffers.length === 1 ? buffers[0]! : null;
    return call((done) => {
      if (kind === "read" && only && only.length <= GATHERED_BYTES_MAX)
        readInTurn(this.fd, only, offset, done);
      else if (kind === "read" && only) fs.read(this.fd, only, 0, only.length, offset, done);
      else if (kind === "read") fs.readv(this.fd, buffers, offset, done);
      else if (only) fs.write(this.fd, only, 0, only.length, offset, done);
      else fs.writev(this.fd, buffers, offset, done);
    });
  }

  async #track<T>(work: () => Promise<T>): Promise<T> {
    this.#inFlightCount += 1;
    try {
      return await work();
    } finally {
      this.#inFlightCount -= 1;
      if (this.#inFlightCount === 0) this.#onIdle();
    }
  }

  #refuse(operation: string): Error | null {
    if (this.#failure) return this.#deadError(operation);
    if (this.#closing === null) return null;
    return diskError({ path: this.path, operation, code: "ERR_DISK_CLOSED", cause: "the disk is closed" });
  }

  #deadError(operation: string): Error {
    const said = "a sync failed earlier, and what this disk holds cannot be trusted";
    const error = diskError({ path: this.path, operation, code: "ERR_DISK_FAILED", cause: said });
    error.cause = this.#failure;
    return error;
  }
}

/** Sorts what is not refused by kind and offset, and joins what touches. */
function joinAdjacent(batch: readonly DiskOperation[], refused: readonly (Error | null)[]): Run[] {
  const places = [...batch.keys()].filter(
    (place) => refused[place] === null && batch[place]!.buffer.length > 0,
  );
  places.sort((left, right) => compare(batch[left]!, batch[right]!));
  const runs: Run[] = [];
  for (const place of places) {
    const { kind, offset, buffer } = batch[place]!;
    const run = runs.at(-1);
    if (run && fits(run, kind, offset, buffer.length)) {
      run.buffers.push(buffer);
      run.places.push(place);
      run.bytes += buffer.length;
    } else {
      runs.push({ kind, offset, buffers: [buffer], places: [place], bytes: buffer.length });
    }
  }
  return runs;
}

function compare(left: DiskOperation, right: DiskOperation): number {
  if (left.kind !== right.kind) return left.kind === "read" ? -1 : 1;
  return left.offset - right.offset;
}

function fits(run: Run, kind: Kind, offset: number, length: number): boolean {
  if (run.kind !== kind || run.offset + run.bytes !== offset) return false;
  return run.buffers.length < RUN_OPERATIONS_MAX && run.bytes + length <= RUN_BYTES_MAX;
}

function splitRun(run: Run): Run[] {
  let offset = run.offset;
  return run.buffers.map((buffer, index) => {
    const single = { ...run, offset, buffers: [buffer], places: [run.places[index]!], bytes: buffer.length };
    offset += buffer.length;
    return single;
  });
}

/** The buffers without their first `done` bytes. */
function remaining(buffers: Uint8Array[], done: number): Uint8Array[] {
  if (done === 0) return buffers;
  const rest: Uint8Array[] = [];
  for (const buffer of buffers) {
    if (done < buffer.length) rest.push(done > 0 ? buffer.subarray(done) : buffer);
    done = Math.max(0, done - buffer.length);
  }
  return rest;
}

/** One call of node:fs as a promise, without a FileHandle's overhead. */
function call<T = void>(start: (done: (error: Error | null, result?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, result) => (error ? reject(error) : resolve(result as T)));
  });
}

function ignore(): void {}
