// Memory for payloads that all clients of a server share: the bound, the little that each has for itself, the line
// of those that wait, and what a client gives back that ends in the middle.
import { assert, suite } from "../support/harness.ts";
import { settle } from "./memory_streams.ts";
import { encodeRequest, pattern, type RawClient } from "./raw_client.ts";
import { served } from "./served.ts";

const WRITE = 1;
const KIB = 1024;
const LIMITS = {
  payloadBytesMax: 64 * KIB,
  bytesInFlightMax: 64 * KIB,
  ownBytesMax: 8 * KIB,
  poolBytesMax: 100 * KIB,
};

const test = suite("nbd budget");

async function crowd(count: number) {
  const ground = await served({ limits: LIMITS });
  ground.device.holds = () => true;
  const clients: RawClient[] = [];
  for (let index = 0; index < count; index++) clients.push(await ground.connect().go());
  const held = () => ground.server.connections.reduce((sum, { bytesInFlight }) => sum + bytesInFlight, 0);
  return { ...ground, clients, held };
}

const write = (client: RawClient, kib: number) => client.write(0, pattern(kib * KIB));

test("many clients together hold no more than the pool and what each has for itself", async () => {
  const { device, clients, held } = await crowd(10);
  const replies = clients.map((client) => write(client, 40));
  await settle();
  // 32 KiB of each come from the pool.
  assert.is(device.calls.length, 3);
  assert.is(held(), 120 * KIB);
  for (let released = 0; released < 10; released++) {
    device.calls[released]!.release();
    await settle();
    assert.ok(held() <= 100 * KIB + 10 * LIMITS.ownBytesMax, `${held()} bytes`);
  }
  for (const reply of replies) assert.is((await reply).errno, 0);
});

test("small requests do not wait for the large ones of others", async () => {
  const { device, clients } = await crowd(6);
  for (const client of clients.slice(0, 5)) void write(client, 64);
  await settle();
  const before = device.calls.length;
  void write(clients[5]!, 8);
  await settle();
  assert.is(device.calls.length, before + 1);
});

test("who waits first is served first, also for more than the next one wants", async () => {
  const { device, clients } = await crowd(4);
  const order: string[] = [];
  void write(clients[0]!, 64);
  void write(clients[1]!, 48);
  await settle();
  const large = write(clients[2]!, 64).then(() => order.push("large"));
  await settle();
  const small = write(clients[3]!, 12).then(() => order.push("small"));
  await settle();
  // There would be room for the small one.
  assert.is(device.calls.length, 2);
  for (let released = 0; released < 4; released++) {
    device.calls[released]!.release();
    await settle();
  }
  await Promise.all([large, small]);
  assert.equal(order, ["large", "small"]);
});

test("a client that ends within a payload, or while it waits, gives back what it took", async () => {
  const { device, clients, held } = await crowd(5);
  const [first, second, waiting, next, last] = clients as [
    RawClient,
    RawClient,
    RawClient,
    RawClient,
    RawClient,
  ];
  for (const client of [first, second]) {
    client.send(encodeRequest({ command: WRITE, length: 56 * KIB, payload: pattern(KIB) }, 9n));
  }
  await settle();
  void write(waiting, 64).catch(() => {});
  await settle();
  void write(next, 64);
  await settle();
  assert.is(device.calls.length, 0);
  assert.is(held(), 112 * KIB);
  waiting.wire.close();
  first.wire.close();
  await settle();
  assert.is(device.calls.length, 0, "48 KiB are still taken by the second");
  second.wire.close();
  await settle();
  assert.is(device.calls.length, 1);
  void write(last, 50);
  await settle();
  assert.is(device.calls.length, 2);
});

test.run();
