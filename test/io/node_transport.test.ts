// Transport over real WebSockets: conformance, and strangers at the port.

import { connect, Socket } from "node:net";
import { WebSocket } from "ws";
import { NodeTransport } from "../../src/io/node_transport.ts";
import { type Connection, MESSAGE_BYTES_MAX } from "../../src/io/transport.ts";
import { assert, suite } from "../support/harness.ts";
import { SeededRandom } from "../support/memory_random.ts";
import { codeIn, codeOf, errorOf } from "./disk_conformance.ts";
import {
  closeOf,
  collect,
  connectPair,
  echo,
  end,
  registerTransportConformance,
} from "./transport_conformance.ts";

const LOOPBACK = "127.0.0.1:0";
const underTest = {
  transport: new NodeTransport(),
  address: LOOPBACK,
  // The port that TCP keeps for a multiplexer nobody runs.
  deadUrl: "ws://127.0.0.1:1/volume",
};

const conformance = suite("node transport: conformance");
registerTransportConformance(conformance, () => underTest);
conformance.run();

const test = suite("node transport");

/** A listener that answers every message with itself, and what it accepted so far. */
async function listenEcho(transport = new NodeTransport()) {
  const accepted: Connection[] = [];
  const listener = await transport.listen(LOOPBACK, (connection) => {
    accepted.push(connection);
    connection.onMessage = (data) => connection.send(data.slice());
  });
  return { transport, accepted, listener, port: Number(listener.address.split(":")[1]) };
}

/** What a raw socket receives until it is closed. */
function talk(port: number, data: Uint8Array | string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(data));
    let text = "";
    socket.setEncoding("latin1").on("data", (piece: string) => (text += piece));
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
}

const HANDSHAKE = [
  "GET / HTTP/1.1",
  "Host: localhost",
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
];

const handshake = (...more: string[]) => `${[...HANDSHAKE, ...more].join("\r\n")}\r\n\r\n`;

async function isAlive({ transport, listener }: Awaited<ReturnType<typeof listenEcho>>): Promise<void> {
  const client = await transport.connect(`ws://${listener.address}/`);
  const answer = collect(client, 1);
  client.send(Uint8Array.of(42));
  assert.equal(await answer, [Uint8Array.of(42)]);
  client.close();
}

test("both sides hand the memory that is sent to the socket as it is, uncopied and unmasked", async () => {
  const { client, server, listener } = await connectPair(underTest);
  const write = Socket.prototype.write;
  const written: unknown[] = [];
  Socket.prototype.write = function (this: Socket, ...args: unknown[]) {
    written.push((args[0] as Uint8Array).buffer);
    return write.apply(this, args as Parameters<typeof write>);
  } as typeof write;
  for (const side of [client, server]) {
    const data = new Uint8Array(100_000);
    written.length = 0;
    side.send(data);
    assert.ok(written.includes(data.buffer));
  }
  Socket.prototype.write = write;
  await end(client, server, listener);
});

test("what is sent arrives as it is, and stays as it was", async () => {
  const { client, server, listener } = await connectPair(underTest);
  const data = new SeededRandom(9).bytes(500_000);
  const before = data.slice();
  const received = collect(server, 1);
  await new Promise((resolve) => client.send(data, resolve));
  assert.equal((await received)[0], before);
  assert.equal(data, before);
  await end(client, server, listener);
});

test("a message that is too long closes its connection, and nothing else", async () => {
  const server = await listenEcho();
  const socket = new WebSocket(`ws://${server.listener.address}/`, { perMessageDeflate: false });
  socket.on("error", () => {});
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  await new Promise((resolve) => socket.on("open", resolve));
  const reason = closeOf(server.accepted[0]!);
  socket.send(new Uint8Array(MESSAGE_BYTES_MAX + 1));
  assert.match(await reason, /payload/i);
  assert.ok([1006, 1009].includes(await closed));
  await isAlive(server);
  await server.listener.close();
});

test("the longest message goes through", async () => {
  const { client, server, listener } = await connectPair(underTest);
  const received = new Promise<number>((resolve) => (server.onMessage = (data) => resolve(data.length)));
  client.send(new Uint8Array(MESSAGE_BYTES_MAX));
  assert.is(await received, MESSAGE_BYTES_MAX);
  await end(client, server, listener);
});

