// Requests together: how many run at once, what backpressure does, and how connections and the server end.
import { assert, suite } from "../support/harness.ts";
import { settle } from "./memory_streams.ts";
import { concat, encodeRequest, pattern, type Reply } from "./raw_client.ts";
import { lastEnd, served } from "./served.ts";

const WRITE = 1;
const FLUSH = 3;
const TRIM = 4;
const WRITE_ZEROES = 6;
const ESHUTDOWN = 108;

const errnos = async (replies: readonly Promise<Reply>[]) =>
  (await Promise.all(replies)).map((reply) => reply.errno);

const test = suite("nbd flow");

test("requests run at once and are answered in the order in which they are done", async () => {
  const { connect, device } = await served();
  device.holds = () => true;
  const client = await connect().go();
  const done: number[] = [];
  const replies = [3, 1, 2, 0].map((index) =>
    client.write(index * 512, pattern(512, index)).then(() => done.push(index)),
  );
  await settle();
  const byOffset = [...device.calls].sort((a, b) => a.offset - b.offset);
  for (const call of byOffset) {
    call.release();
    await settle();
  }
  await Promise.all(replies);
  assert.equal(done, [0, 1, 2, 3]);
});

test("no more requests than the limit are on the device, and the stream is paused meanwhile", async () => {
  const { connect, device, server } = await served({ limits: { requestsInFlightMax: 4 } });
  device.holds = () => true;
  const client = await connect().go();
  const replies = Array.from({ length: 50 }, (_, index) => client.read(index * 512, 512));
  for (let released = 0; released < 50; released++) {
    await settle();
    assert.is(device.calls.length, Math.min(50, released + 4));
    assert.is(client.wire.server.isPaused, released < 46);
    device.calls[released]!.release();
  }
  assert.equal(await errnos(replies), Array(50).fill(0));
  assert.equal(server.connections[0], {
    remote: "memory",
    exportName: "disk",
    requestsInFlight: 0,
    bytesInFlight: 0,
  });
});

test("no more payload than the limit is held; what does not fit stays with the client", async () => {
  const limits = { payloadBytesMax: 65_536, bytesInFlightMax: 150_000 };
  const { connect, device, server } = await served({ limits });
  device.holds = () => true;
  const client = await connect().go();
  const replies = Array.from({ length: 8 }, (_, index) =>
    client.write(index * 65_536, pattern(65_536, index)),
  );
  await settle();
  assert.is(server.connections[0]!.bytesInFlight, 131_072);
  assert.ok(client.wire.server.waitingBytes >= 5 * 65_536);
  // Small ones do not overtake: the stream has an order.
  assert.is(device.calls.length, 2);
  for (let released = 0; released < 8; released++) {
    device.calls[released]!.release();
    await settle();
    assert.ok(server.connections[0]!.bytesInFlight <= 150_000);
  }
  assert.equal(await errnos(replies), Array(8).fill(0));
  device.holds = () => false;
  for (let index = 0; index < 8; index++) {
    assert.equal((await client.read(index * 65_536, 65_536)).data, pattern(65_536, index));
  }
});

test("a client that does not read its replies holds no more than the limits", async () => {
  const { connect, device, server } = await served({ limits: { requestsInFlightMax: 8 } });
  const client = await connect().go();
  client.wire.pause();
  const replies = Array.from({ length: 40 }, () => client.read(0, 10_000));
  await settle();
  assert.is(device.calls.length, 8);
  assert.is(client.wire.server.bufferedBytes, 8 * 10_016);
  assert.is(server.connections[0]!.requestsInFlight, 8);
  client.wire.resume();
  assert.equal(await errnos(replies), Array(40).fill(0));
});

test("a client that stands still does not hold up another", async () => {
  const { connect, device } = await served({ limits: { requestsInFlightMax: 2 } });
  device.holds = (_operation, offset) => offset < 4096;
  const stuck = await connect().go();
  const other = await connect().go();
  for (let index = 0; index < 10; index++) void stuck.read(index, 1);
  const half = await connect().go();
  half.send(encodeRequest({ command: WRITE, length: 4096 }, 9n).subarray(0, 20));
  for (let index = 0; index < 20; index++) assert.is((await other.write(8192, pattern(512))).errno, 0);
});

