// Whatever a client sends, in whatever pieces: an answer, an error or the end of that one connection; never
// a crash, a hang, or harm to another connection.
import fc from "fast-check";
import { Parser } from "../../src/nbd/parser.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryDevice } from "./memory_device.ts";
import { settle } from "./memory_streams.ts";
import { concat, encodeRequest, infoQuery, pattern, type RawClient, u16, u32, u64 } from "./raw_client.ts";
import { type Served, served } from "./served.ts";

const SEED = 20_261;
const ascii = (text: string) => new TextEncoder().encode(text);
const option = (code: number, data: Uint8Array) =>
  concat(ascii("IHAVEOPT"), u32(code), u32(data.length), data);

const test = suite("nbd robustness");

/** Cuts data at the given places, taken in turn as lengths of pieces. */
function cutBy(lengths: readonly number[]): (data: Uint8Array) => Uint8Array[] {
  let turn = 0;
  return (data) => {
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < data.length; ) {
      const length = lengths[turn++ % lengths.length]!;
      pieces.push(data.subarray(at, at + length));
      at += length;
    }
    return pieces;
  };
}

test("the parser gives the same messages however the bytes are cut", () => {
  const stream = concat(
    u32(3),
    option(3, new Uint8Array(0)),
    option(7, infoQuery("disk", [3])),
    encodeRequest({ command: 1, offset: 5, payload: pattern(70) }, 1n),
    encodeRequest({ command: 1 }, 2n),
    encodeRequest({ command: 0, offset: 2n ** 40n, length: 9 }, 3n),
    encodeRequest({ command: 1, payload: pattern(33) }, 4n),
    encodeRequest({ command: 2 }, 5n),
  );
  const whole = parse([stream]);
  assert.is(whole.length, 11);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 }), (lengths) => {
      assert.equal(parse(cutBy(lengths)(stream)), whole);
    }),
    { seed: SEED },
  );
});

/** Pulls all messages; payloads go to a buffer and to nowhere in turn. Chunks are overwritten when used. */
function parse(pieces: readonly Uint8Array[]): unknown[] {
  const parser = new Parser(100);
  const messages: unknown[] = [];
  let payload: Uint8Array | null = null;
  for (const piece of pieces) {
    const chunk = piece.slice();
    parser.feed(chunk);
    for (let message = parser.next(); message !== null; message = parser.next()) {
      messages.push(message.kind === "payload" ? { payload } : message);
      if (message.kind === "option" && message.option === 7) parser.enterTransmission();
      if (message.kind !== "request" || message.request.command !== 1) continue;
      payload = messages.length % 2 === 0 ? new Uint8Array(message.request.length) : null;
      if (payload) parser.takePayload(payload);
      else parser.skipPayload(message.request.length);
    }
    assert.is(parser.unreadBytes, 0);
    chunk.fill(0xee);
  }
  return messages;
}

test("a parser that is stopped at a message goes on there, with what came meanwhile", () => {
  const requests = [1, 2, 3].map((offset) => encodeRequest({ command: 0, offset, length: 1 }, 0n));
  const parser = new Parser(100);
  parser.enterTransmission();
  const chunk = concat(requests[0]!, requests[1]!.subarray(0, 10));
  parser.feed(chunk);
  assert.is(offsetOf(parser), 1);
  parser.retain();
  chunk.fill(0);
  parser.feed(concat(requests[1]!.subarray(10), requests[2]!));
  assert.is(offsetOf(parser), 2);
  assert.is(offsetOf(parser), 3);
  assert.is(parser.next(), null);
});

function offsetOf(parser: Parser): number {
  const message = parser.next();
  return message?.kind === "request" ? message.request.offset : -1;
}

test("a session byte by byte", async () => {
  const { connect } = await served();
  const client = connect();
  client.cut = cutBy([1]);
  await client.go("disk");
  assert.is((await client.write(100, pattern(3000))).errno, 0);
  assert.is((await client.write(2 ** 21, pattern(300))).errno, 28);
  assert.equal(
    (await client.read(99, 3002)).data,
    concat(u16(0).subarray(1), pattern(3000), u16(0).subarray(1)),
  );
});

test("random requests in random pieces do to the device what they do to an array", async () => {
  const bytes = 20_000;
  const operation = fc.record({
    command: fc.constantFrom(0, 0, 1, 1, 1, 3, 4, 6),
    offset: fc.nat(bytes + 50),
    length: fc.nat(6000),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { maxLength: 30 }),
      fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1, maxLength: 9 }),
      fc.integer({ min: 1, max: 5 }),
      async (operations, lengths, requestsInFlightMax) => {
        const { connect } = await served({
          device: new MemoryDevice(bytes),
          limits: { requestsInFlightMax, payloadBytesMax: 5000, bytesInFlightMax: 7000 },
        });
        const client = await connect().go();
        client.cut = cutBy(lengths);
        const model = new Uint8Array(bytes);
        for (const each of operations) await compare(client, model, each);
        assert.equal(concat(await part(client, 0), await part(client, 5000)), model.slice(0, 10_000));
      },
    ),
    { seed: SEED, numRuns: 60 },
  );
});

