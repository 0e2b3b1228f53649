// Other programs that run while something is measured. Each is known by its handle, and ends when we do.

import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";

export class Program {
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
  #output = "";
  #errors = "";

  constructor(program: string, args: readonly string[]) {
    this.child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    const end = () => this.child.kill("SIGKILL");
    process.once("exit", end);
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => (this.#output += text));
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => (this.#errors += text));
    this.ended = new Promise((resolve) => {
      this.child.once("error", () => resolve()).once("close", () => resolve());
    });
    this.ended.then(() => process.off("exit", end));
  }

  /** All that it printed; rejects with what it complained about if it fails. */
  async output(): Promise<string> {
    await this.ended;
    if (this.child.exitCode === 0) return this.#output;
    throw new Error(`${this.child.spawnfile} ended with ${this.child.exitCode}: ${this.#errors.trim()}`);
  }

  /** The first line on its stdout. */
  async firstLine(): Promise<string> {
    while (!this.#output.includes("\n")) {
      const more = new Promise<void>((resolve) => this.child.stdout!.once("data", () => resolve()));
      await Promise.race([more, this.ended]);
      if (this.child.exitCode !== null) throw new Error(`${this.child.spawnfile}: ${this.#errors.trim()}`);
    }
    return this.#output.slice(0, this.#output.indexOf("\n"));
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
  }
}

/** For programs that cannot choose one by themselves. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