test("what waits is aborted when the client is gone, without a failure event", async () => {
  const { connect, device, events, server } = await served();
  device.holds = () => true;
  const client = await connect().go();
  const replies = [
    client.read(0, 1),
    client.write(0, pattern(9)),
    client.call({ command: FLUSH }),
    client.call({ command: TRIM, length: 1 }),
    client.call({ command: WRITE_ZEROES, length: 1 }),
  ];
  client.send(encodeRequest({ command: WRITE, length: 4096, payload: pattern(10) }, 9n));
  await settle();
  assert.is(device.calls.length, 5);
  client.wire.close();
  await settle();
  assert.is(device.abortedCalls, 5);
  assert.is(server.connections.length, 0);
  assert.ok(events.every((event) => event.kind !== "requestFailed"));
  assert.is((await Promise.allSettled(replies)).filter(({ status }) => status === "rejected").length, 5);
});

test("DISC: what came before it is answered, what comes after is not heard", async () => {
  const { connect, device, events } = await served();
  device.holds = (operation) => operation === "write";
  const client = await connect().go();
  const reply = client.write(0, pattern(512));
  client.disconnect();
  const late = client.read(0, 1);
  await settle();
  assert.not(client.isClosed);
  assert.is(device.calls.length, 1);
  device.calls[0]!.release();
  assert.is((await reply).errno, 0);
  await client.closed;
  client.wire.close();
  await settle();
  assert.is(lastEnd(events).reason, "the client disconnected");
  await late.then(
    () => assert.unreachable(),
    () => {},
  );
});

test("DISC and an immediate close do not abort the writes before it", async () => {
  const { connect, device } = await served();
  device.holds = (operation) => operation === "write";
  const client = await connect().go();
  void client.write(0, pattern(512));
  client.disconnect();
  await settle();
  client.wire.close();
  await settle();
  assert.is(device.abortedCalls, 0);
  device.calls[0]!.release();
  await settle();
  assert.equal((await device.read(0, 512)).length, 512);
  assert.equal(await device.read(0, 512), pattern(512));
});

test("close: requests in flight are answered, new ones get ESHUTDOWN, nobody new is let in", async () => {
  const { connect, device, server, clock, streams } = await served();
  device.holds = (operation) => operation === "write";
  const client = await connect().go();
  const idle = await connect().go();
  const young = connect();
  const reply = client.write(0, pattern(512));
  await settle();
  const closed = server.close();
  assert.is(server.close(), closed);
  await settle();
  assert.ok(idle.isClosed && young.isClosed);
  assert.throws(() => streams.connect());
  assert.is((await client.read(0, 1)).errno, ESHUTDOWN);
  assert.is((await client.write(512, pattern(512))).errno, ESHUTDOWN);
  device.calls[0]!.release();
  assert.is((await reply).errno, 0);
  await client.closed;
  for (const each of [client, idle, young]) each.wire.close();
  await closed;
  assert.is(device.calls.length, 1);
  assert.is(clock.timerCount, 0);
});

test("close does not wait for ever: not for a device, nor for a client that keeps its side open", async () => {
  const { connect, device, server, clock } = await served({ limits: { closeMs: 300, lingerMs: 100 } });
  device.holds = () => true;
  const stuck = await connect().go();
  const idle = await connect().go();
  void stuck.write(0, pattern(512));
  await settle();
  const closed = server.close();
  await settle();
  assert.is(server.connections.length, 2);
  await clock.advance(100);
  await settle();
  assert.is(server.connections.length, 1);
  assert.ok(idle.isClosed);
  await clock.advance(200);
  await closed;
  await stuck.closed;
  assert.is(device.abortedCalls, 1);
});

test("a hundred waiting requests warn about nothing", async () => {
  const warnings: unknown[] = [];
  const listen = (warning: unknown) => warnings.push(warning);
  process.on("warning", listen);
  const { connect, device } = await served();
  device.holds = () => true;
  const client = await connect().go();
  client.send(
    concat(...Array.from({ length: 100 }, (_, index) => encodeRequest({ command: FLUSH }, BigInt(index)))),
  );
  await settle();
  assert.is(device.calls.length, 100);
  process.off("warning", listen);
  assert.equal(warnings, []);
});

test.run();
