// A file system of a few megabytes, which can be full and can grow: a tmpfs, mounted in a folder of its own. It is
// gone after close(); if this process ends before that, its exit handler unmounts it.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isInstalled, run } from "./process_programs.ts";

/** Why this machine cannot do it, or null. */
export function tmpfsObstacle(): string | null {
  if (process.getuid?.() !== 0) return "needs root, to mount";
  if (!isInstalled("mount") || !isInstalled("umount")) return "needs mount (Debian: mount)";
  const folder = mkdtempSync(join(tmpdir(), "mirrorvol-tmpfs-"));
  const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "tmpfs", folder], { encoding: "utf8" });
  if (status === 0) spawnSync("umount", [folder]);
  rmdirSync(folder);
  return status === 0 ? null : `a tmpfs cannot be mounted here: ${stderr.trim()}`;
}

export class ProcessTmpfs {
  readonly folder = mkdtempSync(join(tmpdir(), "mirrorvol-tmpfs-"));

  static async mount(bytes: number): Promise<ProcessTmpfs> {
    const disk = new ProcessTmpfs();
    try {
      await run("mount", "-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", disk.folder);
      return disk;
    } catch (error) {
      disk.#remove();
      throw error;
    }
  }

  private constructor() {
    process.once("exit", this.#abandon);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async resize(bytes: number): Promise<void> {
    await run("mount", "-o", `remount,size=${bytes}`, this.folder);
  }

  /** With everything in it. Nobody may use it any more. */
  async close(): Promise<void> {
    await run("umount", this.folder);
    this.#remove();
  }

  #remove(): void {
    process.off("exit", this.#abandon);
    rmdirSync(this.folder);
  }

  readonly #abandon = () => {
    if (!existsSync(this.folder)) return;
    spawnSync("umount", ["--lazy", this.folder]);
    rmdirSync(this.folder);
  };
}
