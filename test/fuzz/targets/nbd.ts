// NBD: what a stranger sends before and after it has chosen an export.
//
// Oracles: the parser gives the same messages however the stream is cut, and they are, written anew, what was sent;
// a whole server over streams in memory answers what a model of the protocol (nbd_model.ts) says, no more and no
// less, and the connection ends when the client breaks the protocol.

import { Parser } from "../../../src/nbd/parser.ts";
import { MemoryDevice } from "../../nbd/memory_device.ts";
import { settle } from "../../nbd/memory_streams.ts";
import { concat, encodeRequest, infoQuery, pattern, u16, u32, u64 } from "../../nbd/raw_client.ts";
import { lastEnd, served } from "../../nbd/served.ts";
import { SeededRandom } from "../../support/memory_random.ts";
import { joined } from "../mutator.ts";
import { ACCEPTED, bytesOfText, expect, expectSameBytes, type Target, type Verdict } from "../target.ts";
import { type Conversation, DISK_BYTES, LIMITS, modelOf } from "./nbd_model.ts";

const OPTION_MAGIC = bytesOfText("IHAVEOPT");
const option = (code: number, data: Uint8Array = new Uint8Array(0)) =>
  concat(OPTION_MAGIC, u32(code), u32(data.length), data);
const request = (command: number, offset: number, length: number, cookie = 1n, flags = 0) =>
  encodeRequest({ command, offset, length, flags }, cookie);
const write = (offset: number, payload: Uint8Array, cookie: bigint) =>
  encodeRequest({ command: 1, offset, payload }, cookie);

const NEGOTIATIONS = [
  concat(u32(3), option(7, infoQuery("disk", [0, 1, 2, 3]))),
  concat(u32(1), option(1, bytesOfText("disk"))),
  concat(u32(3), option(3), option(6, infoQuery("", [3])), option(5), option(8), option(7, infoQuery(""))),
  concat(u32(2), option(6, infoQuery("none")), option(2)),
];
const REQUESTS = concat(
  write(4096, pattern(100), 7n),
  request(0, 4000, 300, 8n),
  request(3, 0, 0, 9n),
  request(4, 4096, 4096, 10n),
  request(6, 0, 50, 11n, 2),
  request(0, DISK_BYTES - 10, 20, 12n),
  write(DISK_BYTES, pattern(9), 13n),
  request(0, 4090, 120, 14n, 1),
);

/** The first byte says how the stream is cut. */
const seeds = () => [
  ...NEGOTIATIONS.map((bytes) => joined(Uint8Array.of(0), bytes)),
  joined(Uint8Array.of(0), NEGOTIATIONS[0]!, REQUESTS),
  joined(Uint8Array.of(77), NEGOTIATIONS[1]!, REQUESTS, request(2, 0, 0)),
];

const words = [
  ...[OPTION_MAGIC, u32(0x25609513), infoQuery("disk"), bytesOfText("disk"), option(7, infoQuery("disk"))],
  ...[
    u16(6),
    u32(0x2000001),
    u64(2n ** 64n - 1n),
    request(0, 0, 8192),
    request(2, 0, 0),
    write(9, pattern(5), 3n),
  ],
];

function cut(input: Uint8Array): { stream: Uint8Array; pieces: Uint8Array[] } {
  const stream = input.subarray(1);
  const how = input[0] ?? 0;
  if (how === 0) return { stream, pieces: [stream] };
  const random = new SeededRandom(how);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < stream.length; ) {
    const length = 1 + random.below(how < 128 ? 40 : 4000);
    pieces.push(stream.slice(at, at + length));
    at += length;
  }
  return { stream, pieces };
}

/** Every message in the form in which it was sent; what was skipped is zeros, as it is in `sent`. */
function parse(pieces: readonly Uint8Array[], bytesMax: number): { sent: Uint8Array[]; violation: string } {
  const parser = new Parser(600);
  const sent: Uint8Array[] = [];
  let payload: Uint8Array = new Uint8Array(0);
  for (const piece of pieces) {
    const chunk = piece.slice();
    parser.feed(chunk);
    for (let message = parser.next(); message !== null; message = parser.next()) {
      if (message.kind === "violation") return { sent, violation: message.reason };
      if (message.kind === "clientFlags") sent.push(u32(message.flags));
      else if (message.kind === "option") {
        sent.push(option(message.option, message.data));
        if (message.option === 7) parser.enterTransmission();
      } else if (message.kind === "payload") sent.push(payload);
      else {
        const { command, flags, offset, length, cookie } = message.request;
        const header = concat(u32(0x25609513), u16(flags), u16(command), u32(cookie[0]), u32(cookie[1]));
        // From 2^53 on an offset is not exact, and need not be: what is sent is made inexact in the same way.
        sent.push(concat(header, u64(BigInt(offset) & MASK), u32(length)));

        if (command !== 1) continue;
        const room = Math.min(length, bytesMax);
        payload = new Uint8Array(room);
        if (length === room) parser.takePayload(payload);
        else parser.skipPayload(length);
      }
    }
    parser.retain();
    chunk.fill(0xee);
  }
  return { sent, violation: "" };
}

