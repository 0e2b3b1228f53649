// A real kernel file system on an NBD export, without a kernel NBD client: nbdfuse shows the export as a file,
// a loop device makes it a disk, and ext4 is mounted from there.
//
//   server  <- NBD -  nbdfuse  <- FUSE -  FOLDER/image/nbd  <-  /dev/loopN  <-  ext4 at FOLDER/files
//
// detach() undoes all of it in the reverse order, also after the server is dead, and never touches a loop device
// or a mount that was not made here. If this process ends before that, its exit handler does the same by force.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { finish, isInstalled, run } from "./process_programs.ts";

const PROGRAMS = ["nbdfuse", "losetup", "mkfs.ext4", "e2fsck", "mount", "umount"];
const LOOK_MS = 20;
const WAIT_MS = 20_000;

/** Why this machine cannot do it, or null. */
export function mountObstacle(): string | null {
  if (process.getuid?.() !== 0) return "needs root, to mount";
  const device = ["/dev/fuse", "/dev/loop-control"].find((path) => !existsSync(path));
  if (device !== undefined) return `needs ${device}`;
  const program = PROGRAMS.find((name) => !isInstalled(name));
  return program === undefined ? null : `needs ${program} (Debian: libnbd-bin, e2fsprogs, mount)`;
}

export class ProcessMount {
  readonly files: string;
  readonly #image: string;
  #fuse: ChildProcess | null = null;
  #loop: string | null = null;
  #isMounted = false;

  constructor(folder: string) {
    this.#image = join(folder, "image");
    this.files = join(folder, "files");
    mkdirSync(this.#image);
    mkdirSync(this.files);
    process.once("exit", this.#abandon);
  }

  /** The loop device over the export. */
  get device(): string {
    if (this.#loop === null) throw new Error("nothing is attached");
    return this.#loop;
  }

  async attach(uri: string): Promise<void> {
    const fuse = spawn("nbdfuse", [this.#image, uri], { stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    fuse.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
    this.#fuse = fuse;
    const file = join(this.#image, "nbd");
    await waitUntil(() => {
      if (fuse.exitCode !== null) throw new Error(`nbdfuse ended with ${fuse.exitCode}: ${errors}`);
      return existsSync(file);
    }, `nbdfuse shows ${file}`);
    this.#loop = (await run("losetup", "--find", "--show", file)).trim();
  }

  async mount(): Promise<void> {
    await run("mount", "-t", "ext4", this.device, this.files);
    this.#isMounted = true;
  }

  async unmount(): Promise<void> {
    await run("umount", this.files);
    this.#isMounted = false;
  }

  /** Undoes whatever attach and mount did, as far as they came; the server may be gone. */
  async detach(): Promise<void> {
    if (this.#isMounted) await run("umount", this.files).catch(() => run("umount", "--lazy", this.files));
    this.#isMounted = false;
    if (this.#loop !== null) await run("losetup", "--detach", this.#loop);
    this.#loop = null;
    await this.#endFuse();
  }

  readonly #abandon = () => {
    if (this.#isMounted) spawnSync("umount", ["--lazy", this.files]);
    if (this.#loop !== null) spawnSync("losetup", ["--detach", this.#loop]);
    if (this.#fuse !== null) spawnSync("umount", ["--lazy", this.#image]);
  };

  async #endFuse(): Promise<void> {
    const fuse = this.#fuse;
    if (fuse === null) return;
    this.#fuse = null;
    const isOver = () => fuse.exitCode !== null || fuse.signalCode !== null;
    const ended = new Promise((resolve) => fuse.once("close", resolve));
    // nbdfuse ends by itself when its file system is not mounted any more.
    await run("umount", this.#image).catch(async () => {
      await finish("umount", "--lazy", this.#image);
      fuse.kill("SIGKILL");
    });
    if (!isOver()) await ended;
  }
}

async function waitUntil(isSo: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
