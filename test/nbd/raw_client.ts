// An NBD client that says exactly what a test wants to say, right or wrong. It shares no code with the server:
// the numbers are those of the protocol's text.
import { connect as connectSocket, type Socket } from "node:net";

/** What carries the bytes: memory or a socket. */
export interface Wire {
  send(data: Uint8Array): void;
  close(): void;
  /** Stops reading: what the server sends piles up there. */
  pause(): void;
  onData: (data: Uint8Array) => void;
  onClose: () => void;
}

export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Uint8Array;
}

export interface Reply {
  readonly errno: number;
  readonly data: Uint8Array;
}

export interface Call {
  readonly command: number;
  readonly flags?: number;
  readonly offset?: number | bigint;
  readonly length?: number;
  readonly payload?: Uint8Array;
}

export const REPLY_MAGIC = 0x0003e889045565a9n;
const OPTION_MAGIC = 0x49484156454f5054n;

export class RawClient {
  readonly wire: Wire;
  /** Resolves when the server is gone. */
  readonly closed: Promise<void>;
  isClosed = false;
  /** How what is sent is cut; whole by default. */
  cut: (data: Uint8Array) => Uint8Array[] = (data) => [data];
  #received: Uint8Array[] = [];
  #receivedBytes = 0;
  #wake = () => {};
  #calls = new Map<bigint, { length: number; resolve(reply: Reply): void; reject(error: Error): void }>();
  #nextCookie = 0xf000_0000_0000_0001n;

  constructor(wire: Wire) {
    this.wire = wire;
    wire.onData = (data) => {
      this.#received.push(data);
      this.#receivedBytes += data.length;
      this.#wake();
    };
    this.closed = new Promise((resolve) => {
      wire.onClose = () => {
        this.isClosed = true;
        this.#wake();
        resolve();
      };
    });
  }

  send(data: Uint8Array): void {
    for (const piece of this.cut(data)) this.wire.send(piece);
  }

  /** The next bytes; rejects when the server closes before. */
  async take(length: number): Promise<Uint8Array> {
    while (this.#receivedBytes < length) {
      if (this.isClosed) throw new Error(`closed with ${this.#receivedBytes} of ${length} bytes`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const all = concat(...this.#received);
    this.#received = all.length === length ? [] : [all.subarray(length)];
    this.#receivedBytes -= length;
    return all.subarray(0, length);
  }

  get unreadBytes(): number {
    return this.#receivedBytes;
  }

  async greet(flags = 3): Promise<DataView> {
    const greeting = view(await this.take(18));
    this.send(u32(flags));
    return greeting;
  }

  sendOption(option: number, data: Uint8Array = new Uint8Array(0)): void {
    this.send(concat(u64(OPTION_MAGIC), u32(option), u32(data.length), data));
  }

  async optionReply(): Promise<OptionReply> {
    const header = view(await this.take(20));
    if (header.getBigUint64(0) !== REPLY_MAGIC) throw new Error("an option reply without its magic");
    const data = await this.take(header.getUint32(16));
    return { option: header.getUint32(8), type: header.getUint32(12), data };
  }

  /** Sends an option and returns its replies up to the last, an acknowledgement or an error. */
  async option(option: number, data?: Uint8Array): Promise<OptionReply[]> {
    this.sendOption(option, data);
    const replies: OptionReply[] = [];
    for (;;) {
      const reply = await this.optionReply();
      replies.push(reply);
      if (reply.type === 1 || reply.type >= 0x80000000) return replies;
    }
  }

  /** Greets, chooses the export, and reads replies from then on. */
  async go(name = ""): Promise<this> {
    await this.greet();
    const replies = await this.option(7, infoQuery(name));
    if (replies.at(-1)!.type !== 1) throw new Error(`GO was refused with ${replies.at(-1)!.type}`);
    this.startReplies();
    return this;
  }

  startReplies(): void {
    this.#readReplies().catch((error) => {
      for (const call of this.#calls.values()) call.reject(error);
    });
  }

  call(call: Call): Promise<Reply> {
    const cookie = this.#nextCookie++;
    const reply = new Promise<Reply>((resolve, reject) => {
      const length = call.command === 0 ? (call.length ?? 0) : 0;
      this.#calls.set(cookie, { length, resolve, reject });
    });
    // Whoever does not wait for a reply does not care that it never comes.
    reply.catch(() => {});
    this.send(encodeRequest(call, cookie));
    return reply;
  }

  read(offset: number, length: number): Promise<Reply> {
    return this.call({ command: 0, offset, length });
  }

  write(offset: number, payload: Uint8Array, flags = 0): Promise<Reply> {
    return this.call({ command: 1, flags, offset, payload });
  }

  disconnect(): void {
    this.send(encodeRequest({ command: 2 }, 0n));
  }

  async #readReplies(): Promise<void> {
    for (;;) {
      const header = view(await this.take(16));
      if (header.getUint32(0) !== 0x67446698) throw new Error("a reply without its magic");
      const cookie = header.getBigUint64(8);
      const call = this.#calls.get(cookie);
      if (call === undefined) throw new Error("a reply to nothing");
      const errno = header.getUint32(4);
      const data = await this.take(errno === 0 ? call.length : 0);
      this.#calls.delete(cookie);
      call.resolve({ errno, data });
    }
  }
}

export function encodeRequest(call: Call, cookie: bigint): Uint8Array {
  const { command, flags = 0, offset = 0, payload = new Uint8Array(0) } = call;
  const length = call.length ?? payload.length;
  const header = concat(u32(0x25609513), u16(flags), u16(command), u64(cookie), u64(offset), u32(length));
  return concat(header, payload);
}

export function infoQuery(name: string, wanted: readonly number[] = []): Uint8Array {
  const encoded = new TextEncoder().encode(name);
  return concat(u32(encoded.length), encoded, u16(wanted.length), ...wanted.map(u16));
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export function view(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

export function u16(value: number): Uint8Array {
  return new Uint8Array([value >>> 8, value & 0xff]);
}

export function u32(value: number): Uint8Array {
  return concat(u16(value >>> 16), u16(value & 0xffff));
}

export function u64(value: number | bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  view(bytes).setBigUint64(0, BigInt(value));
  return bytes;
}

/** Bytes that differ from place to place and from seed to seed. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++)
    bytes[index] = (index * 31 + (index >>> 8) * 7 + seed * 101) & 0xff;
  return bytes;
}

/** To a real server at "host:port" or "unix:/path". */
export function connectWire(address: string): Promise<Wire> {
  const colon = address.lastIndexOf(":");
  const socket: Socket = address.startsWith("unix:")
    ? connectSocket(address.slice("unix:".length))
    : connectSocket(Number(address.slice(colon + 1)), address.slice(0, colon));
  const wire: Wire = {
    send: (data) => void socket.write(data),
    close: () => socket.destroy(),
    pause: () => void socket.pause(),
    onData: () => {},
    onClose: () => {},
  };
  socket.on("data", (data) => wire.onData(new Uint8Array(data)));
  socket.on("close", () => wire.onClose());
  return new Promise((resolve, reject) => {
    socket.once("connect", () => resolve(wire));
    socket.once("error", reject);
  });
}
