// A small NBD client: the newstyle handshake with NBD_OPT_GO, then requests with simple replies, as many at
// once as the caller likes. It exists so that the examples and tests reach a volume the way any other program
// does; for real use there are nbd-client, QEMU and libnbd.
//
//   greeting   <- "NBDMAGIC" "IHAVEOPT" flags:16       -> flags:32
//   option     -> "IHAVEOPT" option:32 length:32 data  <- reply magic:64 option:32 type:32 length:32 data
//   request    -> 25609513 flags:16 type:16 cookie:64 offset:64 length:32 data
//   reply      <- 67446698 error:32 cookie:64 data (of a read that succeeded)
//
// All integers are big endian.
import { connect, type Socket } from "node:net";

const OPTION_MAGIC = 0x49484156454f5054n;
const SERVER_MAGIC = 0x4e42444d41474943n;
const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
const OPTION_GO = 7;
const REPLY_ACK = 1;
const REPLY_INFO = 3;
const INFO_EXPORT = 0;
const COMMAND = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, zero: 6 } as const;
const FLAG_FUA = 1;

/** A request that the server answered with an error number, or a connection that ended (errno 0). */
export class NbdError extends Error {
  readonly errno: number;

  constructor(message: string, errno: number) {
    super(message);
    this.name = "NbdError";
    this.errno = errno;
  }
}

interface Pending {
  readonly readBytes: number;
  resolve(data: Uint8Array): void;
  reject(error: Error): void;
}

export class NbdClient {
  /** Size of the export. */
  bytes = 0;
  readonly #socket: Socket;
  readonly #input = new ByteQueue();
  readonly #pending = new Map<bigint, Pending>();
  #cookie = 0n;
  #ended: NbdError | null = null;
  #waiting: (() => void) | null = null;

  /** address as "host:port" or "unix:/path". */
  static async connect(address: string, exportName: string): Promise<NbdClient> {
    const client = new NbdClient(await openSocket(address));
    try {
      await client.#negotiate(exportName);
    } catch (error) {
      client.destroy();
      throw error;
    }
    client.#receiveReplies();
    return client;
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (data: Uint8Array) => {
      this.#input.push(data);
      this.#waiting?.();
    });
    socket.on("error", (error) => this.#end(error.message));
    socket.on("close", () => this.#end("the server closed the connection"));
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    return this.#request(COMMAND.read, offset, length, null, 0);
  }

  async write(offset: number, data: Uint8Array, options: { readonly fua?: boolean } = {}): Promise<void> {
    await this.#request(COMMAND.write, offset, data.length, data, options.fua ? FLAG_FUA : 0);
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.#request(COMMAND.trim, offset, length, null, 0);
  }

  async zero(offset: number, length: number): Promise<void> {
    await this.#request(COMMAND.zero, offset, length, null, 0);
  }

  async flush(): Promise<void> {
    await this.#request(COMMAND.flush, 0, 0, null, 0);
  }

  /** Says goodbye and closes. What is still under way fails. */
  async disconnect(): Promise<void> {
    if (this.#ended !== null) return;
    const closed = new Promise<void>((resolve) => this.#socket.once("close", () => resolve()));
    this.#send(COMMAND.disconnect, 0, 0, null, 0, this.#cookie++);
    this.#socket.end();
    await closed;
  }

  /** Closes at once. */
  destroy(): void {
    this.#socket.destroy();
    this.#end("the connection was closed");
  }

  #request(
    command: number,
    offset: number,
    length: number,
    data: Uint8Array | null,
    flags: number,
  ): Promise<Uint8Array> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const cookie = this.#cookie++;
    return new Promise((resolve, reject) => {
      this.#pending.set(cookie, { readBytes: command === COMMAND.read ? length : 0, resolve, reject });
      this.#send(command, offset, length, data, flags, cookie);
    });
  }

  #send(
    command: number,
    offset: number,
    length: number,
    data: Uint8Array | null,
    flags: number,
    cookie: bigint,
  ): void {
    const header = new DataView(new ArrayBuffer(28));
    header.setUint32(0, REQUEST_MAGIC);
    header.setUint16(4, flags);
    header.setUint16(6, command);
    header.setBigUint64(8, cookie);
    header.setBigUint64(16, BigInt(offset));
    header.setUint32(24, length);
    this.#socket.cork();
    this.#socket.write(new Uint8Array(header.buffer));
    if (data !== null) this.#socket.write(data);
    this.#socket.uncork();
  }

