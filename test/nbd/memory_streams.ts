// Byte streams between a server and test clients in one process. They keep the rules of ByteStream to the
// letter: what a callback was given is overwritten after it, what is being sent is read late, a paused stream
// delivers nothing. Everything happens in microtasks, so `settle` is enough to know that nothing more comes.
import type { ByteStream, Streams } from "../../src/io/stream.ts";
import type { Listener } from "../../src/io/transport.ts";
import type { Wire } from "./raw_client.ts";

/** Until every microtask has run, and those that they started. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}

export class MemoryStreams implements Streams {
  #onStream: ((stream: ByteStream) => void) | null = null;

  async listen(address: string, onStream: (stream: ByteStream) => void): Promise<Listener> {
    this.#onStream = onStream;
    return {
      address,
      close: async () => {
        this.#onStream = null;
      },
    };
  }

  connect(): MemoryWire {
    const wire = new MemoryWire();
    if (this.#onStream === null) throw new Error("connection refused");
    this.#onStream(wire.server);
    return wire;
  }
}

interface Sending {
  readonly parts: readonly Uint8Array[];
  readonly done: ((error: Error | null) => void) | undefined;
}

/** The client's end. */
export class MemoryWire implements Wire {
  onData: (data: Uint8Array) => void = () => {};
  onClose: () => void = () => {};
  /** While true the client does not read: what the server sends stays with the server. */
  isStalled = false;
  readonly server = new ServerEnd(this);
  #isClosed = false;
  #hasHeardEnd = false;

  send(data: Uint8Array): void {
    if (!this.#isClosed) this.server.arrive(data.slice());
  }

  pause(): void {
    this.isStalled = true;
  }

  resume(): void {
    this.isStalled = false;
    this.server.flush();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.endedByServer();
    this.server.closedByClient();
  }

  /** The server will send nothing more; it may still listen. */
  endedByServer(): void {
    if (this.#hasHeardEnd) return;
    this.#hasHeardEnd = true;
    queueMicrotask(() => this.onClose());
  }
}

class ServerEnd implements ByteStream {
  readonly remote = "memory";
  onData: (data: Uint8Array) => void = () => {};
  onClose: (reason: string) => void = () => {};
  isPaused = false;
  #wire: MemoryWire;
  #arrived: Uint8Array[] = [];
  #sending: Sending[] = [];
  #isEnding = false;
  #isClosed = false;

  constructor(wire: MemoryWire) {
    this.#wire = wire;
  }

  /** Of the client's bytes: what the server has not taken. */
  get waitingBytes(): number {
    return this.#arrived.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  get bufferedBytes(): number {
    return this.#sending.reduce((sum, { parts }) => sum + parts.reduce((s, part) => s + part.length, 0), 0);
  }

  write(parts: readonly Uint8Array[], done?: (error: Error | null) => void): void {
    this.#sending.push({ parts, done });
    this.flush();
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    queueMicrotask(() => this.#deliver());
  }

  end(): void {
    this.#isEnding = true;
    this.flush();
  }

  destroy(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { done } of this.#sending.splice(0)) queueMicrotask(() => done?.(new Error("closed")));
    this.#wire.endedByServer();
    queueMicrotask(() => this.onClose("destroyed"));
  }

  arrive(chunk: Uint8Array): void {
    this.#arrived.push(chunk);
    queueMicrotask(() => this.#deliver());
  }

  closedByClient(): void {
    queueMicrotask(() => {
      if (this.#isClosed) return;
      this.#isClosed = true;
      for (const { done } of this.#sending.splice(0)) done?.(new Error("closed"));
      this.onClose("the client closed");
    });
  }

  /** Reads the parts as late as it can: whoever changes them too early is found out. */
  flush(): void {
    queueMicrotask(() => {
      while (!this.#wire.isStalled && !this.#isClosed && this.#sending.length > 0) {
        const { parts, done } = this.#sending.shift()!;
        for (const part of parts) this.#wire.onData(part.slice());
        done?.(null);
      }
      if (this.#isEnding && this.#sending.length === 0) this.#wire.endedByServer();
    });
  }

  #deliver(): void {
    while (!this.isPaused && !this.#isClosed && this.#arrived.length > 0) {
      const chunk = this.#arrived.shift()!;
      this.onData(chunk);
      chunk.fill(0xee);
    }
  }
}