const MASK = 2n ** 64n - 1n;

function hasMagic(message: Uint8Array): boolean {
  return message.length === 28 && message.subarray(0, 4).join() === u32(0x25609513).join();
}

function roundOffset(message: Uint8Array): void {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  view.setBigUint64(16, BigInt(Number(view.getBigUint64(16))) & MASK);
}

export const nbdParserTarget: Target = {
  name: "nbd-parser",
  bytesMax: 4000,
  share: 1500,
  words,
  seeds,
  check: (input) => {
    const { stream, pieces } = cut(input);
    const whole = parse([stream], 4000);
    const cutUp = parse(pieces, 4000);
    expect(whole.violation === cutUp.violation, `cut: "${cutUp.violation}", whole: "${whole.violation}"`);
    expectSameBytes(joined(...cutUp.sent), joined(...whole.sent), "messages of the stream when it is cut");
    let at = 0;
    for (const message of whole.sent) {
      const given = stream.slice(at, at + message.length);
      if (hasMagic(message)) roundOffset(given);
      expectSameBytes(message, given, "a message");
      at += message.length;
    }
    return whole.violation === "" ? ACCEPTED : "violation";
  },
};

export const nbdSessionTarget: Target = {
  name: "nbd-session",
  bytesMax: 20_000,
  share: 300,
  batch: 32,
  words,
  seeds,
  check: async (input) => {
    const { stream, pieces } = cut(input);
    const device = new MemoryDevice(DISK_BYTES);
    const { server, streams, events, clock } = await served({ device, limits: LIMITS });
    const wire = streams.connect();
    const output: Uint8Array[] = [];
    wire.onData = (data) => output.push(data);
    for (const piece of pieces) wire.send(piece);
    await settle();
    const expected = modelOf(stream);
    const verdict = judge(joined(...output), expected);
    const isEnded = events.some((event) => event.kind === "closed" && event.isViolation);
    expect(
      isEnded === expected.isViolation,
      `violation ${expected.isViolation}, ended: ${lastEnd(events).reason}`,
    );
    wire.close();
    const closing = server.close();
    await settle();
    await clock.advance(20_000);
    await closing;
    expect(server.connections.length === 0, "a connection is left");
    return verdict;
  },
};

/** Takes the server's bytes apart and compares them with what the model expects. */
function judge(output: Uint8Array, expected: Conversation): Verdict {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  expect(output.length >= 18, "no greeting");
  let at = 18;
  for (const { option: code, type } of expected.options) {
    for (let last = 0; last !== 1 && last < 0x80000000; ) {
      if (expected.isViolation && at === output.length) return "violation";
      expect(view.getBigUint64(at) === 0x0003e889045565a9n, "an option's reply without its magic");
      expect(view.getUint32(at + 8) === code, `a reply to option ${view.getUint32(at + 8)}, not to ${code}`);
      last = view.getUint32(at + 12);
      at += 20 + view.getUint32(at + 16);
      if (last === 1 || last >= 0x80000000) expect(last === type, `option ${code}: ${last}, not ${type}`);
    }
  }
  if (expected.exportNameBytes > 0 && at < output.length) at += expected.exportNameBytes;
  const left = [...expected.requests];
  while (at < output.length) {
    expect(view.getUint32(at) === 0x67446698, "a reply without its magic");
    const cookie = view.getBigUint64(at + 8).toString(16);
    const errno = view.getUint32(at + 4);
    at += 16;
    const index = left.findIndex((answer) => {
      const { data } = answer;
      if (answer.cookie !== cookie || answer.errno !== errno) return false;
      return data === null || Buffer.from(data).equals(output.subarray(at, at + data.length));
    });
    expect(index >= 0, `nobody asked for this reply: cookie ${cookie}, error ${errno}`);
    at += left.splice(index, 1)[0]!.data?.length ?? 0;
  }
  if (expected.isViolation) return "violation";
  expect(left.length === 0, `${left.length} requests were not answered`);
  return ACCEPTED;
}
