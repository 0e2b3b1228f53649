// Runs a program of this folder in a process of its own, on the runtime the tests run on. It ends at the
// latest when its stdin does, so that a test that fails, or is killed, leaves nobody behind.

import { type ChildProcess, spawn } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

export interface Program {
  readonly process: ChildProcess;
  /** The next line that it prints; "" at its end. */
  line(): Promise<string>;
  /** Ends it with a signal that it cannot catch, and waits for its end. */
  kill(): Promise<void>;
}

export function startProgram(name: string, args: readonly string[]): Program {
  const path = fileURLToPath(new URL(`./${name}${extname(fileURLToPath(import.meta.url))}`, import.meta.url));
  const runtime = "Deno" in globalThis ? ["run", "-A"] : [];
  const child = spawn(process.execPath, [...runtime, path, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines: string[] = [];
  const waiters: ((line: string) => void)[] = [];
  let partial = "";
  let isEnded = false;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const pieces = (partial + text).split("\n");
    partial = pieces.pop()!;
    for (const piece of pieces) {
      const waiter = waiters.shift();
      if (waiter) waiter(piece);
      else lines.push(piece);
    }
  });
  const ended = new Promise<void>((resolve) => {
    child.on("close", () => {
      isEnded = true;
      for (const waiter of waiters) waiter("");
      resolve();
    });
  });
  return {
    process: child,
    line: async () =>
      lines.shift() ?? (isEnded ? "" : new Promise<string>((resolve) => waiters.push(resolve))),
    kill: () => {
      child.kill("SIGKILL");
      return ended;
    },
  };
}
