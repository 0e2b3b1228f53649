// The two ends of a simulated connection: messages (Connection) or bytes (ByteStream), over two channels.

import type { ByteStream } from "../../src/io/stream.ts";
import { type Connection, MESSAGE_BYTES_MAX } from "../../src/io/transport.ts";
import { assert } from "../../src/kernel/errors.ts";
import type { Done, MemoryChannel } from "./memory_channel.ts";

type DataHandler = (data: Uint8Array) => void;
type CloseHandler = (reason: string) => void;

/** What a message costs on the wire, as in RFC 6455. */
function wireBytes(length: number, isMasked: boolean): number {
  const header = length < 126 ? 2 : length < 65536 ? 4 : 10;
  return length + header + (isMasked ? 4 : 0);
}

/** What both kinds of ends have in common. */
class MemoryEnd {
  readonly remote: string;
  readonly out: MemoryChannel;
  readonly into: MemoryChannel;
  #onClose: CloseHandler | null = null;
  #isClosed = false;
  #isPaused = false;
  #hasHandler = false;
  /** Until somebody has heard it. */
  #closeReason: string | null = null;

  constructor(remote: string, out: MemoryChannel, into: MemoryChannel) {
    this.remote = remote;
    this.out = out;
    this.into = into;
    into.onEnd = (reason) => this.#finish(reason);
    // Nothing is delivered before there is a handler.
    into.pause();
  }

  protected gotHandler(): void {
    this.#hasHandler = true;
    if (!this.#isPaused) this.into.resume();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get bufferedBytes(): number {
    return this.out.bufferedBytes;
  }

  get onClose(): CloseHandler {
    return this.#onClose ?? (() => {});
  }

  set onClose(handler: CloseHandler) {
    this.#onClose = handler;
    queueMicrotask(() => this.#report());
  }

  pause(): void {
    this.#isPaused = true;
    this.into.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#hasHandler) this.into.resume();
  }

  /** For tests: the connection breaks, both sides are told. */
  cut(reason: string): void {
    this.out.abort(reason);
    this.into.abort(reason);
  }

  /** For tests: nothing arrives any more, in either direction, and nobody is told. */
  lose(): void {
    this.out.isLost = true;
    this.into.isLost = true;
  }

  #finish(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.out.end(reason);
    this.#closeReason = reason;
    this.#report();
  }

  #report(): void {
    if (this.#closeReason === null || this.#onClose === null) return;
    const reason = this.#closeReason;
    this.#closeReason = null;
    this.#onClose(reason);
  }
}

export class MemoryConnection extends MemoryEnd implements Connection {
  sentBytes = 0;
  receivedBytes = 0;
  readonly #isClient: boolean;
  #onMessage: DataHandler = () => {};

  constructor(remote: string, out: MemoryChannel, into: MemoryChannel, isClient: boolean) {
    super(remote, out, into);
    this.#isClient = isClient;
    into.onPacket = (data) => {
      this.receivedBytes += wireBytes(data.length, !isClient);
      // The channel uses its memory again, as streams do.
      this.#onMessage(data.slice());
    };
  }

  get onMessage(): DataHandler {
    return this.#onMessage;
  }

  set onMessage(handler: DataHandler) {
    this.#onMessage = handler;
    this.gotHandler();
  }

  send(data: Uint8Array, done?: Done): void {
    assert(data.length <= MESSAGE_BYTES_MAX, `${this.remote}: a message of ${data.length} bytes`);
    this.sentBytes += wireBytes(data.length, this.#isClient);
    this.out.send([data], done);
  }

  close(reason = "closed"): void {
    this.out.end(reason);
    this.into.abandon(reason);
  }
}

export class MemoryStream extends MemoryEnd implements ByteStream {
  #onData: DataHandler = () => {};

  constructor(remote: string, out: MemoryChannel, into: MemoryChannel) {
    super(remote, out, into);
    into.onPacket = (data) => this.#onData(data);
  }

  get onData(): DataHandler {
    return this.#onData;
  }

  set onData(handler: DataHandler) {
    this.#onData = handler;
    this.gotHandler();
  }

  write(parts: readonly Uint8Array[], done?: Done): void {
    this.out.send(parts, done);
  }

  end(): void {
    this.out.end("ended by the peer");
  }

  destroy(): void {
    this.out.abort("connection lost");
    this.into.abandon("closed");
  }
}
