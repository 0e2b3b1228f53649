// Streams over real sockets, TCP and Unix.

import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeStreams } from "../../src/io/node_stream.ts";
import { assert, suite } from "../support/harness.ts";
import { startProgram } from "./child.ts";
import { codeOf } from "./disk_conformance.ts";
import { gather, openStream, type RawClient, registerStreamConformance } from "./stream_conformance.ts";

const folder = mkdtempSync(join(tmpdir(), "mirrorvol-stream-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
let count = 0;
const newPath = () => join(folder, `socket${(count += 1)}`);

function connectRaw(address: string): Promise<RawClient> {
  const [host, port] = address.split(":") as [string, string];
  const socket = host === "unix" ? connect(port) : connect(Number(port), host);
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.pause();
  return new Promise((resolve) => {
    socket.on("connect", () =>
      resolve({
        write: (data) => void socket.write(data),
        read: (length) => gather((handler) => void socket.on("data", handler), length),
        end: () => void socket.end(),
        closed: Promise.resolve().then(() => {
          socket.resume();
          return closed;
        }),
      }),
    );
  });
}

const streams = new NodeStreams();
const tcp = () => ({ streams, address: "127.0.0.1:0", connect: connectRaw });
const unix = () => ({ streams, address: `unix:${newPath()}`, connect: connectRaw });

for (const [name, make] of [
  ["tcp", tcp],
  ["unix", unix],
] as const) {
  const conformance = suite(`node streams, ${name}: conformance`);
  registerStreamConformance(conformance, make);
  conformance.run();
}

const test = suite("node streams");

test("pause holds data back, resume lets it go on", async () => {
  const { stream, client, listener } = await openStream(tcp());
  stream.pause();
  let isPaused = true;
  const received = gather((handler) => {
    stream.onData = (data) => {
      assert.is(isPaused, false, "data came while paused");
      handler(data);
    };
  }, 10_000);
  client.write(new Uint8Array(10_000));
  await new Promise((resolve) => setTimeout(resolve, 30));
  isPaused = false;
  stream.resume();
  await received;
  stream.destroy();
  await listener.close();
});

test("a unix socket is its owner's only, and goes away with its listener", async () => {
  const path = newPath();
  const listener = await streams.listen(`unix:${path}`, () => {});
  assert.is(listener.address, `unix:${path}`);
  assert.is(statSync(path).mode & 0o777, 0o600);
  await listener.close();
  assert.is(existsSync(path), false);
});

test("the socket of a killed process is replaced, that of a living one is not", async () => {
  const path = newPath();
  const holder = startProgram("socket_holder", [path]);
  assert.is(await holder.line(), "listening");
  assert.is(await codeOf(streams.listen(`unix:${path}`, () => {})), "ERR_ADDRESS_IN_USE");
  await holder.kill();
  assert.is(existsSync(path), true);
  const { stream, client, listener } = await openStream({
    streams,
    address: `unix:${path}`,
    connect: connectRaw,
  });
  stream.destroy();
  await client.closed;
  await listener.close();
});

test("a file that is no socket is left alone", async () => {
  const path = newPath();
  writeFileSync(path, "precious");
  assert.is(await codeOf(streams.listen(`unix:${path}`, () => {})), "ERR_LISTEN");
  assert.is(statSync(path).size, 8);
});

test("more streams than allowed are closed at once", async () => {
  const few = new NodeStreams({ streamCountMax: 1 });
  const { stream, listener } = await openStream({
    streams: few,
    address: "127.0.0.1:0",
    connect: connectRaw,
  });
  const refused = await connectRaw(listener.address);
  await refused.closed;
  stream.destroy();
  await listener.close();
});

test("a client that resets the connection is a close with a reason", async () => {
  const { stream, listener } = await openStream({
    ...tcp(),
    async connect(address) {
      const [host, port] = address.split(":") as [string, string];
      const socket = connect(Number(port), host, () => setTimeout(() => socket.resetAndDestroy(), 10));
      socket.on("error", () => {});
      return undefined as never;
    },
  });
  const reason = await new Promise<string>((resolve) => (stream.onClose = resolve));
  assert.ok(reason.length > 0);
  await listener.close();
});

test.run();
