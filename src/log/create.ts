// Making a log: every file is written with zeros first, so that later syncs need no metadata, and gets the
// header of a half that is not in use.

import { LOG_HALF_COUNT, SECTOR_BYTES } from "../../assembly/format.ts";
import { type Disk, type Storage, writeDisk } from "../io/disk.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { halfPath } from "./copies.ts";
import { encodeHalfHeader, HALF_BYTES_MIN, isHalfSize, UNUSED } from "./half_header.ts";
import { HALF_BYTES_MAX } from "./location.ts";

export interface CreateLogOptions {
  readonly kernel: Kernel;
  readonly volumeId: Uint8Array;
  /** Size of one file: a quarter of a copy. */
  readonly halfBytes: number;
}

export { HALF_BYTES_MIN } from "./half_header.ts";

/** Refuses what exists (ERR_EXISTS), and then removes what it made itself. */
export async function createLog(
  storage: Storage,
  prefixes: readonly string[],
  options: CreateLogOptions,
): Promise<void> {
  checkSize(options.halfBytes);
  const made: Disk[] = [];
  try {
    for (let copy = 0; copy < prefixes.length; copy += 1) {
      for (let slot = 0; slot < LOG_HALF_COUNT; slot += 1) {
        const disk = await storage.create(halfPath(prefixes[copy]!, slot), options.halfBytes, "zeros");
        made.push(disk);
        const file = {
          volumeId: options.volumeId,
          copy,
          copyCount: prefixes.length,
          slot,
          fileBytes: options.halfBytes,
        };
        await writeDisk(disk, 0, encodeHalfHeader(options.kernel, { ...file, ...UNUSED }));
        await disk.sync();
      }
    }
  } catch (error) {
    await Promise.all(made.map((disk) => disk.close()));
    for (const disk of made) await storage.remove(disk.path);
    throw error;
  }
  await Promise.all(made.map((disk) => disk.close()));
}

/** Takes back what createLog made. */
export async function removeLog(storage: Storage, prefixes: readonly string[]): Promise<void> {
  for (const prefix of prefixes) {
    for (let slot = 0; slot < LOG_HALF_COUNT; slot += 1) await storage.remove(halfPath(prefix, slot));
  }
}

function checkSize(halfBytes: number): void {
  if (isHalfSize(halfBytes)) return;
  const limits = `a multiple of ${SECTOR_BYTES} from ${HALF_BYTES_MIN} to ${HALF_BYTES_MAX}`;
  const text = `log: a half of ${halfBytes} bytes; it must be ${limits}`;
  throw new MirrorvolError("ERR_LOG_SIZE", text);
}
