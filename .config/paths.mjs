// What the scripts of this folder share: where things are, a lock between processes, and running a program.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const dist = join(root, "dist");

const lockPath = join(root, "dist", ".lock");
const lockOwnerPath = join(lockPath, "pid");
const lockPollMs = 50;
const lockUnownedMs = 2_000;

/** Runs `work` while no other process of this checkout builds or installs. */
export function withLock(work) {
  mkdirSync(dist, { recursive: true });
  while (!tryLock()) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lockPollMs);
  try {
    return work();
  } finally {
    rmSync(lockPath, { recursive: true, force: true });
  }
}

function tryLock() {
  try {
    mkdirSync(lockPath);
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    if (isLockStale()) rmSync(lockPath, { recursive: true, force: true });
    return false;
  }
  writeFileSync(lockOwnerPath, String(process.pid));
  return true;
}

/** A lock is stale when its owner is dead, or when nobody has signed it for a while. */
function isLockStale() {
  try {
    const pid = Number(readFileSync(lockOwnerPath, "utf8"));
    if (pid > 0) return !isAlive(pid);
  } catch {
    // The owner has not signed yet, or has just left.
  }
  try {
    return Date.now() - statSync(lockPath).mtimeMs > lockUnownedMs;
  } catch {
    return false;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Runs a program in the root folder, showing its output; returns its exit status. */
export function run(program, args) {
  const result = spawnSync(program, args, { cwd: root, stdio: "inherit" });
  if (result.error) throw result.error;
  return result.status ?? 1;
}
