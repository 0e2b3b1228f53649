// How disks say what went wrong: one MirrorvolError that names the path, the operation and the offset, with
// the system's error as its cause.
//
//   ERR_NOT_FOUND      the path, or the folder a file should be made in, does not exist
//   ERR_EXISTS         create found something
//   ERR_NO_SPACE       the file system or the device is full
//   ERR_LOCKED         another opener holds the disk
//   ERR_READ_ONLY      a write to a disk that was opened for reading
//   ERR_OUT_OF_RANGE   an operation that does not lie within the disk
//   ERR_DISK_CLOSED    an operation after close
//   ERR_DISK_FAILED    everything else: the device, the kernel or the permissions say no

import { MirrorvolError } from "../kernel/errors.ts";
import type { Disk, DiskOperation } from "./disk.ts";

type Code = `ERR_${string}`;

const CODES = new Map<unknown, Code>([
  ["ENOENT", "ERR_NOT_FOUND"],
  ["ENOTDIR", "ERR_NOT_FOUND"],
  ["EEXIST", "ERR_EXISTS"],
  ["ENOSPC", "ERR_NO_SPACE"],
  ["EDQUOT", "ERR_NO_SPACE"],
  ["EFBIG", "ERR_NO_SPACE"],
  ["EBUSY", "ERR_LOCKED"],
]);

export interface DiskFault {
  readonly path: string;
  readonly operation: string;
  readonly offset?: number;
  readonly cause: unknown;
  /** Instead of the code that belongs to the cause. */
  readonly code?: Code;
}

export function diskError({ path, operation, offset, cause, code }: DiskFault): MirrorvolError {
  const where = offset === undefined ? operation : `${operation} at ${offset}`;
  const what = cause instanceof Error ? cause.message : String(cause);
  const mapped = code ?? CODES.get((cause as { code?: unknown } | null)?.code) ?? "ERR_DISK_FAILED";
  return new MirrorvolError(mapped, `${path}: ${where}: ${what}`, { cause });
}

/** Why the disk does not even try an operation, or null. */
export function refuseOperation(
  disk: Disk,
  operation: DiskOperation,
  isReadOnly: boolean,
): MirrorvolError | null {
  const { kind, offset, buffer } = operation;
  const refuse = (code: Code, cause: string) =>
    diskError({ path: disk.path, operation: kind, offset, cause, code });
  if (kind === "write" && isReadOnly) return refuse("ERR_READ_ONLY", "the disk is open for reading only");
  const isWithin = Number.isSafeInteger(offset) && offset >= 0 && offset + buffer.length <= disk.bytes;
  if (isWithin) return null;
  return refuse("ERR_OUT_OF_RANGE", `${buffer.length} bytes do not lie within the disk's ${disk.bytes}`);
}
