// Storage over the file system: where disks come from in Node and in Deno.
//
//   file           size from stat; made exclusively, its folder synced after create and remove
//   block device   size from /sys/dev/block/MAJOR:MINOR/size (stat says 0); opened for writing with O_EXCL,
//                  which Linux refuses (ERR_LOCKED) while the device is mounted or another opener holds it so
//                  (not in Deno, which takes the flag for "make it": there only our own locks keep others out);
//                  create overwrites it when zeros are asked for, remove leaves it where it is
//   anything else  refused
//
// create makes no folders above the file. If it fails half way it takes away what it made.

import fs, { type Stats } from "node:fs";
import { readFile, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { assert } from "../kernel/errors.ts";
import type { Disk, DiskOperation, Storage } from "./disk.ts";
import { diskError } from "./disk_errors.ts";
import { NodeDisk } from "./node_disk.ts";
import { lockDescriptors, unlockDescriptors } from "./node_lock.ts";

const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR } = fs.constants;
const openFile = promisify(fs.open);
const closeFile = promisify(fs.close);
const truncateFile = promisify(fs.ftruncate);
const syncFile = promisify(fs.fsync);
const statFile: (fd: number) => Promise<Stats> = promisify(fs.fstat);

/** Volumes hold other people's data. */
const FILE_MODE = 0o600;
const DEVICE_FLAGS = "Deno" in globalThis ? 0 : O_EXCL;
const ZEROS_BYTES = 1024 * 1024;
/** Pieces of zeros in one batch, which the disk joins into one call. */
const ZEROS_BATCH = 4;
const SYSFS_SECTOR_BYTES = 512;

export class NodeStorage implements Storage {
  async open(path: string, options: { readonly readOnly?: boolean } = {}): Promise<Disk> {
    return openExisting(path, options.readOnly === true);
  }

  async create(path: string, bytes: number, fill: "sparse" | "zeros"): Promise<Disk> {
    assert(fill === "sparse" || fill === "zeros", `${path}: create: unknown fill`);
    assert(Number.isSafeInteger(bytes) && bytes >= 0, `${path}: create: ${bytes} is no size`);
    const found = await statIfThere(path);
    return found?.isBlockDevice() ? takeDevice(path, bytes, fill) : makeFile(path, bytes, fill);
  }

  async exists(path: string): Promise<boolean> {
    return (await statIfThere(path)) !== null;
  }

  async remove(path: string): Promise<void> {
    const found = await statIfThere(path);
    if (found?.isBlockDevice()) return;
    await named(path, "remove", unlink(path));
    await syncFolder(path);
  }

  async lock(disks: readonly Disk[]): Promise<void> {
    const wanted = disks.map(asNodeDisk).filter((disk) => !disk.isLocked);
    if (wanted.length === 0) return;
    const refusal = await lockDescriptors(wanted.map((disk) => disk.fd));
    if (refusal === null) {
      for (const disk of wanted) disk.isLocked = true;
      return;
    }
    await unlockDescriptors(wanted.slice(0, refusal.index).map((disk) => disk.fd));
    const { path } = wanted[refusal.index]!;
    const code = refusal.isHeld ? "ERR_LOCKED" : "ERR_LOCK_UNAVAILABLE";
    throw diskError({ path, operation: "lock", code, cause: refusal.message });
  }
}

function asNodeDisk(disk: Disk): NodeDisk {
  assert(disk instanceof NodeDisk, `${disk.path}: lock: not a disk of this storage`);
  return disk;
}

async function openExisting(path: string, isReadOnly: boolean): Promise<NodeDisk> {
  const { isDevice } = await classify(path);
  const access = isReadOnly ? O_RDONLY : O_RDWR;
  const exclusive = isDevice && !isReadOnly ? DEVICE_FLAGS : 0;
  const fd = await named(path, "open", openFile(path, access | exclusive));
  try {
    return new NodeDisk({ path, fd, bytes: await sizeOf(fd), isReadOnly });
  } catch (cause) {
    await closeFile(fd);
    throw diskError({ path, operation: "size", cause });
  }
}

