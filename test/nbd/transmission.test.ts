// Requests, one at a time: what each command does, what is refused, and how errors are told.
import { MirrorvolError } from "../../src/kernel/errors.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryDevice } from "./memory_device.ts";
import { encodeRequest, pattern, type Reply } from "./raw_client.ts";
import { lastEnd, served } from "./served.ts";

const READ = 0;
const WRITE = 1;
const FLUSH = 3;
const TRIM = 4;
const CACHE = 5;
const WRITE_ZEROES = 6;
const FUA = 1;
const NO_HOLE = 2;
const EPERM = 1;
const EIO = 5;
const EINVAL = 22;
const ENOSPC = 28;
const ESHUTDOWN = 108;
const MIB = 1 << 20;

const errnos = async (replies: readonly Promise<Reply>[]) =>
  (await Promise.all(replies)).map((reply) => reply.errno);

/** Whoever waits for an answer that never comes is told so soon. */
export const deadlineMs = 20_000;

const test = suite("nbd transmission");

test("reads what was written, at any offset and length", async () => {
  const { connect } = await served();
  const client = await connect().go();
  const model = new Uint8Array(MIB);
  for (const [offset, length] of [
    [0, 4096],
    [1, 1],
    [4095, 2],
    [65_535, 65_538],
    [MIB - 1, 1],
    [777, 300_001],
  ] as const) {
    const data = pattern(length, offset);
    model.set(data, offset);
    assert.is((await client.write(offset, data)).errno, 0);
  }
  assert.equal((await client.read(0, MIB)).data, model);
});

test("FUA and NO_HOLE are accepted, trim and zero do what they say", async () => {
  const { connect, device } = await served();
  const client = await connect().go();
  await client.write(0, pattern(32_768), FUA);
  assert.is(
    (await client.call({ command: WRITE_ZEROES, flags: FUA | NO_HOLE, offset: 100, length: 50 })).errno,
    0,
  );
  assert.is((await client.call({ command: TRIM, flags: FUA, offset: 4096, length: 4096 })).errno, 0);
  assert.is((await client.call({ command: FLUSH, flags: FUA })).errno, 0);
  const { data } = await client.call({ command: READ, flags: FUA, length: 200 });
  assert.equal(data, pattern(200).fill(0, 100, 150));
  assert.equal(
    device.calls.map(({ operation, offset, length }) => [operation, offset, length]),
    [
      ["write", 0, 32_768],
      ["zero", 100, 50],
      ["trim", 4096, 4096],
      ["flush", 0, 0],
      ["read", 0, 200],
    ],
  );
});

test("the largest ranges of a request reach the device whole", async () => {
  const { connect, device } = await served({ device: new MemoryDevice(2 ** 33) });
  const client = await connect().go();
  assert.is((await client.call({ command: TRIM, offset: 2 ** 32, length: 0xffffffff })).errno, 0);
  assert.is((await client.call({ command: WRITE_ZEROES, offset: 5, length: 0xfffff000 })).errno, 0);
  assert.is((await client.write(2 ** 33 - 3, pattern(3))).errno, 0);
  assert.equal((await client.read(2 ** 33 - 3, 3)).data, pattern(3));
  assert.is(device.calls[0]!.length, 0xffffffff);
});

test("length 0 is in order and does nothing", async () => {
  const { connect, device } = await served();
  const client = await connect().go();
  for (const command of [READ, WRITE, TRIM, WRITE_ZEROES]) {
    assert.is((await client.call({ command, offset: MIB, length: 0 })).errno, 0);
  }
  assert.is(device.calls.length, 0);
});

test("beyond the end: ENOSPC for what writes, EINVAL for the rest; nothing reaches the device", async () => {
  const { connect, device } = await served();
  const client = await connect().go();
  const expected = new Map([
    [READ, EINVAL],
    [TRIM, EINVAL],
    [WRITE_ZEROES, ENOSPC],
    [WRITE, ENOSPC],
  ]);
  for (const [command, errno] of expected) {
    for (const offset of [MIB - 511, MIB, 2n ** 53n, 2n ** 63n, 2n ** 64n - 512n, 2n ** 64n - 1n]) {
      const payload = new Uint8Array(command === WRITE ? 512 : 0);
      assert.is((await client.call({ command, offset, length: 512, payload })).errno, errno);
    }
  }
  assert.is((await client.call({ command: READ, length: MIB + 1 })).errno, EINVAL);
  assert.is(device.calls.length, 0);
  assert.is((await client.read(0, 1)).errno, 0);
});

