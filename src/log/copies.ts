// The copies of a log: `${prefix}.0` to `.3` each, all with the same layout.
//
// Invariants:
//   - what is written goes to every current copy; it is durable when all of them have synced it;
//   - a copy whose write or sync fails is dropped for good: never written, read or synced again;
//   - the owner has recorded the loss (`onCopyFailed`) before anything counts as durable without that copy;
//   - when the last copy fails nothing is recorded: nothing becomes durable after it either.

import { HALF_HEADER_BYTES, LOG_HALF_COUNT } from "../../assembly/format.ts";
import type { Disk, DiskOperation } from "../io/disk.ts";
import { commitToDisk, readDisk } from "../io/disk.ts";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import {
  decodeHalfHeader,
  encodeHalfHeader,
  type HalfFile,
  type HalfHeader,
  type HalfUse,
} from "./half_header.ts";
import type { CopyState, LogOptions } from "./types.ts";

export interface LogCopy {
  readonly index: number;
  readonly prefix: string;
  /** By slot; empty unless the copy is current. */
  disks: readonly Disk[];
  state: CopyState;
  /** By slot, as they were found at open; null where no valid one was. */
  headers: readonly (HalfHeader | null)[];
}

/** A write to one file, for some copies or for all. */
export interface SlotWrite {
  readonly slot: number;
  readonly operations: readonly DiskOperation[];
}

export function halfPath(prefix: string, slot: number): string {
  return `${prefix}.${slot}`;
}

export class LogCopies {
  readonly all: readonly LogCopy[];
  readonly halfBytes: number;
  readonly #options: LogOptions;
  /** Copies that could not be opened, and why: reported once recovery has succeeded without them. */
  readonly #missing: { readonly copy: LogCopy; readonly error: Error }[];

  /** Losses that the owner is recording just now. */
  readonly #drops = new Set<Promise<void>>();

  private constructor(
    options: LogOptions,
    all: readonly LogCopy[],
    halfBytes: number,
    missing: { readonly copy: LogCopy; readonly error: Error }[],
  ) {
    this.#options = options;
    this.all = all;
    this.halfBytes = halfBytes;
    this.#missing = missing;
  }

  /** Opens every trusted copy that is complete. Refuses files of another volume, copy or slot. */
  static async open(options: LogOptions, trusted: readonly boolean[]): Promise<LogCopies> {
    const all = options.prefixes.map((prefix, index) => newCopy(prefix, index));
    const missing: { copy: LogCopy; error: Error }[] = [];
    try {
      for (const copy of all) {
        if (!trusted[copy.index]) continue;
        const error = await openCopy(options, copy);
        if (error !== null) missing.push({ copy, error });
      }
      return new LogCopies(options, all, sizeOf(all, missing), missing);
    } catch (error) {
      await Promise.all(all.flatMap((copy) => copy.disks.map((disk) => disk.close())));
      throw error;
    }
  }

  get current(): readonly LogCopy[] {
    return this.all.filter((copy) => copy.state === "current");
  }

  /** Tells the owner about the copies that were not there. */
  async reportMissing(): Promise<void> {
    for (const { copy, error } of this.#missing.splice(0)) {
      await this.#options.onCopyFailed(copy.index, error);
    }
  }

  /** Writes to one file of every current copy and syncs it, the copies side by side. */
  async commit(slot: number, operationsOf: (copy: LogCopy) => readonly DiskOperation[]): Promise<void> {
    await this.#onAll((copy) => commitToDisk(copy.disks[slot]!, operationsOf(copy)));
  }

  /** Writes to one file of one copy, not yet durable. Drops the copy if it fails. */
  async write(copy: LogCopy, slot: number, operations: readonly DiskOperation[]): Promise<void> {
    const error = firstError(await copy.disks[slot]!.submit(operations));
    if (error !== null) await this.#drop([{ copy, error }]);
  }

  /** Writes back to one copy what it has lost, durably. Drops the copy if it fails. */
  async heal(copy: LogCopy, slot: number, operation: DiskOperation): Promise<void> {
    if (copy.state !== "current") return;
    try {
      await commitToDisk(copy.disks[slot]!, [operation]);
    } catch (error) {
      await this.#drop([{ copy, error: error as Error }]);
    }
  }