async function takeDevice(path: string, bytes: number, fill: "sparse" | "zeros"): Promise<NodeDisk> {
  const disk = await openExisting(path, false);
  try {
    if (disk.bytes < bytes) {
      const cause = `the device has ${disk.bytes} bytes, ${bytes} are wanted`;
      throw diskError({ path, operation: "create", code: "ERR_NO_SPACE", cause });
    }
    if (fill === "zeros") await writeZeros(disk, bytes);
    await disk.sync();
    return disk;
  } catch (error) {
    await disk.close();
    throw error;
  }
}

async function makeFile(path: string, bytes: number, fill: "sparse" | "zeros"): Promise<NodeDisk> {
  const flags = O_RDWR | O_CREAT | O_EXCL;
  const fd = await openFile(path, flags, FILE_MODE).catch((cause) => {
    const isFolderMissing = cause.code === "ENOENT";
    throw diskError({ path, operation: isFolderMissing ? `create in ${dirname(path)}` : "create", cause });
  });
  const disk = new NodeDisk({ path, fd, bytes, isReadOnly: false });
  try {
    await named(path, "truncate", truncateFile(fd, bytes));
    if (fill === "zeros") await writeZeros(disk, bytes);
    await named(path, "fsync", syncFile(fd));
    await syncFolder(path);
    return disk;
  } catch (error) {
    await disk.close();
    await unlink(path);
    throw error;
  }
}

async function writeZeros(disk: Disk, bytes: number): Promise<void> {
  const zeros = new Uint8Array(Math.min(ZEROS_BYTES, bytes));
  for (let offset = 0; offset < bytes; ) {
    const batch: DiskOperation[] = [];
    for (; offset < bytes && batch.length < ZEROS_BATCH; offset += batch.at(-1)!.buffer.length) {
      batch.push({ kind: "write", offset, buffer: zeros.subarray(0, bytes - offset) });
    }
    const error = (await disk.submit(batch)).find((each) => each !== null);
    if (error) throw error;
  }
}

/** Makes the file's name durable. */
async function syncFolder(path: string): Promise<void> {
  const folder = dirname(path);
  const fd = await named(folder, "open", openFile(folder, O_RDONLY));
  try {
    await named(folder, "fsync", syncFile(fd));
  } finally {
    await closeFile(fd);
  }
}

async function classify(path: string): Promise<{ isDevice: boolean }> {
  const found = await named(path, "open", stat(path));
  if (found.isBlockDevice()) return { isDevice: true };
  if (found.isFile()) return { isDevice: false };
  throw diskError({ path, operation: "open", cause: "neither a file nor a block device" });
}

async function sizeOf(fd: number): Promise<number> {
  const found = await statFile(fd);
  if (!found.isBlockDevice()) return found.size;
  const { major, minor } = deviceNumbers(found.rdev);
  const sectors = await readFile(`/sys/dev/block/${major}:${minor}/size`, "utf8");
  return Number(sectors) * SYSFS_SECTOR_BYTES;
}

/** Linux packs them as: major bits 12.., minor bits 8.., major 12 bits, minor 8 bits. */
function deviceNumbers(rdev: number): { major: number; minor: number } {
  const high = Math.floor(rdev / 0x100000000);
  const low = rdev % 0x100000000;
  const major = high * 0x1000 + ((low >>> 8) & 0xfff);
  const minor = ((low >>> 20) << 8) | (low & 0xff);
  return { major, minor };
}

async function statIfThere(path: string): Promise<Stats | null> {
  return stat(path).catch((cause) => {
    if (cause.code === "ENOENT" || cause.code === "ENOTDIR") return null;
    throw diskError({ path, operation: "stat", cause });
  });
}

/** The promise, its errors saying which path and which operation. */
function named<T>(path: string, operation: string, work: Promise<T>): Promise<T> {
  return work.catch((cause) => {
    throw diskError({ path, operation, cause });
  });
}
