// Starts source_program.ts and talks to it.

import { type ChildProcess, fork } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import type { OpenVolumeOptions } from "../../src/index.ts";
import type { ServedStatus } from "../../src/node/status.ts";
import type { Interval } from "./samples.ts";

interface Message {
  ready?: number;
  cp?: Interval;
  answer?: unknown;
}

export class SourceProcess {
  /** When consistency points ran, in order. */
  readonly cps: Interval[] = [];
  port = 0;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #onReply: (message: Message) => void = () => {};

  static async start(options: OpenVolumeOptions): Promise<SourceProcess> {
    const source = new SourceProcess();
    const { ready } = await source.#ask({ open: options });
    source.port = ready!;
    return source;
  }

  private constructor() {
    const here = fileURLToPath(import.meta.url);
    this.#child = fork(fileURLToPath(new URL(`./source_program${extname(here)}`, import.meta.url)));
    this.#exited = new Promise((resolve) => this.#child.once("exit", () => resolve()));
    this.#child.on("message", (message: Message) => {
      if (message.cp !== undefined) this.cps.push(message.cp);
      else this.#onReply(message);
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async status(): Promise<ServedStatus & { memoryBytes: number }> {
    return (await this.#ask({ ask: "status" })).answer as ServedStatus & { memoryBytes: number };
  }

  async consistencyPoint(): Promise<number> {
    return (await this.#ask({ ask: "cp" })).answer as number;
  }

  /** No warning. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  /** One question at a time. */
  #ask(question: object): Promise<Message> {
    return new Promise((resolve, reject) => {
      this.#exited.then(() => reject(new Error("the source has ended")));
      this.#onReply = resolve;
      this.#child.send(question);
    });
  }
}
