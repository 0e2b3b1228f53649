// Transport over WebSocket: connect as a client, listen behind an HTTP server of our own.
//
// Whoever connects is a stranger until the protocol above has proved otherwise, so everything before that is
// bounded: the number of sockets, the size and the time of the handshake, the size of a message. A request
// that carries an Origin comes from a web page and is refused, or any page could talk to a loopback port.
// Every socket has an error handler from its first moment: without one, a single bad frame ends the process.
//
// Compression is off (the data is random to it). The client's mask is zero, which the protocol allows: masking
// defends proxies against hostile pages, costs a pass over all data and would have to copy what we send.

import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { ClientOptions, WebSocket } from "ws";
import { MirrorvolError } from "../kernel/errors.ts";
import { formatAddress, formatPeer, parseAddress } from "./address.ts";
import { listenError } from "./listen_error.ts";
import { NodeConnection } from "./node_connection.ts";
import { type Connection, type Listener, MESSAGE_BYTES_MAX, type Transport } from "./transport.ts";

type WebSockets = typeof import("ws");

/** Only who speaks to another node waits for it to load, which takes as long as a third of the rest. */
function loadWebSockets(): Promise<WebSockets> {
  return import("ws");
}

export interface NodeTransportOptions {
  /** Sockets per listener, those still in the handshake included. */
  readonly connectionCountMax: number;
  /** All headers of the handshake together. */
  readonly handshakeBytesMax: number;
  readonly handshakeTimeoutMs: number;
  /** How long a peer may take to answer a close before the socket is cut. */
  readonly closeTimeoutMs: number;
}

const DEFAULTS: NodeTransportOptions = {
  connectionCountMax: 256,
  handshakeBytesMax: 8 * 1024,
  handshakeTimeoutMs: 10_000,
  closeTimeoutMs: 5_000,
};

export class NodeTransport implements Transport {
  readonly #options: NodeTransportOptions;

  constructor(options: Partial<NodeTransportOptions> = {}) {
    this.#options = { ...DEFAULTS, ...options };
  }

  async connect(url: string, options: { readonly signal?: AbortSignal } = {}): Promise<Connection> {
    const { signal } = options;
    const { WebSocket } = await loadWebSockets();
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const socket = this.#openSocket(WebSocket, url, reject);
      if (socket === null) return;
      const abort = () => {
        reject(signal?.reason);
        socket.terminate();
      };
      const settle = () => signal?.removeEventListener("abort", abort);
      signal?.addEventListener("abort", abort, { once: true });
      let underlying: Socket | undefined;
      socket.on("upgrade", (response) => (underlying = response.socket));
      // This handler stays: a socket that is given up fails later, and nobody else listens.
      socket.on("error", (cause) => {
        settle();
        reject(connectError(url, cause));
      });
      socket.on("open", () => {
        settle();
        resolve(new NodeConnection(socket, underlying!, new URL(url).host));
      });
    });
  }

  async listen(address: string, onConnection: (connection: Connection) => void): Promise<Listener> {
    const { host, port } = parseAddress(address);
    const { server, pending } = this.#makeServer(await loadWebSockets(), onConnection);
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) => reject(listenError(address, cause)));
      server.listen(port, host, resolve);
    });
    // Running out of descriptors is reported here; it passes.
    server.on("error", () => {});
    const bound = server.address() as AddressInfo;
    return {
      address: formatAddress({ host: bound.address, port: bound.port }),
      async close() {
        server.close();
        for (const socket of pending) socket.destroy();
      },
    };
  }

  #openSocket(
    Socket: WebSockets["WebSocket"],
    url: string,
    reject: (error: Error) => void,
  ): WebSocket | null {
    const { handshakeTimeoutMs, handshakeBytesMax, closeTimeoutMs } = this.#options;
    const options: ClientOptions & { closeTimeout: number; maxHeaderSize: number } = {
      perMessageDeflate: false,
      maxPayload: MESSAGE_BYTES_MAX,
      generateMask: (mask) => mask.fill(0),
      handshakeTimeout: handshakeTimeoutMs,
      maxHeaderSize: handshakeBytesMax,
      closeTimeout: closeTimeoutMs,
    };
    try {
      return new Socket(url, options);
    } catch (cause) {
      reject(connectError(url, cause));
      return null;
    }
  }

  #makeServer(
    { WebSocketServer }: WebSockets,
    onConnection: (connection: Connection) => void,
  ): { server: Server; pending: Set<Duplex> } {
    const { handshakeBytesMax, handshakeTimeoutMs, connectionCountMax, closeTimeoutMs } = this.#options;
    const server = createServer({ maxHeaderSize: handshakeBytesMax }, (_request, response) => {
      response.writeHead(426, { Connection: "close" }).end();
    });
    const settings = { closeTimeout: closeTimeoutMs };
    const upgrader = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MESSAGE_BYTES_MAX,
      ...settings,
    });
    const pending = new Set<Duplex>();
    server.maxConnections = connectionCountMax;
    server.on("connection", (socket: Socket) => {
      socket.setNoDelay(true);
      limitHandshake(socket, pending, handshakeTimeoutMs);
    });
    server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
      if (request.headers.origin !== undefined) {
        socket.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n", () => socket.destroy());
        return;
      }
      upgrader.handleUpgrade(request, socket, head, (webSocket) => {
        pending.delete(request.socket);
        onConnection(
          new NodeConnection(webSocket, socket, formatPeer(socket.remoteAddress, socket.remotePort)),
        );
      });
    });
    return { server, pending };
  }
}

/** Cuts a socket that is not a connection in time. `pending` holds those in the handshake. */
function limitHandshake(socket: Socket, pending: Set<Duplex>, timeoutMs: number): void {
  pending.add(socket);
  const timer = setTimeout(() => {
    if (pending.has(socket)) socket.destroy();
  }, timeoutMs);
  timer.unref();
  socket.on("error", () => {});
  socket.on("close", () => {
    clearTimeout(timer);
    pending.delete(socket);
  });
}

function connectError(url: string, cause: unknown): MirrorvolError {
  const why = cause instanceof Error ? cause.message || (cause as { code?: string }).code : String(cause);
  return new MirrorvolError("ERR_CONNECT", `connect ${url}: ${why}`, { cause });
}
