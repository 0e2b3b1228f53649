// A writer of files on a real file system (process_files.ts, a process of its own), and what must be true of the file
// system afterwards: e2fsck finds nothing, and every file that was synced is there with its hash.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert } from "./harness.ts";
import { finish, run } from "./process_programs.ts";

/** That is ext4's right; after it, nothing may be left to repair. */
export async function replayJournal(device: string): Promise<void> {
  await run("e2fsck", "-p", "-E", "journal_only", device);
}

export async function assertConsistent(device: string): Promise<void> {
  const { code, output, errors } = await finish("e2fsck", "-f", "-n", device);
  assert.is(code, 0, output + errors);
}

export function assertFiles(folder: string, hashes: ReadonlyMap<string, string>): void {
  for (const [name, hash] of hashes) {
    const data = readFileSync(join(folder, name));
    assert.is(createHash("sha256").update(data).digest("hex"), hash, `${name}, ${data.length} bytes`);
  }
}

/** A running process_files.ts, and what it has said so far. */
export class FileWriter {
  /** Of the files that were synced, and that nobody began to remove. */
  readonly hashes = new Map<string, string>();
  readonly ended: Promise<void>;
  #syncedCount = 0;
  #onProgress = () => {};
  #isOver = false;

  constructor(folder: string, seed: number, count: number) {
    const here = fileURLToPath(import.meta.url);
    const program = fileURLToPath(new URL(`./process_files${extname(here)}`, import.meta.url));
    const runtime = "Deno" in globalThis ? ["run", "-A"] : [];
    const args = [...runtime, program, folder, String(seed), String(count)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    let partial = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (partial + text).split("\n");
      partial = lines.pop()!;
      for (const line of lines) this.#take(JSON.parse(line));
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
    this.ended = new Promise((resolve, reject) => {
      child.on("close", (code) => {
        this.#isOver = true;
        this.#onProgress();
        const isFailure = count > 0 && code !== 0;
        if (isFailure) reject(new Error(`the writer ended with ${code}: ${errors}`));
        else resolve();
      });
    });
  }

  /** Resolves when that many files were synced. */
  async synced(count: number): Promise<void> {
    while (this.#syncedCount < count) {
      if (this.#isOver) throw new Error(`the writer ended after ${this.#syncedCount} files`);
      await new Promise<void>((resolve) => (this.#onProgress = resolve));
    }
  }

  #take(line: { name?: string; hash?: string; removed?: string }): void {
    if (line.removed !== undefined) this.hashes.delete(line.removed);
    else {
      this.hashes.set(line.name!, line.hash!);
      this.#syncedCount++;
    }
    this.#onProgress();
  }
}
