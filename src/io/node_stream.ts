// Streams over TCP and Unix sockets.
//
// A Unix socket's file outlives a process that was killed. Whether one that is found is alive is learnt by
// connecting to it: an answer means ERR_ADDRESS_IN_USE, a refusal means that it may be replaced. A file that
// is no socket is never touched. Only the owner may connect, until somebody changes the file's mode.

import { chmod, lstat, unlink } from "node:fs/promises";
import {
  type AddressInfo,
  connect,
  createServer,
  type ListenOptions,
  type Server,
  type Socket,
} from "node:net";
import { MirrorvolError } from "../kernel/errors.ts";
import { formatAddress, formatPeer, parseAddress } from "./address.ts";
import { listenError } from "./listen_error.ts";
import type { ByteStream, Streams } from "./stream.ts";
import type { Listener } from "./transport.ts";

const UNIX_PREFIX = "unix:";
const UNIX_MODE = 0o600;

export interface NodeStreamsOptions {
  /** Open streams per listener; more are closed at once. */
  readonly streamCountMax: number;
}

const DEFAULTS: NodeStreamsOptions = { streamCountMax: 1024 };

export class NodeStreams implements Streams {
  readonly #options: NodeStreamsOptions;

  constructor(options: Partial<NodeStreamsOptions> = {}) {
    this.#options = { ...DEFAULTS, ...options };
  }

  async listen(address: string, onStream: (stream: ByteStream) => void): Promise<Listener> {
    const unixPath = address.startsWith(UNIX_PREFIX) ? address.slice(UNIX_PREFIX.length) : null;
    const server = createServer({ noDelay: true }, (socket) => {
      const remote = unixPath === null ? formatPeer(socket.remoteAddress, socket.remotePort) : address;
      onStream(new NodeStream(socket, remote));
    });
    server.maxConnections = this.#options.streamCountMax;
    if (unixPath !== null) await removeStaleSocket(address, unixPath);
    await startServer(server, address, unixPath === null ? parseAddress(address) : { path: unixPath });
    if (unixPath === null) return tcpListener(server);
    await chmod(unixPath, UNIX_MODE);
    return unixListener(server, address, unixPath);
  }
}

class NodeStream implements ByteStream {
  readonly remote: string;
  onData: (data: Uint8Array) => void = () => {};
  onClose: (reason: string) => void = () => {};
  readonly #socket: Socket;
  #reason = "closed";
  #isCorked = false;

  constructor(socket: Socket, remote: string) {
    this.#socket = socket;
    this.remote = remote;
    socket.on("data", (data: Buffer) => {
      this.onData(new Uint8Array(data.buffer, data.byteOffset, data.length));
    });
    socket.on("end", () => (this.#reason = "ended by the peer"));
    socket.on("error", (error) => (this.#reason = error.message));
    socket.on("close", () => this.onClose(this.#reason));
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  /** What is written in one turn goes out as one writev at its end. */
  write(parts: readonly Uint8Array[], done?: (error: Error | null) => void): void {
    const report = (cause?: Error | null) => done?.(cause ? this.#closedError(cause) : null);
    const last = parts.length - 1;
    if (last < 0) {
      queueMicrotask(report);
      return;
    }
    this.#corkForTurn();
    for (let index = 0; index < last; index += 1) this.#socket.write(parts[index]!);
    this.#socket.write(parts[last]!, report);
  }

  #corkForTurn(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    this.#socket.cork();
    process.nextTick(() => {
      this.#isCorked = false;
      this.#socket.uncork();
    });
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #closedError(cause: Error): MirrorvolError {
    return new MirrorvolError("ERR_CONNECTION_CLOSED", `${this.remote}: not written: ${cause.message}`, {
      cause,
    });
  }
}

async function startServer(server: Server, address: string, where: ListenOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => reject(listenError(address, cause)));
    server.listen(where, resolve);
  });
  // Running out of descriptors is reported here; it passes.
  server.on("error", () => {});
}

function tcpListener(server: Server): Listener {
  const bound = server.address() as AddressInfo;
  return {
    address: formatAddress({ host: bound.address, port: bound.port }),
    close: async () => void server.close(),
  };
}

function unixListener(server: Server, address: string, path: string): Listener {
  let isClosed = false;
  return {
    address,
    async close() {
      if (isClosed) return;
      isClosed = true;
      server.close();
      // Node removes the file itself, Deno does not.
      await unlink(path).catch((error) => {
        if (error.code !== "ENOENT") throw listenError(address, error);
      });
    },
  };
}

async function removeStaleSocket(address: string, path: string): Promise<void> {
  const found = await lstat(path).catch(() => null);
  if (found === null) return;
  if (!found.isSocket()) throw listenError(address, new Error("the path exists and is no socket"));
  if (await isAlive(path)) {
    throw new MirrorvolError("ERR_ADDRESS_IN_USE", `listen on ${address}: somebody listens there`);
  }
  await unlink(path);
}

/** Anything but a refusal counts as alive: better not to start than to take a path from a busy listener. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}
