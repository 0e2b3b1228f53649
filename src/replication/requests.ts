// Questions that wait for their answers: numbered, bounded in number, all rejected when the link is gone.

import { MirrorvolError } from "../kernel/errors.ts";
import { wireFault } from "./fields.ts";

interface Waiting<T> {
  readonly resolve: (answer: T) => void;
  readonly reject: (error: MirrorvolError) => void;
}

export class Requests<T> {
  readonly #waiting = new Map<number, Waiting<T>>();
  readonly #most: number;
  #queue: (() => void)[] = [];
  #next = 0;
  #end: MirrorvolError | null = null;

  constructor(most: number) {
    this.#most = most;
  }

  /** Sends by `send` as soon as fewer than the most are on their way, and waits for the answer. */
  async ask(send: (request: number) => void): Promise<T> {
    while (this.#waiting.size >= this.#most && this.#end === null) {
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    }
    if (this.#end !== null) throw this.#end;
    const request = this.#next;
    this.#next = (this.#next + 1) % 2 ** 32;
    return new Promise((resolve, reject) => {
      this.#waiting.set(request, { resolve, reject });
      send(request);
    });
  }

  /** Throws ERR_PROTOCOL for an answer that nobody waits for. */
  answer(request: number, answer: T): void {
    this.#take(request).resolve(answer);
  }

  fail(request: number, fault: string): void {
    this.#take(request).reject(new MirrorvolError("ERR_REMOTE", `the other side: ${fault}`));
  }

  /** Nothing is asked or answered any more. */
  close(reason: string): void {
    this.#end ??= new MirrorvolError("ERR_LINK_CLOSED", reason);
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
    this.#wake();
  }

  #take(request: number): Waiting<T> {
    const waiting = this.#waiting.get(request);
    if (waiting === undefined) throw wireFault(`an answer to request ${request}, which was not made`);
    this.#waiting.delete(request);
    this.#wake();
    return waiting;
  }

  #wake(): void {
    for (const resolve of this.#queue.splice(0)) resolve();
  }
}
