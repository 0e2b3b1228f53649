// Threads of our own for file work that is small and many, or that somebody waits for: a thread makes its calls one
// after the other, blocking, where the runtime's own pool would go back to the event loop between any two of them.
//
// A write and the sync behind it are one job, and so are hundreds of small reads. Bytes go through memory that is
// shared with the thread: a copy of them costs less than a way through the pool.
//
//   - a thread has one job at a time; when none is free, `runInThread` says so, and the caller uses the runtime's pool;
//   - threads come with load: one more whenever so many jobs found none free, up to a few. An idle process has none;
//   - a thread that works keeps the process alive, one that waits does not.
//
// In Deno a thread has other file descriptors than the one that started it: there are none there.

import fs from "node:fs";
import { Worker } from "node:worker_threads";

/** Bytes of one job. */
const JOB_BYTES_MAX = 1024 * 1024 + 64 * 1024;
const JOB_PIECES_MAX = 512;
const THREADS_MAX = 4;
/** Jobs that find no thread free before one more is started. */
const MISSES_PER_THREAD = 32;
const ERROR_CHARS_MAX = 200;

// Words of the control block.
const ASKED = 0;
const DONE = 1;
const KIND = 2;
const PIECES = 3;
/** Of the piece that failed; PIECES if it was the sync; -1: nothing failed. */
const FAILED = 4;
const ERROR_CHARS = 5;
const CONTROL_WORDS = 8;

const KIND_READ = 0;
const KIND_COMMIT = 1;

export interface Piece {
  readonly fd: number;
  readonly offset: number;
  readonly buffer: Uint8Array;
}

/** What the system said, and about which piece; null: about the sync. */
export interface JobError {
  readonly piece: number | null;
  readonly cause: Error;
}

/** What a thread shares with the one that started it. */
interface Shared {
  readonly control: Int32Array;
  /** Of each piece: file descriptor, where in the file, how many bytes. */
  readonly places: Float64Array;
  readonly bytes: Uint8Array;
  /** Code and message of an error, a character each. */
  readonly error: Uint16Array;
}

type Move = (fd: number, bytes: Uint8Array, at: number, length: number, offset: number) => number;
interface Files {
  readonly readSync: Move;
  readonly writeSync: Move;
  readonly fdatasyncSync: (fd: number) => void;
}

/** What a thread does. It runs from its own text, so it names nothing from outside. */
function serve(files: Files, { control, places, bytes, error }: Shared): never {
  const move = (call: Move, piece: number, at: number, length: number) => {
    const fd = places[piece * 3]!;
    const offset = places[piece * 3 + 1]!;
    for (let done = 0; done < length; ) {
      const moved = call(fd, bytes, at + done, length - done, offset + done);
      if (moved === 0) throw new Error(`ended after ${done} of ${length} bytes`);
      done += moved;
    }
  };
  // Turns are counted in the 32 bits of a word.
  for (let turn = 0; ; turn = (turn + 1) | 0) {
    // Again if nothing is asked: the notice of the job before may come late, and waking up is no reason to work.
    while (Atomics.load(control, 0) === turn) Atomics.wait(control, 0, turn);
    const isCommit = control[2] === 1;
    const pieces = control[3]!;
    let piece = 0;
    control[4] = -1;
    try {
      for (let at = 0; piece < pieces; piece++) {
        const length = places[piece * 3 + 2]!;
        move(isCommit ? files.writeSync : files.readSync, piece, at, length);
        at += length;
      }
      if (isCommit) files.fdatasyncSync(places[0]!);
    } catch (cause) {
      const { code = "", message } = cause as { code?: string; message: string };
      const text = `${code}\n${message}`.slice(0, error.length);
      for (let i = 0; i < text.length; i++) error[i] = text.charCodeAt(i);
      control[4] = piece;
      control[5] = text.length;
    }
    Atomics.store(control, 1, (turn + 1) | 0);
    Atomics.notify(control, 1);
  }
}

type AsyncWait = { readonly async: false } | { readonly async: true; readonly value: Promise<string> };
const { waitAsync } = Atomics as unknown as {
  waitAsync?: (words: Int32Array, at: number, value: number) => AsyncWait;
};

