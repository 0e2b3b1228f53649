// The peer: qemu-storage-daemon with a blockdev-mirror job in write-blocking mode to qemu-nbd, as a
// replicated disk of QEMU is. No RAID, no checksums, no log: each side writes the image file and syncs it.

import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { createInterface, type Interface } from "node:readline";
import { isInstalled, run } from "../../test/support/process_programs.ts";
import { sleep } from "../support/clock.ts";
import type { BenchFolder } from "../support/folders.ts";
import { NbdTarget } from "../support/nbd_target.ts";
import { freePort, Program } from "../support/programs.ts";
import { nothingToDo, type Subject } from "./subject.ts";

const TRIES = 100;
const TRY_MS = 50;

/** Why this machine cannot do it, or null. */
export function qemuObstacle(): string | null {
  if (!isInstalled("qemu-nbd")) return "needs qemu-nbd (Debian: qemu-utils)";
  if (!isInstalled("qemu-storage-daemon")) return "needs qemu-storage-daemon (Debian: qemu-system-common)";
  return null;
}

export interface QemuMirror {
  readonly subject: Subject;
  readonly port: number;
}

export async function qemuMirror(folder: BenchFolder, bytes: number): Promise<QemuMirror> {
  const [image, copy] = [folder.at("qemu-source.raw"), folder.at("qemu-mirror.raw")];
  for (const path of [image, copy]) await makeImage(path, bytes);
  const [copyPort, port] = [await freePort(), await freePort()];
  const copyArgs = ["-f", "raw", "-b", "127.0.0.1", "-p", `${copyPort}`, "-x", "copy", "--persistent", copy];
  const mirror = new Program("qemu-nbd", ["--cache=writeback", ...copyArgs]);
  const monitor = folder.at("qemu.sock");
  const daemon = new Program("qemu-storage-daemon", daemonArgs(image, port, monitor));
  const qmp = await Qmp.connect(monitor);
  const server = { type: "inet", host: "127.0.0.1", port: `${copyPort}` };
  await qmp.execute("blockdev-add", { driver: "nbd", "node-name": "target", server, export: "copy" });
  const job = { "job-id": "mirror", device: "source", target: "target" };
  await qmp.execute("blockdev-mirror", { ...job, sync: "none", "copy-mode": "write-blocking" });
  const target = await NbdTarget.connect({ port, name: "disk", isFua: true });
  const subject: Subject = {
    who: "QEMU mirror",
    params: { by: "nbd", volume: "raw image" },
    target,
    cps: null,
    settle: nothingToDo,
    close: async () => {
      await target.close();
      qmp.close();
      await Promise.all([daemon.kill(), mirror.kill()]);
    },
  };
  return { subject, port };
}

/** With its blocks in place, as the log files of the others are. */
async function makeImage(path: string, bytes: number): Promise<void> {
  writeFileSync(path, "");
  await run("dd", "if=/dev/zero", `of=${path}`, "bs=1M", `count=${bytes >> 20}`, "conv=fsync", "status=none");
}

function daemonArgs(image: string, port: number, monitor: string): string[] {
  return [
    ...["--blockdev", `driver=file,node-name=file,filename=${image}`],
    ...["--blockdev", "driver=raw,node-name=source,file=file"],
    ...["--nbd-server", `addr.type=inet,addr.host=127.0.0.1,addr.port=${port}`],
    ...["--export", "type=nbd,id=export,node-name=source,name=disk,writable=on"],
    ...["--chardev", `socket,id=monitor,path=${monitor},server=on,wait=off`],
    ...["--monitor", "chardev=monitor"],
  ];
}

/** QEMU's control protocol: a line of JSON each way; events come in between. */
class Qmp {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;

  static async connect(path: string): Promise<Qmp> {
    const socket = await connectTo(path);
    const qmp = new Qmp(socket, createInterface({ input: socket }));
    await qmp.#lines.next();
    await qmp.execute("qmp_capabilities");
    return qmp;
  }

  private constructor(socket: Socket, lines: Interface) {
    this.#socket = socket;
    this.#lines = lines[Symbol.asyncIterator]();
  }

  async execute(command: string, args: object = {}): Promise<void> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    for (;;) {
      const { value } = (await this.#lines.next()) as { value: string | undefined };
      if (value === undefined) throw new Error(`${command}: the storage daemon is gone`);
      const answer = JSON.parse(value) as { return?: unknown; error?: { desc: string } };
      if (answer.error !== undefined) throw new Error(`${command}: ${answer.error.desc}`);
      if (answer.return !== undefined) return;
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** The daemon needs a moment until its socket is there. */
async function connectTo(path: string): Promise<Socket> {
  for (let tries = 1; ; tries++) {
    const socket = connect(path);
    const error = await new Promise<Error | null>((resolve) => {
      socket.once("connect", () => resolve(null)).once("error", resolve);
    });
    if (error === null) return socket;
    if (tries === TRIES) throw error;
    await sleep(TRY_MS);
  }
}
