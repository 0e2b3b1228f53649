// One WebSocket as a Connection.
//
// Invariants:
//   - send copies nothing: with a zero mask ws hands the frame's header and our bytes to the kernel as they
//     are, and `done` comes when the kernel took them;
//   - pause stops onMessage at once: what ws had read already waits here, at most one read of the socket;
//   - after our own close nothing is delivered any more; onClose comes once, after the last onMessage, and
//     waits, like the messages, until there is somebody to hear it.

import type { Socket } from "node:net";
import type { RawData, WebSocket } from "ws";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import { type Connection, MESSAGE_BYTES_MAX } from "./transport.ts";

/** What a close frame can carry. */
const REASON_BYTES_MAX = 123;
const CLOSE_NORMAL = 1000;
const CLOSE_TEXT_REFUSED = 1003;

type MessageHandler = (data: Uint8Array) => void;
type CloseHandler = (reason: string) => void;

export class NodeConnection implements Connection {
  readonly remote: string;
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  #onMessage: MessageHandler | null = null;
  #onClose: CloseHandler | null = null;
  /** Messages that came while paused, or before there was a handler. */
  #kept: Uint8Array[] = [];
  #isPaused = false;
  #isClosing = false;
  #isFlushing = false;
  #lastError: Error | null = null;
  /** Set when the socket is closed, until it was reported. */
  #closeReason: string | null = null;

  constructor(webSocket: WebSocket, socket: Socket, remote: string) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.remote = remote;
    webSocket.on("error", (error) => (this.#lastError = error));
    webSocket.on("message", (data, isBinary) => this.#receive(data, isBinary));
    webSocket.on("close", (code, reason) => this.#closed(code, reason.toString("utf8")));
  }

  get bufferedBytes(): number {
    return this.#webSocket.bufferedAmount;
  }

  get sentBytes(): number {
    return this.#socket.bytesWritten ?? 0;
  }

  get receivedBytes(): number {
    return this.#socket.bytesRead ?? 0;
  }

  get onMessage(): MessageHandler {
    return this.#onMessage ?? (() => {});
  }

  set onMessage(handler: MessageHandler) {
    this.#onMessage = handler;
    this.#flushSoon();
  }

  get onClose(): CloseHandler {
    return this.#onClose ?? (() => {});
  }

  set onClose(handler: CloseHandler) {
    this.#onClose = handler;
    this.#flushSoon();
  }

  send(data: Uint8Array, done?: (error: Error | null) => void): void {
    assert(data.length <= MESSAGE_BYTES_MAX, `${this.remote}: a message of ${data.length} bytes`);
    this.#webSocket.send(data, { binary: true, fin: true }, (error) => {
      if (error)
        done?.(new MirrorvolError("ERR_CONNECTION_CLOSED", `${this.remote}: not sent`, { cause: error }));
      else done?.(null);
    });
  }

  pause(): void {
    if (this.#isPaused || this.#isClosing) return;
    this.#isPaused = true;
    this.#webSocket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#webSocket.resume();
    this.#flushSoon();
  }

  close(reason = ""): void {
    this.#close(CLOSE_NORMAL, reason);
  }

  #close(code: number, reason: string): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#kept = [];
    // The answer to our close must be read.
    this.resume();
    this.#webSocket.close(code, asciiReason(reason));
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#isClosing) return;
    if (!isBinary) {
      this.#close(CLOSE_TEXT_REFUSED, "text messages are not taken");
      return;
    }
    // ws gives binary messages as one Buffer, whose `slice` would share memory where Uint8Array's copies.
    const { buffer, byteOffset, length } = data as Buffer;
    this.#kept.push(new Uint8Array(buffer, byteOffset, length));
    this.#flush();
  }

  #closed(code: number, reason: string): void {
    this.#closeReason =
      reason || this.#lastError?.message || (code === CLOSE_NORMAL ? "closed" : "connection lost");
    this.#flush();
  }

  /** Not within a setter or resume: the caller does not expect its handler to run there. */
  #flushSoon(): void {
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    try {
      while (this.#kept.length > 0 && this.#onMessage && !this.#isPaused)
        this.#onMessage(this.#kept.shift()!);
    } finally {
      this.#isFlushing = false;
    }
    if (this.#closeReason === null || this.#onClose === null || this.#kept.length > 0) return;
    const reason = this.#closeReason;
    this.#closeReason = null;
    this.#onClose(reason);
  }
}

/** A close frame with more than 123 bytes would throw. */
function asciiReason(reason: string): string {
  return reason.replace(/[^\x20-\x7e]/g, "?").slice(0, REASON_BYTES_MAX);
}
