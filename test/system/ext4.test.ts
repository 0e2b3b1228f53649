// A real kernel file system on a volume of a real node: ext4 over a loop device over nbdfuse. ext4 relies on
// what a disk promises about flushes and FUA, and e2fsck sees every block that is not what was written.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, skip, suite } from "../support/harness.ts";
import { mountObstacle, ProcessMount } from "../support/process_mount.ts";
import { finish, run } from "../support/process_programs.ts";
import { MIB, ProcessSide } from "../support/process_side.ts";

export const deadlineMs = 120_000;

const SIZE_BYTES = 64 * MIB;
const FILES_BEFORE_KILL = 25;
const KILLS = 3;

const test = suite("ext4");

interface Ground {
  readonly side: ProcessSide;
  readonly mount: ProcessMount;
}

/** A running node whose volume has a fresh file system, attached and not mounted. */
async function withFileSystem(use: (ground: Ground) => Promise<void>): Promise<void> {
  const obstacle = mountObstacle();
  if (obstacle !== null) skip(obstacle);
  const side = await ProcessSide.create({ sizeBytes: SIZE_BYTES, memberCount: 3, parity: 1 });
  const mount = new ProcessMount(side.folder);
  try {
    await side.start();
    await mount.attach(side.uri);
    await run("mkfs.ext4", "-q", "-F", mount.device);
    await use({ side, mount });
  } finally {
    await mount.detach();
    await side.close();
  }
}

test("keeps files over an unmount and a restart", async () => {
  await withFileSystem(async ({ side, mount }) => {
    await mount.mount();
    const writer = new FileWriter(mount.files, 1, 60);
    await writer.ended;
    await mount.unmount();
    await assertConsistent(mount.device);
    await mount.detach();
    await side.stop();
    await side.start();
    await mount.attach(side.uri);
    await assertConsistent(mount.device);
    await mount.mount();
    assertFiles(mount.files, writer.hashes);
    await mount.unmount();
  });
});

test("keeps every synced file when the node is killed, again and again", async () => {
  await withFileSystem(async ({ side, mount }) => {
    const hashes = new Map<string, string>();
    for (let kill = 1; kill <= KILLS; kill++) {
      await mount.mount();
      assertFiles(mount.files, hashes);
      const writer = new FileWriter(mount.files, kill, 0);
      await writer.synced(FILES_BEFORE_KILL * kill);
      await side.kill();
      await writer.ended;
      for (const [name, hash] of writer.hashes) hashes.set(name, hash);
      await mount.detach();
      await side.start();
      await mount.attach(side.uri);
      // The replay of its own journal is ext4's right; after it, nothing may be left to repair.
      await run("e2fsck", "-p", "-E", "journal_only", mount.device);
      await assertConsistent(mount.device);
    }
    await mount.mount();
    assertFiles(mount.files, hashes);
    await mount.unmount();
    await assertConsistent(mount.device);
  });
});

async function assertConsistent(device: string): Promise<void> {
  const { code, output, errors } = await finish("e2fsck", "-f", "-n", device);
  assert.is(code, 0, output + errors);
}

function assertFiles(folder: string, hashes: ReadonlyMap<string, string>): void {
  for (const [name, hash] of hashes) {
    const data = readFileSync(join(folder, name));
    assert.is(createHash("sha256").update(data).digest("hex"), hash, `${name}, ${data.length} bytes`);
  }
}

/** A running process_files.ts, and what it has said so far. */
class FileWriter {
  /** Of the files that were synced, and that nobody began to remove. */
  readonly hashes = new Map<string, string>();
  readonly ended: Promise<void>;
  #syncedCount = 0;
  #onProgress = () => {};
  #isOver = false;

  constructor(folder: string, seed: number, count: number) {
    const here = fileURLToPath(import.meta.url);
    const program = fileURLToPath(new URL(`../support/process_files${extname(here)}`, import.meta.url));
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

test.run();
