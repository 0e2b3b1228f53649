// The handshake, option by option, right and wrong.
import { assert, suite } from "../support/harness.ts";
import { MemoryDevice } from "./memory_device.ts";
import { settle } from "./memory_streams.ts";
import { concat, infoQuery, type OptionReply, u16, u32, view } from "./raw_client.ts";
import { directoryOf, lastEnd, served } from "./served.ts";

const EXPORT_NAME = 1;
const ABORT = 2;
const LIST = 3;
const STARTTLS = 5;
const INFO = 6;
const GO = 7;
const STRUCTURED_REPLY = 8;
const SET_META_CONTEXT = 10;
const ACK = 1;
const ERR_UNSUP = 0x80000001;
const ERR_INVALID = 0x80000003;
const ERR_UNKNOWN = 0x80000006;
/** HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES, CAN_MULTI_CONN. */
const FLAGS = 0b1_0110_1101;

const text = (data: Uint8Array) => new TextDecoder().decode(data);
const bytes = (string: string) => new TextEncoder().encode(string);
const types = (replies: readonly OptionReply[]) => replies.map((reply) => reply.type);
const infos = (replies: readonly OptionReply[]) =>
  new Map(
    replies.filter(({ type }) => type === 3).map(({ data }) => [view(data).getUint16(0), data.subarray(2)]),
  );

/** Whoever waits for an answer that never comes is told so soon. */
export const deadlineMs = 20_000;

const test = suite("nbd negotiation");

test("greets as fixed newstyle without zeroes", async () => {
  const { connect } = await served();
  const greeting = await connect().greet();
  assert.is(greeting.getBigUint64(0), 0x4e42444d41474943n);
  assert.is(greeting.getBigUint64(8), 0x49484156454f5054n);
  assert.is(greeting.getUint16(16), 3);
});

test("EXPORT_NAME gives size and flags, and 124 zeroes unless they were declined", async () => {
  for (const [flags, length] of [
    [3, 10],
    [1, 134],
    [0, 134],
  ] as const) {
    const { connect, device } = await served();
    const client = connect();
    await client.greet(flags);
    client.sendOption(EXPORT_NAME, bytes("disk"));
    const reply = await client.take(length);
    assert.is(view(reply).getBigUint64(0), BigInt(device.bytes));
    assert.is(view(reply).getUint16(8), FLAGS);
    assert.ok(reply.subarray(10).every((byte) => byte === 0));
    client.startReplies();
    assert.is((await client.read(0, 512)).errno, 0);
  }
});

test("EXPORT_NAME with a wrong name ends the connection, and an event says why", async () => {
  const { connect, events, server } = await served();
  const client = connect();
  await client.greet();
  client.sendOption(EXPORT_NAME, bytes("other"));
  await client.closed;
  assert.is(client.unreadBytes, 0);
  assert.match(lastEnd(events).reason, "EXPORT_NAME");
  assert.is(server.connections.length, 0);
});

test("LIST names every export with its description, and takes no data", async () => {
  const devices = { a: new MemoryDevice(4096), "b/ü": new MemoryDevice(4096) };
  const { connect } = await served({ exports: directoryOf(devices, "for people") });
  const client = connect();
  await client.greet();
  const replies = await client.option(LIST);
  assert.equal(types(replies), [2, 2, ACK]);
  assert.equal(replies[0]!.data, concat(u32(1), bytes("a"), bytes("for people")));
  assert.equal(replies[1]!.data, concat(u32(4), bytes("b/ü"), bytes("for people")));
  assert.equal(types(await client.option(LIST, u32(0))), [ERR_INVALID]);
});

test("INFO tells what is asked, GO as well and enters transmission", async () => {
  const { connect } = await served({ exports: directoryOf({ disk: new MemoryDevice(12345) }, "one") });
  const client = connect();
  await client.greet();
  const wanted = [0, 1, 2, 3, 77];
  const replies = await client.option(INFO, infoQuery("disk", wanted));
  assert.equal(types(replies), [3, 3, 3, 3, ACK]);
  const found = infos(replies);
  assert.is(view(found.get(0)!).getBigUint64(0), 12345n);
  assert.is(view(found.get(0)!).getUint16(8), FLAGS);
  assert.is(text(found.get(1)!), "disk");
  assert.is(text(found.get(2)!), "one");
  assert.equal(found.get(3)!, concat(u32(1), u32(4096), u32(1 << 25)));
  const plain = await client.option(INFO, infoQuery("disk"));
  assert.equal(types(plain), [3, ACK]);
  const chosen = await client.option(GO, infoQuery("disk", wanted));
  assert.equal(
    chosen.map(({ data }) => data),
    replies.map(({ data }) => data),
  );
  client.startReplies();
  assert.is((await client.read(0, 10)).data.length, 10);
});

test("a description that nobody wrote is not sent", async () => {
  const { connect } = await served();
  const client = connect();
  await client.greet();
  assert.equal([...infos(await client.option(INFO, infoQuery("disk", [2]))).keys()], [0]);
});

test("a read-only export says so and offers no change", async () => {
  const { connect } = await served({ device: new MemoryDevice(4096, { readOnly: true }) });
  const client = connect();
  await client.greet();
  const replies = await client.option(GO, infoQuery("disk"));
  assert.is(view(infos(replies).get(0)!).getUint16(8), 0b1_0000_1111);
});

