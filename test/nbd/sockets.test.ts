// The same server over real sockets: TCP and Unix.
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeStreams } from "../../src/io/node_stream.ts";
import { nodeClock } from "../../src/io/node_world.ts";
import type { NbdEvent } from "../../src/nbd/event.ts";
import { type NbdServer, serveNbd } from "../../src/nbd/server.ts";
import { COMMON_PAYLOAD_BYTES } from "../../src/nbd/wire.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryDevice } from "./memory_device.ts";
import { connectWire, encodeRequest, pattern, RawClient } from "./raw_client.ts";
import { directoryOf, lastEnd } from "./served.ts";

const MIB = 1 << 20;

interface Ground {
  readonly server: NbdServer;
  readonly device: MemoryDevice;
  readonly events: NbdEvent[];
  client(): Promise<RawClient>;
}

const test = suite("nbd sockets");

/** Runs a test once over TCP and once over a Unix socket. */
function onBoth(name: string, use: (ground: Ground) => Promise<void>): void {
  test(`${name} (TCP)`, () => withServer("127.0.0.1:0", use));
  test(`${name} (Unix)`, async () => {
    const folder = await mkdtemp(join(tmpdir(), "mirrorvol-nbd-"));
    try {
      await withServer(`unix:${join(folder, "socket")}`, use);
      await stat(join(folder, "socket")).then(
        () => assert.unreachable("the socket file stays behind"),
        () => {},
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

async function withServer(address: string, use: (ground: Ground) => Promise<void>): Promise<void> {
  const device = new MemoryDevice(64 * MIB);
  const events: NbdEvent[] = [];
  const server = await serveNbd({
    streams: new NodeStreams(),
    address,
    exports: directoryOf({ disk: device }),
    clock: nodeClock,
    onEvent: (event) => events.push(event),
  });
  const clients: RawClient[] = [];
  const client = async () => {
    clients.push(new RawClient(await connectWire(server.address)));
    return clients.at(-1)!;
  };
  try {
    await use({ server, device, events, client });
  } finally {
    for (const each of clients) each.wire.close();
    await server.close();
  }
}

const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
};

onBoth("a large payload arrives in many pieces and comes back whole", async ({ client }) => {
  const one = await (await client()).go("disk");
  const data = pattern(9 * MIB + 5);
  assert.is((await one.write(12_345, data)).errno, 0);
  const two = await (await client()).go("");
  assert.ok(Buffer.from((await two.read(12_345, data.length)).data).equals(data));
});

onBoth("several clients with many requests each see each other's writes", async ({ client }) => {
  const clients = await Promise.all([1, 2, 3, 4].map(async () => (await client()).go()));
  const writes = clients.flatMap((each, place) =>
    Array.from({ length: 200 }, (_, index) => each.write((place * 200 + index) * 4096, pattern(4096, index))),
  );
  assert.ok((await Promise.all(writes)).every(({ errno }) => errno === 0));
  for (let index = 0; index < 800; index += 37) {
    const { data } = await clients[index % 4]!.read(index * 4096, 4096);
    assert.equal(data, pattern(4096, index % 200));
  }
});

onBoth("a client that is gone aborts what waits for it", async ({ client, device, server, events }) => {
  device.holds = (operation) => operation === "write";
  const gone = await (await client()).go();
  void gone.write(0, pattern(512));
  gone.send(encodeRequest({ command: 1, length: 4096, payload: pattern(100) }, 5n));
  await until(() => device.calls.length === 1);
  gone.wire.close();
  await until(() => server.connections.length === 0);
  assert.is(device.abortedCalls, 1);
  assert.not(lastEnd(events).isViolation);
});

onBoth("a client that does not read holds only its own requests", async ({ client, server }) => {
  const lazy = await client();
  await lazy.greet();
  await lazy.option(7, new Uint8Array([0, 0, 0, 0, 0, 0]));
  lazy.wire.pause();
  for (let index = 0; index < 400; index++)
    lazy.send(encodeRequest({ command: 0, length: MIB }, BigInt(index)));
  await until(() => server.connections.some(({ bytesInFlight }) => bytesInFlight === COMMON_PAYLOAD_BYTES));
  const other = await (await client()).go();
  for (let index = 0; index < 20; index++) assert.is((await other.write(0, pattern(4096))).errno, 0);
  assert.ok(server.connections.every(({ bytesInFlight }) => bytesInFlight <= COMMON_PAYLOAD_BYTES));
});

onBoth("close answers what is in flight and ends every client", async ({ client, device, server }) => {
  device.holds = (operation) => operation === "write";
  const one = await (await client()).go();
  const idle = await (await client()).go();
  const reply = one.write(0, pattern(512));
  await until(() => device.calls.length === 1);
  const closed = server.close();
  await idle.closed;
  device.calls[0]!.release();
  assert.is((await reply).errno, 0);
  await one.closed;
  await closed;
  await connectWire(server.address).then(
    () => assert.unreachable("it still listens"),
    () => {},
  );
});

test.run();