  async #negotiate(exportName: string): Promise<void> {
    const greeting = await this.#take(18);
    if (greeting.getBigUint64(0) !== SERVER_MAGIC || greeting.getBigUint64(8) !== OPTION_MAGIC) {
      throw new NbdError("the server does not speak newstyle NBD", 0);
    }
    const clientFlags = new DataView(new ArrayBuffer(4));
    clientFlags.setUint32(0, greeting.getUint16(16) & 3);
    this.#socket.write(new Uint8Array(clientFlags.buffer));
    this.#sendGo(new TextEncoder().encode(exportName));
    for (;;) {
      const reply = await this.#take(20);
      if (reply.getBigUint64(0) !== OPTION_REPLY_MAGIC) throw new NbdError("this is no option reply", 0);
      const type = reply.getUint32(12);
      const data = await this.#take(reply.getUint32(16));
      if (type === REPLY_ACK) return;
      if (type === REPLY_INFO && data.getUint16(0) === INFO_EXPORT) this.bytes = Number(data.getBigUint64(2));
      if (type < 0x80000000) continue;
      const text = new TextDecoder().decode(new Uint8Array(data.buffer));
      throw new NbdError(`export "${exportName}" is refused: ${text || `error ${type - 0x80000000}`}`, 0);
    }
  }

  #sendGo(name: Uint8Array): void {
    const option = new DataView(new ArrayBuffer(16 + 4 + name.length + 2));
    option.setBigUint64(0, OPTION_MAGIC);
    option.setUint32(8, OPTION_GO);
    option.setUint32(12, 4 + name.length + 2);
    option.setUint32(16, name.length);
    new Uint8Array(option.buffer).set(name, 20);
    this.#socket.write(new Uint8Array(option.buffer));
  }

  async #receiveReplies(): Promise<void> {
    try {
      for (;;) {
        const header = await this.#take(16);
        if (header.getUint32(0) !== REPLY_MAGIC) throw new NbdError("this is no simple reply", 0);
        const cookie = header.getBigUint64(8);
        const pending = this.#pending.get(cookie);
        if (pending === undefined) throw new NbdError("a reply to nothing that was asked", 0);
        const errno = header.getUint32(4);
        const data = errno === 0 ? await this.#take(pending.readBytes) : null;
        this.#pending.delete(cookie);
        if (data === null) pending.reject(new NbdError(`the server answered with error ${errno}`, errno));
        else pending.resolve(new Uint8Array(data.buffer));
      }
    } catch (error) {
      this.#end((error as Error).message);
      this.#socket.destroy();
    }
  }

  async #take(length: number): Promise<DataView<ArrayBuffer>> {
    while (this.#input.bytes < length) {
      if (this.#ended !== null) throw this.#ended;
      await new Promise<void>((resolve) => (this.#waiting = resolve));
    }
    return new DataView(this.#input.take(length).buffer);
  }

  #end(reason: string): void {
    if (this.#ended !== null) return;
    this.#ended = new NbdError(reason, 0);
    this.#waiting?.();
    for (const pending of this.#pending.values()) pending.reject(this.#ended);
    this.#pending.clear();
  }
}

/** Bytes that came in pieces, taken out in the lengths that the protocol has. */
class ByteQueue {
  bytes = 0;
  readonly #pieces: Uint8Array[] = [];

  push(piece: Uint8Array): void {
    this.bytes += piece.length;
    this.#pieces.push(piece);
  }

  take(length: number): Uint8Array<ArrayBuffer> {
    const taken = new Uint8Array(length);
    for (let filled = 0; filled < length; ) {
      const first = this.#pieces[0]!;
      const part = first.subarray(0, length - filled);
      taken.set(part, filled);
      filled += part.length;
      if (part.length === first.length) this.#pieces.shift();
      else this.#pieces[0] = first.subarray(part.length);
    }
    this.bytes -= length;
    return taken;
  }
}

function openSocket(address: string): Promise<Socket> {
  const at = address.lastIndexOf(":");
  const host = address.slice(0, at).replace(/^\[|\]$/g, "");
  const target = address.startsWith("unix:")
    ? { path: address.slice(5) }
    : { host, port: Number(address.slice(at + 1)) };
  return new Promise((resolve, reject) => {
    const socket = connect(target, () => {
      socket.off("error", reject);
      resolve(socket);
    });
    socket.once("error", reject);
  });
}