test("the empty name is the only export, and no name when there are none or two", async () => {
  const one = new MemoryDevice(4096);
  const alone = await served({ exports: directoryOf({ only: one }) });
  const client = alone.connect();
  await client.greet();
  const replies = await client.option(INFO, infoQuery("", [1]));
  assert.is(text(infos(replies).get(1)!), "only");
  for (const devices of [{}, { a: one, b: one }] as Record<string, MemoryDevice>[]) {
    const many = (await served({ exports: directoryOf(devices) })).connect();
    await many.greet();
    const [refused] = await many.option(GO, infoQuery(""));
    assert.is(refused!.type, ERR_UNKNOWN);
    assert.not.match(text(refused!.data), /[ab]\b:/);
    // The handshake goes on.
    assert.is((await many.option(LIST)).at(-1)!.type, ACK);
  }
});

test("an unknown export, and a name of the prototype, are refused", async () => {
  const { connect } = await served();
  const client = connect();
  await client.greet();
  for (const name of ["nothing", "toString", "__proto__", "disk\0"]) {
    assert.equal(types(await client.option(GO, infoQuery(name))), [ERR_UNKNOWN], name);
  }
});

test("malformed INFO and GO are invalid, and the handshake goes on", async () => {
  const { connect } = await served();
  const client = connect();
  await client.greet();
  const malformed = [
    new Uint8Array(0),
    new Uint8Array(5),
    concat(u32(5), bytes("disk"), u16(0)),
    concat(u32(0xffffffff), bytes("disk"), u16(0)),
    concat(u32(4), bytes("disk"), u16(1)),
    concat(u32(4), bytes("disk"), u16(0), u16(0)),
    concat(u32(3), bytes("disk"), u16(0)),
    concat(u32(2), new Uint8Array([0xff, 0xfe]), u16(0)),
    infoQuery("x".repeat(4097)),
  ];
  for (const data of malformed) {
    for (const option of [INFO, GO]) assert.equal(types(await client.option(option, data)), [ERR_INVALID]);
  }
  assert.equal(types(await client.option(GO, infoQuery("disk"))), [3, ACK]);
});

test("options that we do not have are unsupported, their data skipped", async () => {
  const { connect } = await served();
  const client = connect();
  await client.greet();
  for (const option of [0, 4, STARTTLS, STRUCTURED_REPLY, SET_META_CONTEXT, 11, 0xffffffff]) {
    const replies = await client.option(option, new Uint8Array(option === 0 ? 65_536 : 3));
    assert.equal(types(replies), [ERR_UNSUP]);
    assert.is(replies[0]!.option, option);
  }
  assert.is((await client.option(LIST)).length, 2);
});

test("ABORT is acknowledged, then the connection ends", async () => {
  const { connect, server, events, clock } = await served();
  const client = connect();
  await client.greet();
  assert.equal(types(await client.option(ABORT, bytes("ignored"))), [ACK]);
  await client.closed;
  client.wire.close();
  await settle();
  assert.is(server.connections.length, 0);
  assert.is(lastEnd(events).isViolation, false);
  assert.is(clock.timerCount, 0);
});

test("unknown client flags, a wrong magic and an option that is too long end the connection", async () => {
  const breaches: [reason: RegExp, said: Uint8Array][] = [
    [/client flags 0x4/, u32(4)],
    [/client flags 0x80000003/, u32(0x80000003)],
    [/magic/, concat(u32(3), new Uint8Array(16))],
    [/option of 65537 bytes/, concat(u32(3), bytes("IHAVEOPT"), u32(LIST), u32(65_537))],
    [/option of 4294967295 bytes/, concat(u32(3), bytes("IHAVEOPT"), u32(99), u32(0xffffffff))],
  ];
  for (const [reason, said] of breaches) {
    const { connect, events } = await served();
    const client = connect();
    client.send(said);
    await client.closed;
    assert.match(lastEnd(events).reason, reason);
    assert.ok(lastEnd(events).isViolation);
  }
});

test("the number of options is bounded", async () => {
  const { connect, events } = await served({ limits: { optionCountMax: 3 } });
  const client = connect();
  await client.greet();
  for (let count = 0; count < 3; count++) assert.is((await client.option(99))[0]!.type, ERR_UNSUP);
  client.sendOption(99);
  await client.closed;
  assert.match(lastEnd(events).reason, "more than 3 options");
});

test("a client that does not read its answers is not read from", async () => {
  const { connect } = await served();
  const client = connect();
  await client.greet();
  client.wire.pause();
  for (let count = 0; count < 100; count++) client.sendOption(LIST);
  await settle();
  assert.ok(client.wire.server.isPaused);
  // One answer of two parts, however many questions.
  assert.ok(client.wire.server.bufferedBytes < 100);
  client.wire.resume();
  for (let count = 0; count < 100; count++) {
    assert.is((await client.optionReply()).type, 2);
    assert.is((await client.optionReply()).type, ACK);
  }
});

test("a handshake that takes too long ends, a served connection stays", async () => {
  const { connect, clock, events, server } = await served({ limits: { handshakeMs: 500 } });
  const slow = connect();
  const done = await connect().go();
  await clock.advance(499);
  await settle();
  assert.not(slow.isClosed);
  await clock.advance(1);
  await slow.closed;
  assert.match(lastEnd(events).reason, "500 ms");
  assert.is((await done.read(0, 1)).errno, 0);
  assert.is(server.connections.length, 1);
});

test("one connection more than allowed is closed, and a place that becomes free is given again", async () => {
  const { connect, server, events } = await served({ limits: { connectionsMax: 2 } });
  const first = await connect().go();
  await connect().go();
  await connect().closed;
  assert.match(lastEnd(events).reason, "more than 2 connections");
  first.wire.close();
  await settle();
  await connect().go();
  assert.is(server.connections.length, 2);
});

test.run();