  async syncAll(): Promise<void> {
    await this.#onAll(async (copy) => {
      await Promise.all(copy.disks.map((disk) => disk.sync()));
    });
  }

  encodeHeader(copy: LogCopy, slot: number, use: HalfUse): Uint8Array {
    return encodeHalfHeader(this.#options.kernel, { ...this.fileOf(copy, slot), ...use });
  }

  fileOf(copy: LogCopy, slot: number): HalfFile {
    return {
      volumeId: this.#options.volumeId,
      copy: copy.index,
      copyCount: this.all.length,
      slot,
      fileBytes: this.halfBytes,
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.all.flatMap((copy) => copy.disks.map((disk) => disk.close())));
  }

  async #onAll(work: (copy: LogCopy) => Promise<void>): Promise<void> {
    const failures: { copy: LogCopy; error: Error }[] = [];
    const attempt = async (copy: LogCopy) => {
      try {
        await work(copy);
      } catch (error) {
        failures.push({ copy, error: error as Error });
      }
    };
    await Promise.all(this.current.map(attempt));
    if (failures.length > 0) await this.#drop(failures);
    // A copy that a heal lost meanwhile must be recorded as well before this counts as durable.
    while (this.#drops.size > 0) await Promise.all(this.#drops);
    assert(this.current.length > 0, "log: no copy is left");
  }

  async #drop(failures: readonly { copy: LogCopy; error: Error }[]): Promise<void> {
    const drop = this.#record(failures);
    this.#drops.add(drop);
    try {
      await drop;
    } finally {
      this.#drops.delete(drop);
    }
  }

  async #record(failures: readonly { copy: LogCopy; error: Error }[]): Promise<void> {
    // A copy can fail twice at once: a heal and a batch.
    const fresh = failures.filter(({ copy }) => copy.state === "current");
    for (const { copy } of fresh) copy.state = "failed";
    if (this.current.length === 0) {
      const cause = failures[0]!.error;
      throw new MirrorvolError("ERR_LOG_FAILED", `log: the last copy failed: ${cause.message}`, { cause });
    }
    for (const { copy, error } of fresh) await this.#options.onCopyFailed(copy.index, error);
  }
}

function newCopy(prefix: string, index: number): LogCopy {
  return { index, prefix, disks: [], state: "failed", headers: [] };
}

/** Null when the copy is current now, otherwise why it is not. */
async function openCopy(options: LogOptions, copy: LogCopy): Promise<Error | null> {
  const disks: Disk[] = [];
  copy.disks = disks;
  copy.state = "missing";
  try {
    for (let slot = 0; slot < LOG_HALF_COUNT; slot += 1) {
      disks.push(await options.storage.open(halfPath(copy.prefix, slot)));
    }
  } catch (error) {
    return error as Error;
  }
  copy.headers = await Promise.all(disks.map((disk) => readHalfHeader(options, disk)));
  copy.headers.forEach((header, slot) => {
    if (header !== null) refuseForeign(options, copy, slot, header);
  });
  if (copy.headers.every((header) => header === null)) {
    return new MirrorvolError("ERR_LOG_BLANK", `${copy.prefix}: none of its files has a valid header`);
  }
  copy.state = "current";
  return null;
}

async function readHalfHeader(options: LogOptions, disk: Disk): Promise<HalfHeader | null> {
  const bytes = new Uint8Array(HALF_HEADER_BYTES);
  try {
    await readDisk(disk, 0, bytes);
  } catch {
    return null;
  }
  const header = decodeHalfHeader(options.kernel, bytes);
  return typeof header === "string" ? null : header;
}

function refuseForeign(options: LogOptions, copy: LogCopy, slot: number, header: HalfHeader): void {
  const path = halfPath(copy.prefix, slot);
  const refuse = (text: string) => {
    throw new MirrorvolError("ERR_LOG_FOREIGN", `${path}: ${text}`);
  };
  if (header.volumeId.some((byte, index) => byte !== options.volumeId[index])) {
    refuse("this file belongs to another volume");
  }
  if (header.copyCount !== options.prefixes.length) {
    refuse(`this log has ${header.copyCount} copies, ${options.prefixes.length} are named`);
  }
  if (header.copy !== copy.index) refuse(`this is copy ${header.copy}, named as copy ${copy.index}`);
  if (header.slot !== slot) refuse(`this is file ${header.slot} of its copy`);
}

/** The size of a half, as the headers have it. A copy with a file that is too short is missing. */
function sizeOf(all: readonly LogCopy[], missing: { copy: LogCopy; error: Error }[]): number {
  const headers = all.flatMap((copy) => (copy.state === "current" ? copy.headers : []));
  const sizes = new Set(headers.flatMap((header) => (header === null ? [] : [header.fileBytes])));
  if (sizes.size > 1) {
    const text = `log: its files name different sizes of a half: ${[...sizes].join(", ")} bytes`;
    throw new MirrorvolError("ERR_LOG_FOREIGN", text);
  }
  const [halfBytes = 0] = sizes;
  for (const copy of all) {
    const short = copy.disks.find((disk) => disk.bytes < halfBytes);
    if (copy.state !== "current" || short === undefined) continue;
    copy.state = "missing";
    const text = `${short.path}: ${short.bytes} bytes, a log half has ${halfBytes}`;
    missing.push({ copy, error: new MirrorvolError("ERR_LOG_SHORT", text) });
  }
  if (all.some((copy) => copy.state === "current")) return halfBytes;
  const reasons = missing.map(({ error }) => error.message).join("; ");
  const text = `log: no trusted copy is complete: ${reasons || "none is trusted"}`;
  throw new MirrorvolError("ERR_LOG_MISSING", text, { cause: missing[0]?.error });
}

function firstError(results: readonly (Error | null)[]): Error | null {
  for (const result of results) if (result !== null) return result;
  return null;
}