class FileThread {
  readonly #worker: Worker;
  readonly #shared: Shared = {
    control: new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4)),
    places: new Float64Array(new SharedArrayBuffer(JOB_PIECES_MAX * 24)),
    bytes: new Uint8Array(new SharedArrayBuffer(JOB_BYTES_MAX)),
    error: new Uint16Array(new SharedArrayBuffer(ERROR_CHARS_MAX * 2)),
  };
  #turn = 0;
  /** Ends the wait for the job at hand. */
  #onDone: () => void = () => {};
  #lastError: Error | null = null;
  isGone = false;

  constructor(onReady: () => void, onGone: () => void) {
    const program = `(${serve})(require("node:fs"), require("node:worker_threads").workerData)`;
    this.#worker = new Worker(program, { eval: true, workerData: this.#shared, execArgv: [] });
    this.#worker.unref();
    this.#worker.once("online", onReady);
    // Without memory for it, say.
    this.#worker.on("error", (error) => (this.#lastError = error));
    this.#worker.once("exit", () => {
      this.isGone = true;
      onGone();
      this.#onDone();
    });
  }

  async read(pieces: readonly Piece[]): Promise<JobError | null> {
    const failed = await this.#run(KIND_READ, pieces);
    if (failed !== null) return failed;
    let at = 0;
    for (const { buffer } of pieces) {
      buffer.set(this.#shared.bytes.subarray(at, at + buffer.length));
      at += buffer.length;
    }
    return null;
  }

  commit(pieces: readonly Piece[]): Promise<JobError | null> {
    let at = 0;
    for (const { buffer } of pieces) {
      this.#shared.bytes.set(buffer, at);
      at += buffer.length;
    }
    return this.#run(KIND_COMMIT, pieces);
  }

  async #run(kind: number, pieces: readonly Piece[]): Promise<JobError | null> {
    const { control, places } = this.#shared;
    for (let i = 0; i < pieces.length; i++) {
      const { fd, offset, buffer } = pieces[i]!;
      places[i * 3] = fd;
      places[i * 3 + 1] = offset;
      places[i * 3 + 2] = buffer.length;
    }
    control[KIND] = kind;
    control[PIECES] = pieces.length;
    const turn = this.#turn;
    const next = (turn + 1) | 0;
    this.#turn = next;
    this.#worker.ref();
    Atomics.store(control, ASKED, next);
    Atomics.notify(control, ASKED);
    // Again if it was not for this job.
    while (!this.isGone) {
      const waiting = waitAsync!(control, DONE, turn);
      if (!waiting.async) break;
      await new Promise<void>((resolve) => {
        this.#onDone = resolve;
        void waiting.value.then(() => resolve());
      });
    }
    this.#worker.unref();
    return this.#failure(next, pieces.length);
  }

  #failure(turn: number, pieces: number): JobError | null {
    const { control, error } = this.#shared;
    if (Atomics.load(control, DONE) !== turn) {
      return { piece: null, cause: this.#lastError ?? new Error("the thread that did it has ended") };
    }
    const failed = control[FAILED]!;
    if (failed < 0) return null;
    const [code, message] = String.fromCharCode(...error.subarray(0, control[ERROR_CHARS])).split("\n", 2);
    const cause = Object.assign(new Error(message), code === "" ? {} : { code });
    return { piece: failed === pieces ? null : failed, cause };
  }
}

const canBeUsed = !("Deno" in globalThis) && waitAsync !== undefined;
const free: FileThread[] = [];
let count = 0;
let misses = 0;

/**
 * Runs the job in a thread that is free; null: none is, or the job is too large for one. Reads fill their buffers; a
 * commit writes its pieces, all of one file, and then syncs it. The result is null when all of it was done.
 */
export function runInThread(
  kind: "read" | "commit",
  pieces: readonly Piece[],
): Promise<JobError | null> | null {
  if (!canBeUsed || pieces.length > JOB_PIECES_MAX || bytesOf(pieces) > JOB_BYTES_MAX) return null;
  const thread = free.pop();
  if (thread === undefined) {
    noteMiss();
    return null;
  }
  return thread[kind](pieces).finally(() => {
    if (!thread.isGone) free.push(thread);
  });
}

function noteMiss(): void {
  misses += 1;
  if (misses < MISSES_PER_THREAD || count === THREADS_MAX) return;
  misses = 0;
  count += 1;
  const thread: FileThread = new FileThread(
    () => free.push(thread),
    () => {
      count -= 1;
      const place = free.indexOf(thread);
      if (place >= 0) free.splice(place, 1);
    },
  );
}

function bytesOf(pieces: readonly Piece[]): number {
  let bytes = 0;
  for (const { buffer } of pieces) bytes += buffer.length;
  return bytes;
}

/** So many reads are cheaper in a thread than one by one in the runtime's pool. */
const GATHERED_MIN = 4;
/** More go side by side: a device can do several at a time. */
const GATHERED_MAX = 64;

type ReadDone = (error: Error | null, moved?: number) => void;

interface GatheredRead extends Piece {
  readonly done: ReadDone;
}

/** Of this turn, by file: a device that hangs must not keep what another one has. */
let gathered = new Map<number, GatheredRead[]>();

/** As fs.read does; the reads that one turn makes of a file are one job if there are many. */
export function readInTurn(fd: number, buffer: Uint8Array, offset: number, done: ReadDone): void {
  const read = { fd, offset, buffer, done };
  if (!canBeUsed) return readAlone(read);
  if (gathered.size === 0) queueMicrotask(readGathered);
  const reads = gathered.get(fd);
  if (reads === undefined) gathered.set(fd, [read]);
  else reads.push(read);
}

function readGathered(): void {
  const all = gathered;
  gathered = new Map();
  for (const reads of all.values()) {
    for (let at = 0; at < reads.length; at += GATHERED_MAX) readTogether(reads.slice(at, at + GATHERED_MAX));
  }
}

function readTogether(reads: readonly GatheredRead[]): void {
  const job = reads.length < GATHERED_MIN ? null : runInThread("read", reads);
  if (job === null) return reads.forEach(readAlone);
  // Which of them fail, and how, the system says once more.
  const again = () => reads.forEach(readAlone);
  void job.then((failed) => {
    if (failed !== null) again();
    else for (const { buffer, done } of reads) done(null, buffer.length);
  }, again);
}

function readAlone({ fd, buffer, offset, done }: GatheredRead): void {
  fs.read(fd, buffer, 0, buffer.length, offset, done);
}
