// Runs the program `mirrorvol` the way a user does: as processes of its own, configured by files.
//
// Every process that is started here is known by its own handle; nothing else is ever signalled.
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const isSource = import.meta.url.endsWith(".ts");
const programPath = fileURLToPath(new URL(`../../src/cli/main.${isSource ? "ts" : "js"}`, import.meta.url));
const runtimeArgs = "Deno" in globalThis ? ["run", "-A", programPath] : [programPath];

/** How long a node may take to close before it is killed. */
const STOP_MS = 10_000;

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What `mirrorvol serve` says when it accepts clients. */
export interface Ready {
  readonly name: string;
  readonly listen: string | null;
  readonly nbd: string | null;
  readonly http: string | null;
  readonly admin: string;
  readonly volumes: readonly string[];
}

/** Runs one command to its end. */
export async function runMirrorvol(...args: string[]): Promise<Finished> {
  return collect(start(args)).finished;
}

/** The same, but a failure is an error with what the command said. */
export async function mirrorvol(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runMirrorvol(...args);
  if (code === 0) return stdout;
  throw new Error(`mirrorvol ${args.join(" ")} ended with ${code}: ${stderr.trim()}`);
}

/** A running `mirrorvol serve`. */
export class NodeProcess {
  readonly ready: Ready;
  readonly pid: number;
  readonly finished: Promise<Finished>;
  #isOver = false;

  /**
   * Resolves with the ready line; rejects with what the node said if it ends before. `under` is a program with its
   * arguments that runs the node in its place, such as `env` or `timeout`.
   */
  static async serve(configFile: string, under: readonly string[] = []): Promise<NodeProcess> {
    const child = start(["serve", "--config", configFile], under);
    const { finished, firstLine } = collect(child);
    const line = await Promise.race([firstLine, finished]);
    if (typeof line !== "string") {
      throw new Error(`mirrorvol serve ended with ${line.code}: ${line.stderr.trim()}`);
    }
    if (!line.startsWith("ready ")) throw new Error(`expected the ready line, got ${line}`);
    return new NodeProcess(child.pid!, finished, JSON.parse(line.slice(6)) as Ready);
  }

  private constructor(pid: number, finished: Promise<Finished>, ready: Ready) {
    this.ready = ready;
    this.pid = pid;
    this.finished = finished.finally(() => (this.#isOver = true));
  }

  /** No warning, no clean-up: what a power failure does to a process. */
  async kill(): Promise<Finished> {
    this.#signal("SIGKILL");
    return this.finished;
  }

  /** In an orderly way; by force when that takes too long. */
  async stop(): Promise<Finished> {
    this.#signal("SIGTERM");
    const timer = setTimeout(() => this.#signal("SIGKILL"), STOP_MS);
    const finished = await this.finished;
    clearTimeout(timer);
    return finished;
  }

  /** By its id: Deno reports a child that was ended by its kill() as killed, even if it ended by itself. */
  #signal(signal: "SIGTERM" | "SIGKILL"): void {
    if (!this.#isOver) process.kill(this.pid, signal);
  }
}

function start(args: readonly string[], under: readonly string[] = []): ChildProcess {
  const [program, ...rest] = [...under, process.execPath, ...runtimeArgs, ...args];
  // A group of its own, so that Ctrl-C reaches us alone and we decide what ends when.
  const child = spawn(program!, rest, {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  // Whatever ends us, it does not outlive us.
  const end = () => child.kill("SIGKILL");
  process.once("exit", end);
  child.once("close", () => process.off("exit", end));
  return child;
}

function collect(child: ChildProcess): { finished: Promise<Finished>; firstLine: Promise<string> } {
  let stdout = "";
  let stderr = "";
  let onLine = (_line: string) => {};
  const firstLine = new Promise<string>((resolve) => (onLine = resolve));
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    const end = stdout.indexOf("\n");
    if (end >= 0) onLine(stdout.slice(0, end));
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { finished, firstLine };
}