test("wrong flags and unknown commands are EINVAL, and the payload of such a write is skipped", async () => {
  const { connect, device } = await served();
  const client = await connect().go();
  const wrong = [
    { command: READ, flags: NO_HOLE, length: 1 },
    { command: READ, flags: 4, length: 1 },
    { command: TRIM, flags: NO_HOLE, length: 1 },
    { command: FLUSH, flags: 0x8000 },
    { command: FLUSH, offset: 1 },
    { command: FLUSH, length: 1 },
    { command: WRITE_ZEROES, flags: 16, length: 1 },
    { command: WRITE, flags: 32, payload: pattern(5000) },
    { command: CACHE, length: 1 },
    { command: 7, length: 1 },
    { command: 8 },
    { command: 0xffff },
  ];
  for (const call of wrong) assert.is((await client.call(call)).errno, EINVAL, JSON.stringify(call));
  assert.is(device.calls.length, 0);
  assert.is((await client.read(0, 1)).errno, 0);
});

test("a read-only export gives EPERM to whatever changes it", async () => {
  const { connect, device } = await served({ device: new MemoryDevice(MIB, { readOnly: true }) });
  const client = await connect().go();
  assert.is((await client.write(0, pattern(4096))).errno, EPERM);
  assert.is((await client.call({ command: TRIM, length: 1 })).errno, EPERM);
  assert.is((await client.call({ command: WRITE_ZEROES, length: 1 })).errno, EPERM);
  assert.is((await client.call({ command: FLUSH })).errno, 0);
  assert.is((await client.read(0, 4096)).data.length, 4096);
  assert.equal(
    device.calls.map(({ operation }) => operation),
    ["flush", "read"],
  );
});

test("a payload above the limit is EINVAL and skipped; one that is absurd ends the connection", async () => {
  const limits = { payloadBytesMax: 65_536, bytesInFlightMax: 65_536 };
  const { connect, events } = await served({ limits });
  const client = await connect().go();
  assert.is((await client.write(0, pattern(65_537))).errno, EINVAL);
  assert.is((await client.read(0, 65_537)).errno, EINVAL);
  assert.is((await client.write(0, pattern(65_536))).errno, 0);
  assert.equal((await client.read(0, 65_536)).data, pattern(65_536));
  // 32 MiB must not be taken for an attack.
  assert.is((await client.call({ command: WRITE, payload: new Uint8Array(1 << 25) })).errno, EINVAL);
  client.send(encodeRequest({ command: WRITE, length: (1 << 25) + 1 }, 1n));
  await client.closed;
  assert.match(lastEnd(events).reason, /33554433 bytes, too many/);
});

test("a request without its magic ends the connection", async () => {
  const { connect, events } = await served();
  const client = await connect().go();
  assert.is((await client.read(0, 1)).errno, 0);
  client.send(new Uint8Array(28).fill(7));
  await client.closed;
  assert.match(lastEnd(events).reason, /magic 0x7070707/);
});

test("errors of the engine become the few that NBD has, and an event keeps the cause", async () => {
  const { connect, device, events } = await served();
  const client = await connect().go();
  const cases: [Error, number][] = [
    [new MirrorvolError("ERR_NO_SPACE", "full"), ENOSPC],
    [new MirrorvolError("ERR_READ_ONLY", "no"), EPERM],
    [new MirrorvolError("ERR_CLOSED", "closed"), ESHUTDOWN],
    [new MirrorvolError("ERR_NOT_SERVING", "demoted"), ESHUTDOWN],
    [new MirrorvolError("ERR_UNRECOVERABLE", "lost"), EIO],
    [new Error("anything"), EIO],
  ];
  for (const [error, errno] of cases) {
    device.fails = () => error;
    const replies = [
      client.read(0, 512),
      client.write(0, pattern(512)),
      client.call({ command: TRIM, length: 1 }),
      client.call({ command: WRITE_ZEROES, length: 1 }),
      client.call({ command: FLUSH }),
    ];
    assert.equal(await errnos(replies), Array(5).fill(errno));
    const event = events.at(-1)!;
    assert.ok(event.kind === "requestFailed" && event.error === error && event.errno === errno);
  }
  device.fails = () => null;
  assert.is((await client.read(0, 512)).errno, 0);
});

test("a device that reads short is an error, not garbage on the wire", async () => {
  const device = new MemoryDevice(MIB);
  device.read = async () => new Uint8Array(3);
  const { connect } = await served({ device });
  assert.is((await (await connect().go()).read(0, 512)).errno, EIO);
});

test.run();
