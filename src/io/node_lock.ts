// Kernel locks on descriptors that are open already.
//
// Node has no flock(2), but a lock belongs to the open file, not to the process that took it: a child that
// inherits our descriptor takes the lock and ends, and we hold it until the last copy of the descriptor is
// closed, which the kernel does even when we are killed. So one short-lived `sh` runs flock(1) (util-linux or
// BusyBox) for all disks, and nothing has to stay alive. It works the same in Node and in Deno.
//
// The script gets our descriptors as 3, 4, ... It stops at the first refusal and prints which one that was and
// flock's exit status: 1 means that somebody else holds the lock, anything else that it could not be asked.

import { spawn } from "node:child_process";
import { MirrorvolError } from "../kernel/errors.ts";

const FIRST_FD = 3;

const LOCK_SCRIPT = `
fd=${FIRST_FD}
while [ "$fd" -lt "$1" ]; do
  flock -n -x "$fd"
  status=$?
  if [ "$status" -ne 0 ]; then echo "$fd $status"; exit 1; fi
  fd=$((fd + 1))
done
echo done`;

const UNLOCK_SCRIPT = `
fd=${FIRST_FD}
while [ "$fd" -lt "$1" ]; do flock -u "$fd"; fd=$((fd + 1)); done
echo done`;

export interface LockRefusal {
  /** Which descriptor; those before it are locked. */
  readonly index: number;
  /** Somebody else holds it, as opposed to: the file system does not do locks. */
  readonly isHeld: boolean;
  readonly message: string;
}

/** Locks all of them, exclusively and without waiting; null means done. */
export async function lockDescriptors(fds: readonly number[]): Promise<LockRefusal | null> {
  const { stdout, stderr } = await runScript(LOCK_SCRIPT, fds);
  if (stdout === "done") return null;
  const match = /^(\d+) (\d+)$/.exec(stdout);
  if (match === null) throw lockFailed(`the helper said "${stdout}" ${stderr}`.trim());
  const isHeld = match[2] === "1";
  const message = isHeld ? "another opener holds the lock" : `flock exits with ${match[2]}: ${stderr}`;
  return { index: Number(match[1]) - FIRST_FD, isHeld, message };
}

export async function unlockDescriptors(fds: readonly number[]): Promise<void> {
  if (fds.length === 0) return;
  const { stdout, stderr } = await runScript(UNLOCK_SCRIPT, fds);
  if (stdout !== "done") throw lockFailed(stderr);
}

function runScript(script: string, fds: readonly number[]): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const limit = String(FIRST_FD + fds.length);
    const child = spawn("sh", ["-c", script, "sh", limit], { stdio: ["ignore", "pipe", "pipe", ...fds] });
    let stdout = "";
    let stderr = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", (cause) => reject(lockFailed(cause.message, cause)));
    child.on("close", () => resolve({ stdout: stdout.trim(), stderr: stderr.trim() }));
  });
}

function lockFailed(why: string, cause?: unknown): MirrorvolError {
  const message = `lock: cannot run sh and flock (of util-linux or BusyBox): ${why}`;
  return new MirrorvolError("ERR_LOCK_UNAVAILABLE", message, { cause });
}
