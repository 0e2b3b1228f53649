// Checking a log offline: what an opening would find in it, and what it would have to restore.
//
// The recovery itself runs over the files, on a storage that writes nothing (dry_run.ts). What it would have written
// says what each copy lacks:
//
//   an entry or half header of what was durable    damage: every copy had it once         fault
//   an entry or half header behind that            a crash came between the copies        warning
//   stale sectors that it erases                   a torn tail, never acknowledged        warning
//   nothing, but requiredThrough is beyond the tail   entries are lost in every copy      fault
//
// Durable is what the entries, the half headers and the image say was: the highest `durableThrough` (on a mirror what
// its source knew to be synced here), the entry before the start of a half in use, the applied position. The entries
// of the last batch have no witness: where a copy lacks one of them, a crash is taken to be the reason.
//
// Then the entries are read as a replay reads them, and shown to the owner. Halves that are not in use any more hold
// nothing that counts; of those, only the headers are looked at.

import {
  ENTRY_MIRROR_LAG,
  ENTRY_SEQUENCE,
  HALF_HEADER_BYTES,
  HALF_START_SEQUENCE,
  LOG_ENTRIES_OFFSET,
  LOG_HALF_COUNT,
} from "../../assembly/format.ts";
import { type Disk, readDisk, type Storage } from "../io/disk.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { halfPath } from "./copies.ts";
import { DryRunStorage, type DryWrite } from "./dry_run.ts";
import { readU64 } from "./entry_codec.ts";
import type { Findings } from "./findings.ts";
import { decodeHalfHeader, type HalfHeader } from "./half_header.ts";
import { Log, RING_BYTES_MIN } from "./log.ts";
import type { EntryView, LogStart } from "./types.ts";

export interface LogCheckOptions extends LogStart {
  readonly kernel: Kernel;
  readonly storage: Storage;
  readonly prefixes: readonly string[];
  readonly volumeId: Uint8Array;
  readonly trustedCopies: readonly boolean[];
  /** As the superblock has it. */
  readonly halfBytes: number;
  /** Entries that were durable once may be gone: the owner brings them back, or all that is missing. */
  readonly mayLack: boolean;
  /** Each entry behind the applied position, as a replay sees it; returns what is wrong with it. */
  readonly onEntry: (entry: EntryView) => { readonly expected: string; readonly found: string } | null;
}

export interface LogCheckResult {
  /** Null when there is no log that can be opened. */
  readonly tail: number | null;
  readonly entries: number;
}

/** What a copy lacks, as the recovery would have written it. */
interface Lacking {
  readonly path: string;
  readonly offset: number;
  readonly what: "entry" | "header" | "stale";
  /** Of the entry, or the first one of the half. */
  readonly sequence: number;
}

export async function checkLog(options: LogCheckOptions, findings: Findings): Promise<LogCheckResult> {
  return new LogCheck(options, findings).run();
}

class LogCheck {
  readonly #options: LogCheckOptions;
  readonly #findings: Findings;
  readonly #lacking: Lacking[] = [];
  /** Why the header in a file is none, by path. */
  readonly #badHeaders = new Map<string, string>();
  /** What half headers say was durable: the entry before each start. */
  readonly #claims: number[] = [];
  /** The highest sequence that is known to have been durable in every copy. */
  #durable: number;

  constructor(options: LogCheckOptions, findings: Findings) {
    this.#options = options;
    this.#findings = findings;
    this.#durable = options.applied.sequence;
  }

  async run(): Promise<LogCheckResult> {
    await this.#checkHeaders();
    const log = await this.#open();
    if (log === null) return { tail: null, entries: 0 };
    try {
      const { tail, requiredThrough } = log.recovery;
      if (requiredThrough > tail) this.#durable = requiredThrough;
      this.#durable = Math.max(this.#durable, ...this.#claims.filter((sequence) => sequence <= tail));
      const recorded = this.#lacking.length;
      const entries = await this.#readEntries(log);
      this.#lacking.length = recorded; // The reader heals what the recovery had found already.
      this.#reportLost(log);
      this.#reportLacking();
      return { tail, entries };
    } finally {
      await log.close();
    }
  }