test("garbage instead of a handshake, and after it, ends only that socket", async () => {
  const server = await listenEcho();
  const garbage = new SeededRandom(4).bytes(4096);
  assert.match(await talk(server.port, garbage), /^(HTTP\/1.1 400|$)/);
  assert.match(await talk(server.port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "426");
  // Reserved bits set, no mask: no frame at all.
  const both = Buffer.concat([Buffer.from(handshake(), "latin1"), Buffer.alloc(2000, 0x7f)]);
  assert.match(await talk(server.port, both), "101 Switching");
  await isAlive(server);
  await server.listener.close();
});

test("a handshake with endless headers is refused", async () => {
  const server = await listenEcho();
  const answer = await talk(server.port, handshake(`X-Long: ${"x".repeat(20_000)}`));
  assert.not.match(answer, "101 Switching");
  assert.is(server.accepted.length, 0);
  await isAlive(server);
  await server.listener.close();
});

test("a web page, which sends an Origin, is refused", async () => {
  const server = await listenEcho();
  assert.match(await talk(server.port, handshake("Origin: http://evil.example")), "403");
  assert.is(server.accepted.length, 0);
  await server.listener.close();
});

test("a handshake that never ends is cut", async () => {
  const server = await listenEcho(new NodeTransport({ handshakeTimeoutMs: 500 }));
  assert.not.match(await talk(server.port, "GET / HTTP/1.1\r\nHost: a\r\n"), "101 Switching");
  await isAlive(server);
  await server.listener.close();
});

test("the timeout of the handshake does not touch a connection", async () => {
  const transport = new NodeTransport({ handshakeTimeoutMs: 300 });
  const { client, server, listener } = await connectPair({ ...underTest, transport });
  await new Promise((resolve) => setTimeout(resolve, 400));
  await echo(client, server);
  await end(client, server, listener);
});

test("more sockets than allowed are closed at once", async () => {
  const server = await listenEcho(new NodeTransport({ connectionCountMax: 2 }));
  const url = `ws://${server.listener.address}/`;
  const clients = [await server.transport.connect(url), await server.transport.connect(url)];
  assert.is(await codeOf(server.transport.connect(url)), "ERR_CONNECT");
  await end(...clients, server.listener);
});

test("a text message closes the connection with a reason", async () => {
  const server = await listenEcho();
  const socket = new WebSocket(`ws://${server.listener.address}/`);
  const closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve(`${code} ${reason}`)));
  socket.on("open", () => socket.send("hello"));
  assert.is(await closed, "1003 text messages are not taken");
  await server.listener.close();
});

test("a peer that is killed is a close with a reason", async () => {
  const server = await listenEcho();
  const sockets: Socket[] = [];
  const socket = connect(server.port, "127.0.0.1", () => socket.write(handshake()));
  sockets.push(socket);
  await new Promise((resolve) => socket.once("data", resolve));
  const closed = closeOf(server.accepted[0]!);
  socket.resetAndDestroy();
  assert.ok((await closed).length > 0);
  await server.listener.close();
});

test("an IPv6 address is written in brackets", async () => {
  const { client, server, listener } = await connectPair({ ...underTest, address: "[::1]:0" });
  assert.match(listener.address, /^\[::1\]:\d+$/);
  assert.match(server.remote, /^\[::1\]:\d+$/);
  assert.is(client.remote, listener.address);
  await end(client, server, listener);
});

test("bad addresses are named", async () => {
  for (const address of ["nowhere", "127.0.0.1", "127.0.0.1:70000", "a b:1", "::1:80", ":80"]) {
    const error = await errorOf(underTest.transport.listen(address, () => {}));
    assert.is(codeIn(error), "ERR_ADDRESS", address);
    assert.ok(error.message.includes(address), error.message);
  }
});

test("an abort ends a connect that hangs", async () => {
  const stuck = await new Promise<{ port: number; close(): void }>((resolve) => {
    import("node:net").then(({ createServer }) => {
      const server = createServer((socket) => socket.on("error", () => {}));
      server.listen(0, "127.0.0.1", () => {
        resolve({ port: (server.address() as { port: number }).port, close: () => server.close() });
      });
    });
  });
  const controller = new AbortController();
  const reason = new Error("enough");
  const connecting = errorOf(
    underTest.transport.connect(`ws://127.0.0.1:${stuck.port}/`, { signal: controller.signal }),
  );
  setTimeout(() => controller.abort(reason), 20);
  assert.is(await connecting, reason);
  stuck.close();
});

test.run();
