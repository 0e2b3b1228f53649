// A link is a connection that speaks in frames and log entries. Both sides use it.
//
// Invariants:
//   - nothing happens inside a socket callback: a message goes into the inbox, and the owner sees it in a later
//     step, one after the other, in order;
//   - the inbox is bounded: when it is full the connection is paused, which reaches the peer as backpressure;
//   - whatever is wrong with a message, and whatever the owner throws about it, ends the link with a refusal
//     that says so, and goes no further;
//   - `onClosed` comes exactly once, and nothing after it.
//
// A side that has nothing to say sends a ping every third of `timeoutMs`; silence of `timeoutMs` ends the link.

import type { Connection } from "../io/transport.ts";
import type { Clock, Timer } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { decodeFrame, encodeFrame, holdsEntries, NO_GENERATION } from "./frame.ts";
import type { BodyOf, Message, MessageName } from "./messages.ts";
import type { Generation, GenerationRecord } from "./port.ts";

export interface LinkOptions {
  readonly connection: Connection;
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly onMessage: (message: Message, generation: Generation) => void;
  /** One or more encoded entries, not checked yet. */
  readonly onEntries: (bytes: Uint8Array) => void;
  /** `fault` is what this side found wrong, if it was this side. */
  readonly onClosed: (reason: string, fault: MirrorvolError | null) => void;
}

const INBOX_BYTES_MAX = 2 * 1024 * 1024;
/** What a message costs beside its bytes. */
const MESSAGE_COST_BYTES = 64;
/** A smaller message is copied: it may be a little part of much memory, and would keep all of it. */
const KEPT_BYTES_MIN = 16 * 1024;
const CLOSE_REASON_MAX = 100;
const KEEPALIVES_PER_TIMEOUT = 3;

export class Link {
  readonly #options: LinkOptions;
  readonly #connection: Connection;
  #timeoutMs: number;
  #generation: Generation = NO_GENERATION;
  #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  #isPaused = false;
  #isHeld = false;
  #isDraining = false;
  #isClosed = false;
  #sentAtMs: number;
  #receivedAtMs: number;
  #timer: Timer | null = null;

  constructor(options: LinkOptions) {
    const { connection, clock } = options;
    this.#options = options;
    this.#connection = connection;
    this.#timeoutMs = options.timeoutMs;
    this.#sentAtMs = this.#receivedAtMs = clock.nowMs();
    connection.onMessage = (bytes) => this.#take(bytes);
    connection.onClose = (reason) => void Promise.resolve().then(() => this.#closedByPeer(reason));
    this.#tick();
  }

  get remote(): string {
    return this.#connection.remote;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get bufferedBytes(): number {
    return this.#connection.bufferedBytes;
  }

  get wire(): { sentBytes: number; receivedBytes: number } {
    const { sentBytes, receivedBytes } = this.#connection;
    return { sentBytes, receivedBytes };
  }

  /** Named in every frame that is sent from now on. */
  set generation(generation: Generation) {
    this.#generation = generation;
  }

  set timeoutMs(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    this.#timer?.cancel();
    this.#tick();
  }

  send<N extends MessageName>(name: N, body: BodyOf<N>, done?: (error: Error | null) => void): void {
    this.sendBytes(encodeFrame(this.#options.kernel, this.#generation, name, body), done);
  }

  /** Entries as they are. They must not change until done is called. */
  sendBytes(bytes: Uint8Array, done?: (error: Error | null) => void): void {
    if (this.#isClosed) {
      done?.(new MirrorvolError("ERR_LINK_CLOSED", "the link is closed"));
      return;
    }
    this.#sentAtMs = this.#options.clock.nowMs();
    this.#connection.send(bytes, done);
  }

  /** Resolves when the bytes are handed to the system. */
  sendAndWait(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.sendBytes(bytes, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  /** Tells the peer why, then closes. */
  refuse(error: MirrorvolError, history: readonly GenerationRecord[] = []): void {
    if (this.#isClosed) return;
    this.send("refuse", { code: error.code, text: error.message, history });
    this.#end(error.code, error, false);
  }

  close(reason: string): void {
    this.#end(reason, null, false);
  }

  /** No message is handed on until `proceed`. */
  hold(): void {
    this.#isHeld = true;
  }

  proceed(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#receivedAtMs = this.#options.clock.nowMs();
    this.#drainSoon();
  }

  // The socket's callbacks.

  #take(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    this.#receivedAtMs = this.#options.clock.nowMs();
    this.#inbox.push(bytes.length < KEPT_BYTES_MIN ? bytes.slice() : bytes);
    this.#inboxBytes += bytes.length + MESSAGE_COST_BYTES;
    if (this.#inboxBytes > INBOX_BYTES_MAX && !this.#isPaused) {
      this.#isPaused = true;
      this.#connection.pause();
    }
    this.#drainSoon();
  }

  #drainSoon(): void {
    if (this.#isDraining || this.#isHeld || this.#inbox.length === 0) return;
    this.#isDraining = true;
    void Promise.resolve().then(() => this.#drain());
  }

  #drain(): void {
    while (!this.#isHeld && !this.#isClosed && this.#inbox.length > 0) {
      const batch = this.#inbox;
      this.#inbox = [];
      let done = 0;
      while (done < batch.length && !this.#isHeld && !this.#isClosed) this.#handOn(batch[done++]!);
      if (done < batch.length) this.#inbox = batch.slice(done).concat(this.#inbox);
    }
    this.#isDraining = false;
    if (this.#isPaused && !this.#isClosed && this.#inboxBytes < INBOX_BYTES_MAX / 2) {
      this.#isPaused = false;
      this.#receivedAtMs = this.#options.clock.nowMs();
      this.#connection.resume();
    }
  }

  #handOn(bytes: Uint8Array): void {
    this.#inboxBytes -= bytes.length + MESSAGE_COST_BYTES;
    const { kernel, onEntries, onMessage } = this.#options;
    try {
      if (holdsEntries(kernel, bytes)) return onEntries(bytes);
      const { message, generation } = decodeFrame(kernel, bytes);
      if (message.name !== "ping") onMessage(message, generation);
    } catch (error) {
      this.refuse(asRefusal(error));
    }
  }

  // Time.

  #tick(): void {
    if (this.#isClosed) return;
    const nowMs = this.#options.clock.nowMs();
    const periodMs = this.#timeoutMs / KEEPALIVES_PER_TIMEOUT;
    // Whoever does not listen cannot tell whether somebody speaks.
    const isListening = !this.#isPaused && !this.#isHeld;
    if (isListening && nowMs - this.#receivedAtMs > this.#timeoutMs) {
      return this.#end(`silent for ${this.#timeoutMs} ms`, null, false);
    }
    if (nowMs - this.#sentAtMs >= periodMs) this.send("ping", {});
    this.#timer = this.#options.clock.setTimer(periodMs, () => this.#tick());
  }

  #closedByPeer(reason: string): void {
    // What came before the close is still said, for instance why; unless the owner has no room for it.
    if (!this.#isClosed && !this.#isHeld) this.#drain();
    this.#end(reason, null, true);
  }

  #end(reason: string, fault: MirrorvolError | null, isClosedByPeer: boolean): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#inbox = [];
    if (!isClosedByPeer) this.#connection.close(reason.slice(0, CLOSE_REASON_MAX));
    void Promise.resolve().then(() => this.#options.onClosed(reason, fault));
  }
}

function asRefusal(error: unknown): MirrorvolError {
  if (error instanceof MirrorvolError) return error;
  return new MirrorvolError("ERR_INTERNAL", String(error), { cause: error });
}