  /** Every half header of every trusted copy. Whether the copy can be used is decided by the opening. */
  async #checkHeaders(): Promise<void> {
    const { prefixes, trustedCopies } = this.#options;
    for (const [copy, prefix] of prefixes.entries()) {
      if (!trustedCopies[copy]) {
        const found = "recorded as lost: it is not used";
        this.#findings.warn({
          ...whole(prefix),
          structure: `log copy ${copy}`,
          expected: "a trusted copy",
          found,
        });
        continue;
      }
      for (let slot = 0; slot < LOG_HALF_COUNT; slot += 1) await this.#checkHeader(halfPath(prefix, slot));
    }
  }

  async #checkHeader(path: string): Promise<void> {
    let disk: Disk;
    try {
      disk = await this.#options.storage.open(path, { readOnly: true });
    } catch {
      return; // The opening reports the copy as missing.
    }
    try {
      const found = await readHeader(this.#options.kernel, disk);
      if (typeof found === "string") this.#badHeaders.set(path, found);
      else {
        this.#claims.push(found.startSequence - 1);
        this.#checkSize(path, found);
      }
    } finally {
      await disk.close();
    }
  }

  #checkSize(path: string, { fileBytes }: HalfHeader): void {
    const { halfBytes } = this.#options;
    if (fileBytes === halfBytes) return;
    const [expected, found] = [`${halfBytes} bytes`, `${fileBytes}`];
    this.#findings.fault({ path, offset: 0, structure: "half header, size of a half", expected, found });
  }

  async #open(): Promise<Log | null> {
    const { storage, prefixes } = this.#options;
    const none = () => {};
    try {
      return await Log.open({
        ...this.#options,
        storage: new DryRunStorage(storage, (write) => this.#note(write)),
        ringBytes: RING_BYTES_MIN,
        onDurable: none,
        onSpace: none,
        onFailed: none,
        onCopyFailed: async (copy, error) => this.#reportCopy(prefixes[copy]!, copy, error),
      });
    } catch (error) {
      if (!(error instanceof MirrorvolError) || error.code === "ERR_ASSERTION") throw error;
      const expected = "one that can be opened";
      this.#findings.fault({ path: null, offset: null, structure: "log", expected, found: error.message });
      this.#reportHeaders(() => true);
      return null;
    }
  }

  /** A copy that is missing or incomplete leaves the log degraded; one that has lost all its headers is damaged. */
  #reportCopy(prefix: string, copy: number, error: Error): void {
    const finding = {
      ...whole(prefix),
      structure: `log copy ${copy}`,
      expected: "a complete copy",
      found: error.message,
    };
    const isDamaged = (error as { code?: unknown }).code !== "ERR_NOT_FOUND";
    if (isDamaged) this.#findings.fault(finding);
    else this.#findings.warn(finding);
  }

  #note({ path, offset, buffer }: DryWrite): void {
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    if (offset < LOG_ENTRIES_OFFSET) {
      const sequence = readU64(view, HALF_START_SEQUENCE);
      this.#lacking.push({ path, offset, what: sequence === 0 ? "stale" : "header", sequence });
    } else {
      const sequence = readU64(view, ENTRY_SEQUENCE);
      this.#lacking.push({ path, offset, what: sequence === 0 ? "stale" : "entry", sequence });
    }
  }

  async #readEntries(log: Log): Promise<number> {
    const { applied, isMirror, onEntry } = this.#options;
    let entries = 0;
    if (log.tail.sequence === applied.sequence) return entries;
    for await (const entry of log.entries(applied.sequence + 1)) {
      entries += 1;
      const header = new DataView(entry.bytes.buffer, entry.bytes.byteOffset, entry.bytes.byteLength);
      const lag = isMirror ? header.getUint32(ENTRY_MIRROR_LAG, true) : 0;
      this.#durable = Math.max(this.#durable, Math.min(entry.durableThrough - lag, log.tail.sequence));
      const wrong = onEntry(entry);
      if (wrong === null) continue;
      const structure = `log entry ${entry.sequence}`;
      this.#findings.fault({ path: null, offset: null, structure, ...wrong });
    }
    return entries;
  }

  #reportLost(log: Log): void {
    const { tail, requiredThrough } = log.recovery;
    if (requiredThrough <= tail) return;
    const finding = {
      path: null,
      offset: null,
      structure: "log",
      expected: `entries through ${requiredThrough}, which were durable`,
      found: `none behind entry ${tail} in any copy`,
    };
    if (this.#options.mayLack) this.#findings.warn(finding);
    else this.#findings.fault(finding);
  }

  #reportLacking(): void {
    const stale = this.#lacking.filter(({ what }) => what === "stale");
    for (const { path, offset, what, sequence } of this.#lacking) {
      if (what === "stale") continue;
      const structure =
        what === "entry" ? `log entry ${sequence}` : `header of the half from entry ${sequence} on`;
      const bad = what === "header" ? this.#badHeaders.get(path) : undefined;
      if (what === "header") this.#badHeaders.delete(path);
      const finding = {
        path,
        offset,
        structure,
        expected: "what another copy has",
        found: bad ?? "none that is valid",
      };
      if (sequence <= this.#durable) this.#findings.fault(finding);
      else this.#findings.warn({ ...finding, found: `${finding.found}: a crash came between the copies` });
    }
    this.#reportStale(stale);
    this.#reportHeaders(() => false);
  }

  #reportStale(stale: readonly Lacking[]): void {
    const first = stale[0];
    if (first === undefined) return;
    const found = `${stale.length} sectors of entries that were never known to be durable`;
    const { path, offset } = first;
    this.#findings.warn({
      path,
      offset,
      structure: "log, torn tail",
      expected: "nothing behind its end",
      found,
    });
  }

  /** Of halves that are not in use: the next use writes a new one. */
  #reportHeaders(isInUse: (path: string) => boolean): void {
    for (const [path, found] of this.#badHeaders) {
      const finding = { path, offset: 0, structure: "half header", expected: "a valid one", found };
      if (isInUse(path)) this.#findings.fault(finding);
      else this.#findings.warn({ ...finding, structure: "half header, not in use" });
    }
  }
}

async function readHeader(kernel: Kernel, disk: Disk): Promise<HalfHeader | string> {
  const bytes = new Uint8Array(HALF_HEADER_BYTES);
  try {
    await readDisk(disk, 0, bytes);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return decodeHalfHeader(kernel, bytes);
}

function whole(path: string): { path: string; offset: null } {
  return { path, offset: null };
}
