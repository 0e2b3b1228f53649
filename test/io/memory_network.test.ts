// The simulated network and clock: conformance, and the faults that tests rely on.

import type { Connection } from "../../src/io/transport.ts";
import { assert, suite } from "../support/harness.ts";
import { ManualClock, settle } from "../support/manual_clock.ts";
import { MemoryNetwork } from "../support/memory_network.ts";
import { memoryWorld } from "../support/test_world.ts";
import { codeOf } from "./disk_conformance.ts";
import { gather, type RawClient, registerStreamConformance } from "./stream_conformance.ts";
import { closeOf, collect, connectPair, registerTransportConformance } from "./transport_conformance.ts";

const underTest = (network: MemoryNetwork) => ({
  transport: network.transport,
  address: "b:0",
  deadUrl: "ws://nobody:1/",
});

const transports = suite("memory transport: conformance");
registerTransportConformance(transports, () => underTest(new MemoryNetwork()));
transports.run();

const streams = suite("memory streams: conformance");
registerStreamConformance(streams, () => {
  const network = new MemoryNetwork();
  return {
    streams: network.streams,
    address: "b:0",
    async connect(address): Promise<RawClient> {
      const stream = await network.streams.connect(address);
      return {
        write: (data) => stream.write([data]),
        read: (length) => gather((handler) => (stream.onData = handler), length),
        end: () => stream.end(),
        closed: closeOf(stream),
      };
    },
  };
});
streams.run();

const test = suite("memory network");

test("a cut reaches both sides, and everything sent later fails", async () => {
  const network = new MemoryNetwork();
  const { client, server } = await connectPair(underTest(network));
  const closes = Promise.all([closeOf(client), closeOf(server)]);
  client.send(Uint8Array.of(1));
  network.links[0]!.cut("cable pulled");
  assert.equal(await closes, ["cable pulled", "cable pulled"]);
  assert.ok((await new Promise((resolve) => client.send(Uint8Array.of(1), resolve))) instanceof Error);
});

test("a half-open connection takes everything, delivers nothing and says nothing", async () => {
  const network = new MemoryNetwork();
  const { client, server } = await connectPair(underTest(network));
  const heard: string[] = [];
  server.onMessage = () => heard.push("message");
  server.onClose = () => heard.push("close");
  network.links[0]!.lose();
  assert.is(await new Promise((resolve) => client.send(Uint8Array.of(1), resolve)), null);
  const own = closeOf(client);
  client.close("gave up");
  assert.is(await own, "gave up");
  await settle();
  assert.equal(heard, []);
  assert.is(await new Promise((resolve) => server.send(Uint8Array.of(1), resolve)), null);
  const other = closeOf(server);
  server.close("me too");
  assert.is(await other, "me too");
});

test("connecting fails while the network is down", async () => {
  const network = new MemoryNetwork();
  const listener = await network.transport.listen("b:1", () => {});
  network.isDown = true;
  assert.is(await codeOf(network.transport.connect(`ws://${listener.address}/`)), "ERR_CONNECT");
  network.isDown = false;
  await network.transport.connect(`ws://${listener.address}/`);
});

test("a manual network moves only when it is pumped", async () => {
  const network = new MemoryNetwork({ isManual: true });
  const accepted: Connection[] = [];
  const seen: number[] = [];
  await network.transport.listen("b:1", (connection) => {
    accepted.push(connection);
    connection.onMessage = (data) => seen.push(data[0]!);
  });
  const client = await network.transport.connect("ws://b:1/");
  client.send(Uint8Array.of(1));
  client.send(Uint8Array.of(2));
  await settle();
  assert.is(accepted.length, 0);
  while (seen.length === 0) assert.is(network.pump(1), 1);
  assert.is(accepted.length, 1);
  assert.equal(seen, [1]);
  network.pump();
  assert.equal(seen, [1, 2]);
  assert.is(network.stepCount, 0);
});

test("a receiver that waits makes the sender buffer", async () => {
  const { client, server } = await connectPair(underTest(new MemoryNetwork()));
  server.pause();
  server.onMessage = () => {};
  for (let count = 0; count < 10; count += 1) client.send(new Uint8Array(30_000));
  await settle();
  assert.ok(client.bufferedBytes >= 200_000, `${client.bufferedBytes}`);
  server.resume();
  await settle();
  assert.is(client.bufferedBytes, 0);
});

test("a message that is changed before done shows; one that was received is the receiver's", async () => {
  const { client, server } = await connectPair(underTest(new MemoryNetwork()));
  let kept: Uint8Array = new Uint8Array();
  server.onMessage = (data) => (kept = data);
  const copy = collect(client, 1);
  client.send(Uint8Array.of(5));
  const data = Uint8Array.of(6);
  server.send(data);
  data[0] = 7;
  assert.equal((await copy)[0], Uint8Array.of(7));
  await settle();
  assert.is(kept[0], 5);
});

const clocks = suite("manual clock");

test("two worlds on one network talk; the same seed gives the same bytes", async () => {
  const network = new MemoryNetwork();
  const [a, b] = [memoryWorld({ seed: 1, network }), memoryWorld({ seed: 1, network })];
  assert.equal(a.random.bytes(32), b.random.bytes(32));
  assert.is.not(a.storage, b.storage);
  const listener = await b.transport.listen("b:0", (connection) => connection.send(Uint8Array.of(1)));
  const client = await a.transport.connect(`ws://${listener.address}/`);
  assert.equal(await collect(client, 1), [Uint8Array.of(1)]);
});

clocks("timers fire in order of their time, and those set by timers too", async () => {
  const clock = new ManualClock();
  const fired: string[] = [];
  const note = (name: string) => () => fired.push(`${name}@${clock.nowMs()}`);
  clock.setTimer(20, note("b"));
  clock.setTimer(10, async () => {
    note("a")();
    await settle(3);
    clock.setTimer(5, note("inner"));
  });
  const cancelled = clock.setTimer(15, note("never"));
  clock.setTimer(100, note("late"));
  cancelled.cancel();
  await clock.advance(50);
  assert.equal(fired, ["a@10", "inner@15", "b@20"]);
  assert.is(clock.nowMs(), 50);
  assert.is(clock.timerCount, 1);
});

test.run();
clocks.run();
