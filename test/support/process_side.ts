// One node with one volume, as a process of its own: `mirrorvol create`, `mirrorvol serve`, SIGKILL, again.
//
// Everything it makes lies in a folder of its own and is gone after close(), which also ends the process. The
// volume is small and so is its log, so that a short load makes consistency points and keeps the cleaner busy.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NbdClient } from "../../examples/support/nbd_client.ts";
import { type Finished, mirrorvol, NodeProcess } from "../../examples/support/processes.ts";
import type { NodeStatus, ServedStatus } from "../../src/node/status.ts";
import { run } from "./process_programs.ts";

export const VOLUME = "disk";
export const MIB = 1 << 20;

/** The shell becomes the node; what it left in the background kills it, by the id that both have. */
const KILL_LATER = '(sleep "$0"; kill -9 $$) & exec "$@"';

export interface SideOptions {
  readonly sizeBytes: number;
  readonly memberCount: number;
  readonly parity: number;
  /** More keys of the node, such as "listen". */
  readonly node?: object;
  /** More keys of the volume, such as "role" and "mirror". */
  readonly volume?: object;
}

export class ProcessSide {
  readonly folder: string;
  readonly config: string;
  readonly members: readonly string[];
  /** The prefix of each copy. */
  readonly logs: readonly string[];
  readonly #options: SideOptions;
  #process: NodeProcess | null = null;

  static async create(options: SideOptions): Promise<ProcessSide> {
    const side = new ProcessSide(options);
    try {
      await mirrorvol("create", "--config", side.config);
      return side;
    } catch (error) {
      await side.close();
      throw error;
    }
  }

  /** The same volume once more, in a folder of its own: cheaper than making one. The other must not run. */
  static async copyOf(other: ProcessSide): Promise<ProcessSide> {
    const side = new ProcessSide(other.#options);
    const files = volumeFiles(other.folder).map((name) => join(other.folder, name));
    await run("cp", "--sparse=auto", ...files, side.folder);
    return side;
  }

  private constructor(options: SideOptions) {
    this.folder = mkdtempSync(join(tmpdir(), "mirrorvol-system-"));
    this.config = join(this.folder, "node.json");
    this.members = Array.from({ length: options.memberCount }, (_, at) => join(this.folder, `member${at}`));
    this.logs = ["log-a", "log-b"].map((name) => join(this.folder, name));
    this.#options = options;
    this.configure({});
  }

  /** Writes the configuration file, with these keys of node and volume over the ones that it was made with. */
  configure(node: object, changes: object = {}): void {
    const { sizeBytes, parity } = this.#options;
    const common = {
      size: sizeBytes,
      members: this.members,
      parity,
      log: this.logs,
      logSize: "8MiB",
      cpInterval: "500ms",
    };
    const volume = { ...common, ...this.#options.volume, ...changes };
    const listeners = { nbd: "127.0.0.1:0", http: "127.0.0.1:0" };
    const config = { ...listeners, ...this.#options.node, ...node, volumes: { [VOLUME]: volume } };
    writeFileSync(this.config, JSON.stringify(config, null, 2));
  }

  /** A blank volume in place of the one that there was. */
  async createAnew(): Promise<void> {
    for (const name of volumeFiles(this.folder)) rmSync(join(this.folder, name));
    await mirrorvol("create", "--config", this.config);
  }

  /** The running node. */
  get process(): NodeProcess {
    if (this.#process === null) throw new Error("the node does not run");
    return this.#process;
  }

  /** Resolves when the node is ready. `under`: a program with its arguments that runs it, such as `strace`. */
  async start(under: readonly string[] = []): Promise<void> {
    if (this.#process !== null) throw new Error("the node runs already");
    this.#process = await NodeProcess.serve(this.config, under);
  }

  get isRunning(): boolean {
    return this.#process !== null;
  }

  /** Begins to start, and is killed after that time: while it opens its volume, or soon after. */
  async startAndKill(afterMs: number): Promise<void> {
    const under = ["sh", "-c", KILL_LATER, `${afterMs / 1000}`];
    try {
      const started = await NodeProcess.serve(this.config, under);
      await started.finished;
    } catch (error) {
      if (!/ended with null/.test((error as Error).message)) throw error;
    }
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    const { signal, code, stderr } = await this.process.kill();
    this.#process = null;
    if (signal !== "SIGKILL") throw new Error(`the node had ended by itself, with ${code}: ${stderr}`);
  }

  /** SIGTERM; an exit code other than 0 is an error. */
  async stop(): Promise<void> {
    const { code, signal, stderr } = await this.end();
    if (code !== 0) throw new Error(`the node ended with ${signal ?? code}: ${stderr}`);
  }

  /** SIGTERM, if nothing has ended it before; how it ended, and what it said. */
  async end(): Promise<Finished> {
    const finished = await this.process.stop();
    this.#process = null;
    return finished;
  }

  async status(): Promise<ServedStatus> {
    const response = await fetch(`http://${this.process.ready.http}/status`);
    const { volumes } = (await response.json()) as NodeStatus;
    const [volume] = volumes;
    if (volume === undefined || !("sequence" in volume)) {
      throw new Error(`the volume is not open: ${JSON.stringify(volume)}`);
    }
    return volume;
  }

  /** Resolves when a consistency point holds everything that was acknowledged before; the error if it fails. */
  async consistencyPoint(): Promise<Error | null> {
    const url = `http://${this.process.ready.http}/volumes/${VOLUME}/consistency-point`;
    const headers = { "content-type": "application/json" };
    const answer = await fetch(url, { method: "POST", headers }).catch((error: Error) => error);
    if (answer instanceof Error) return answer;
    const text = await answer.text();
    return answer.ok ? null : new Error(`${answer.status} ${text}`);
  }

  connect(): Promise<NbdClient> {
    return NbdClient.connect(this.process.ready.nbd!, VOLUME);
  }

  /** For other people's programs. */
  get uri(): string {
    const address = this.process.ready.nbd!;
    if (!address.startsWith("unix:")) return `nbd://${address}/${VOLUME}`;
    return `nbd+unix:///${VOLUME}?socket=${address.slice("unix:".length)}`;
  }

  /** Ends the process if it still runs, and removes the folder. */
  async close(): Promise<void> {
    await this.#process?.kill();
    this.#process = null;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function volumeFiles(folder: string): string[] {
  return readdirSync(folder).filter((name) => /^(member|log)/.test(name));
}
