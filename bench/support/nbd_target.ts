// A load generator's NBD client: one connection, a fixed request buffer for each slot, no promise and no copy
// for a request, and everything that one reading of the socket sets going goes out as one write. For other
// uses there is examples/support/nbd_client.ts.

import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import type { Target } from "./load.ts";

const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
const REQUEST_BYTES = 28;
const REPLY_BYTES = 16;
const STAMP_BYTES = 8;
const READ = 0;
const WRITE = 1;
const DISCONNECT = 2;
const FLAG_FUA = 1;

type Done = (error: Error | null) => void;

interface Slot {
  /** Header and payload of a write. */
  request: Buffer;
  readBytes: number;
  done: Done;
}

export interface NbdTargetOptions {
  readonly port: number;
  readonly name: string;
  /** Ask that each write is durable when it is answered. */
  readonly isFua: boolean;
}

export class NbdTarget implements Target {
  readonly #socket: Socket;
  readonly #flags: number;
  readonly #slots: Slot[] = [];
  #onInput: (data: Buffer) => void = () => {};
  /** What has come of a reply whose header is not complete. */
  #partial: Buffer = Buffer.alloc(0);
  /** Of a read's data, what has still to come, and whose it is. */
  #dataLeft = 0;
  #current: Slot | null = null;

  static async connect(options: NbdTargetOptions): Promise<NbdTarget> {
    const socket = connect(options.port, "127.0.0.1");
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve).once("error", reject);
    });
    const target = new NbdTarget(socket, options.isFua);
    await target.#negotiate(options.name);
    return target;
  }

  private constructor(socket: Socket, isFua: boolean) {
    this.#socket = socket;
    this.#flags = isFua ? FLAG_FUA : 0;
    socket.setNoDelay(true);
    socket.on("data", (data: Buffer) => this.#onInput(data));
    socket.on("error", () => {});
    socket.on("close", () => this.#endAll());
  }

  write(slot: number, offset: number, data: Uint8Array, done: Done): void {
    const state = this.#prepare(slot, WRITE, this.#flags, offset, data.length, done);
    const wanted = REQUEST_BYTES + data.length;
    if (state.request.length < wanted) {
      const larger = Buffer.alloc(wanted);
      larger.set(state.request.subarray(0, REQUEST_BYTES));
      larger.set(data, REQUEST_BYTES);
      state.request = larger;
    }
    // What tells this write from the one before.
    state.request.set(data.subarray(0, STAMP_BYTES), REQUEST_BYTES);
    state.readBytes = 0;
    this.#socket.write(state.request.length === wanted ? state.request : state.request.subarray(0, wanted));
  }

  read(slot: number, offset: number, bytes: number, done: Done): void {
    const state = this.#prepare(slot, READ, 0, offset, bytes, done);
    state.readBytes = bytes;
    this.#socket.write(state.request.subarray(0, REQUEST_BYTES));
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#socket.once("close", () => resolve()));
    this.#prepare(0, DISCONNECT, 0, 0, 0, () => {});
    this.#socket.end(this.#slots[0]!.request.subarray(0, REQUEST_BYTES));
    await closed;
  }

  #prepare(slot: number, type: number, flags: number, offset: number, bytes: number, done: Done): Slot {
    const idle = () => {};
    const state = (this.#slots[slot] ??= {
      request: Buffer.alloc(REQUEST_BYTES),
      readBytes: 0,
      done: idle,
    });
    const { request } = state;
    request.writeUInt32BE(REQUEST_MAGIC, 0);
    request.writeUInt16BE(flags, 4);
    request.writeUInt16BE(type, 6);
    request.writeUInt32BE(0, 8);
    request.writeUInt32BE(slot, 12);
    request.writeUInt32BE(Math.floor(offset / 2 ** 32), 16);
    request.writeUInt32BE(offset % 2 ** 32, 20);
    request.writeUInt32BE(bytes, 24);
    state.done = done;
    return state;
  }

  #takeReplies(data: Buffer): void {
    this.#socket.cork();
    let input = this.#partial.length > 0 ? Buffer.concat([this.#partial, data]) : data;
    let at = 0;
    for (;;) {
      if (this.#dataLeft > 0) {
        const part = Math.min(this.#dataLeft, input.length - at);
        at += part;
        this.#dataLeft -= part;
        if (this.#dataLeft > 0) break;
      } else {
        if (input.length - at < REPLY_BYTES) break;
        this.#takeHeader(input, at);
        at += REPLY_BYTES;
        if (this.#dataLeft > 0) continue;
      }
      const slot = this.#current!;
      this.#current = null;
      slot.done(null);
    }
    input = input.subarray(at);
    this.#partial = input.length > 0 ? Buffer.from(input) : input;
    this.#socket.uncork();
  }

  #takeHeader(input: Buffer, at: number): void {
    const errno = input.readUInt32BE(at + 4);
    if (input.readUInt32BE(at) !== REPLY_MAGIC) throw new Error("this is no simple reply");
    if (errno !== 0) throw new Error(`the NBD server answered with error ${errno}`);
    this.#current = this.#slots[input.readUInt32BE(at + 12)]!;
    this.#dataLeft = this.#current.readBytes;
  }

  #endAll(): void {
    const error = new Error("the NBD server closed the connection");
    for (const slot of this.#slots) slot?.done(error);
  }

  /** Greeting, client flags, NBD_OPT_GO without requests; then option replies until the acknowledgement. */
  async #negotiate(name: string): Promise<void> {
    let input = Buffer.alloc(0);
    let wake = () => {};
    this.#onInput = (data) => {
      input = Buffer.concat([input, data]);
      wake();
    };
    const take = async (bytes: number): Promise<Buffer> => {
      while (input.length < bytes) await new Promise<void>((resolve) => (wake = resolve));
      const taken = input.subarray(0, bytes);
      input = input.subarray(bytes);
      return taken;
    };
    const greeting = await take(18);
    this.#socket.write(Uint8Array.of(0, 0, 0, greeting[17]! & 3));
    this.#socket.write(goOption(name));
    for (let type = 0; type !== 1; ) {
      const reply = await take(20);
      type = reply.readUInt32BE(12);
      await take(reply.readUInt32BE(16));
      if (type >= 0x80000000) throw new Error(`the NBD server refuses "${name}"`);
    }
    this.#onInput = (data) => this.#takeReplies(data);
  }
}

function goOption(name: string): Buffer {
  const option = Buffer.alloc(22 + name.length);
  option.write("IHAVEOPT", 0, "latin1");
  option.writeUInt32BE(7, 8);
  option.writeUInt32BE(6 + name.length, 12);
  option.writeUInt32BE(name.length, 16);
  option.write(name, 20, "latin1");
  return option;
}