const part = async (client: RawClient, offset: number) => (await client.read(offset, 5000)).data;

interface Operation {
  readonly command: number;
  readonly offset: number;
  readonly length: number;
}

async function compare(client: RawClient, model: Uint8Array, operation: Operation): Promise<void> {
  const { command, offset, length } = operation;
  if (command === 3) return assert.is((await client.call({ command })).errno, 0);
  const payload = command === 1 ? pattern(length, offset) : new Uint8Array(0);
  const { errno, data } = await client.call({ command, offset, length, payload });
  const writes = command === 1 || command === 6;
  if (command < 2 && length > 5000) return assert.is(errno, 22);
  if (offset + length > model.length) return assert.is(errno, writes ? 28 : 22);
  assert.is(errno, 0);
  if (command === 0) assert.equal(data, model.slice(offset, offset + length));
  if (command === 1) model.set(payload, offset);
  if (command > 3) model.fill(0, offset, offset + length);
}

/** What a broken or hostile client may say: true messages, half of them, noise, wrong lengths and numbers. */
const noise = fc.uint8Array({ maxLength: 80 });
const anyOption = fc
  .tuple(fc.oneof(fc.nat(12), fc.nat(0x7fffffff)), fc.oneof(noise, fc.constant(infoQuery("disk"))))
  .map(([code, data]) => option(code, data));
const lyingOption = fc
  .tuple(fc.nat(12), fc.nat(0x7fffffff), noise)
  .map(([code, length, data]) => concat(ascii("IHAVEOPT"), u32(code), u32(length), data));
const anyRequest = fc
  .tuple(fc.nat(0xffff), fc.nat(9), fc.bigInt(0n, 2n ** 64n - 1n), fc.nat(200_000), noise)
  .map(([flags, command, offset, length, data]) =>
    concat(
      u32(0x25609513),
      u16(flags & 3),
      u16(command),
      u64(7n),
      u64(offset >> (offset & 63n)),
      u32(length),
      data,
    ),
  );
const goodRequest = fc
  .tuple(fc.constantFrom(0, 1, 3, 4, 6), fc.nat(9000), fc.nat(2000))
  .map(([command, offset, length]) =>
    encodeRequest({ command, offset, length, payload: new Uint8Array(command === 1 ? length : 0) }, 1n),
  );
const message = fc.oneof(anyOption, lyingOption, anyRequest, goodRequest, noise);
const handshake = fc.constantFrom(
  new Uint8Array(0),
  u32(3),
  concat(u32(3), option(7, infoQuery("disk"))),
  concat(u32(1), option(1, ascii("disk"))),
);
const said = fc
  .tuple(handshake, fc.array(message, { maxLength: 12 }), fc.nat(3), fc.nat())
  .map(([first, rest, truncates, at]) => {
    const all = concat(first, ...rest);
    return truncates === 0 && all.length > 0 ? all.subarray(0, at % all.length) : all;
  });

test("hostile input neither crashes nor hangs the server, nor disturbs another client", async () => {
  await fc.assert(
    fc.asyncProperty(
      said,
      fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1 }),
      async (data, lengths) => {
        const world = await served({
          device: new MemoryDevice(10_000),
          limits: { requestsInFlightMax: 3, payloadBytesMax: 65_536, bytesInFlightMax: 65_536 },
        });
        const good = await world.connect().go();
        const bad = world.connect();
        bad.cut = cutBy(lengths);
        const before = await good.read(0, 64);
        bad.send(data);
        await settle();
        checkHeld(world);
        assert.is((await good.write(9000, pattern(100))).errno, 0);
        assert.is(before.errno, 0);
        await checkAllGone(world, good, bad);
      },
    ),
    { seed: SEED, numRuns: 300 },
  );
});

/** Nothing waits that could go on: an unpaused connection has read all, a paused one is at its limits. */
function checkHeld({ server }: Served): void {
  for (const { bytesInFlight, requestsInFlight } of server.connections) {
    assert.ok(bytesInFlight <= 65_536);
    // Only a write whose payload does not come may be left.
    assert.ok(requestsInFlight <= 1, `${requestsInFlight} requests hang`);
  }
}

async function checkAllGone({ server, clock }: Served, ...clients: RawClient[]): Promise<void> {
  for (const client of clients) client.wire.close();
  await settle();
  assert.is(server.connections.length, 0);
  await server.close();
  assert.is(clock.timerCount, 0);
}

test("a client that disappears at any byte leaves nothing behind", async () => {
  const session = concat(
    u32(3),
    option(3, new Uint8Array(0)),
    option(7, infoQuery("disk")),
    encodeRequest({ command: 1, payload: pattern(40) }, 1n),
    encodeRequest({ command: 0, length: 40 }, 2n),
    encodeRequest({ command: 2 }, 3n),
  );
  for (let length = 0; length <= session.length; length++) {
    const world = await served();
    const client = world.connect();
    client.send(session.subarray(0, length));
    await settle();
    await checkAllGone(world, client);
  }
});

test.run();
