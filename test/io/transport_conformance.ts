// What every Transport must do, run over each implementation.

import { type Connection, type Listener, MESSAGE_BYTES_MAX, type Transport } from "../../src/io/transport.ts";
import { assert, type Suite } from "../support/harness.ts";
import { codeOf, errorOf } from "./disk_conformance.ts";

export interface TransportUnderTest {
  readonly transport: Transport;
  /** With port 0. */
  readonly address: string;
  /** What nobody listens on. */
  readonly deadUrl: string;
}

export interface Pair {
  readonly client: Connection;
  readonly server: Connection;
  readonly listener: Listener;
}

export function registerTransportConformance(test: Suite<object>, make: () => TransportUnderTest): void {
  registerMessages(test, make);
  registerCloses(test, make);
  registerAddresses(test, make);
}

function registerMessages(test: Suite<object>, make: () => TransportUnderTest): void {
  test("messages of every size arrive whole, in order, in both directions", async () => {
    const { client, server, listener } = await connectPair(make());
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      const sizes = [0, 1, 125, 126, 65_535, 65_536, 1_100_000, 3];
      const received = collect(to, sizes.length);
      for (const [index, size] of sizes.entries()) from.send(new Uint8Array(size).fill(index));
      const messages = await received;
      assert.equal(
        messages.map((each) => each.length),
        sizes,
      );
      assert.ok(messages.every((each, index) => each.every((byte) => byte === index)));
    }
    await end(client, server, listener);
  });

  test("sending more than the longest message is a mistake", async () => {
    const { client, server, listener } = await connectPair(make());
    assert.throws(() => client.send(new Uint8Array(MESSAGE_BYTES_MAX + 1)), /a message of 8388609 bytes/);
    await echo(client, server);
    await end(client, server, listener);
  });

  test("what is received is a plain Uint8Array", async () => {
    const { client, server, listener } = await connectPair(make());
    const kind = new Promise((resolve) => (server.onMessage = (data) => resolve(data.constructor)));
    client.send(Uint8Array.of(1));
    assert.is(await kind, Uint8Array);
    await end(client, server, listener);
  });

  test("done is called once for each message, in order, and bytes are counted", async () => {
    const { client, server, listener } = await connectPair(make());
    const before = server.receivedBytes;
    const received = collect(server, 3);
    const done: number[] = [];
    await new Promise<void>((resolve) => {
      for (const number of [1, 2, 3]) {
        client.send(new Uint8Array(1000), (error) => {
          assert.is(error, null);
          done.push(number);
          if (number === 3) resolve();
        });
      }
    });
    await received;
    assert.equal(done, [1, 2, 3]);
    assert.is(client.bufferedBytes, 0);
    // 8 bytes of frame and mask for each.
    assert.is(server.receivedBytes - before, 3 * 1008);
    assert.ok(client.sentBytes >= 3 * 1008);
    await end(client, server, listener);
  });

  test("messages that come before the handler are kept", async () => {
    const { transport, address } = make();
    const listener = await transport.listen(address, (connection) => {
      connection.send(Uint8Array.of(1));
      connection.send(Uint8Array.of(2));
    });
    const client = await transport.connect(`ws://${listener.address}/`);
    await Promise.resolve();
    const messages = await collect(client, 2);
    assert.equal(
      messages.map((each) => each[0]),
      [1, 2],
    );
    await end(client, listener);
  });

  test("pause stops messages, resume goes on where it stopped", async () => {
    const { client, server, listener } = await connectPair(make());
    const seen: number[] = [];
    let onPaused!: () => void;
    const paused = new Promise<void>((resolve) => (onPaused = resolve));
    const all = new Promise<void>((resolve) => {
      server.onMessage = (data) => {
        seen.push(data[0]!);
        if (seen.length === 2) {
          server.pause();
          onPaused();
        }
        if (seen.length === 10) resolve();
      };
    });
    const sent = new Promise((resolve) => {
      for (let number = 0; number < 10; number += 1)
        client.send(Uint8Array.of(number), number === 9 ? resolve : undefined);
    });
    await Promise.all([sent, paused]);
    // Time for the others to come, if pause let them.
    await echo(server, client);
    assert.equal(seen, [0, 1]);
    server.resume();
    await all;
    assert.equal(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await end(client, server, listener);
  });
}

function registerCloses(test: Suite<object>, make: () => TransportUnderTest): void {
  test("close sends what is buffered and carries its reason", async () => {
    const { client, server, listener } = await connectPair(make());
    const events: string[] = [];
    server.onMessage = (data) => events.push(`${data.length} bytes`);
    const closed = closeOf(server);
    const own = closeOf(client);
    client.send(new Uint8Array(2_000_000));
    client.close("going home");
    client.close("again");
    assert.is(await closed, "going home");
    assert.equal(events, ["2000000 bytes"]);
    await own;
    await end(listener);
  });

  test("a long or odd reason is cut to what fits", async () => {
    const { client, server, listener } = await connectPair(make());
    const closed = closeOf(server);
    client.close(`x${"y".repeat(100)}`);
    assert.match(await closed, /^xy{100}$/);
    await end(listener);
  });

  test("after close nothing is delivered, and sending fails", async () => {
    const { client, server, listener } = await connectPair(make());
    let count = 0;
    client.onMessage = () => (count += 1);
    const own = closeOf(client);
    server.send(Uint8Array.of(1));
    client.close();
    const error = await new Promise<Error | null>((resolve) => client.send(Uint8Array.of(2), resolve));
    assert.is((error as { code?: string } | null)?.code, "ERR_CONNECTION_CLOSED");
    await own;
    assert.is(count, 0);
    await end(server, listener);
  });

  test("onClose waits for its handler", async () => {
    const { client, server, listener } = await connectPair(make());
    const other = closeOf(client);
    server.close("early");
    assert.is(await other, "early");
    await closeOf(server);
    await end(listener);
  });
}

function registerAddresses(test: Suite<object>, make: () => TransportUnderTest): void {
  test("the listener tells its port, refuses a second one, and frees it at close", async () => {
    const { transport, address } = make();
    const listener = await transport.listen(address, () => {});
    assert.ok(!listener.address.endsWith(":0"), listener.address);
    assert.is(await codeOf(transport.listen(listener.address, () => {})), "ERR_ADDRESS_IN_USE");
    await listener.close();
    await listener.close();
    assert.is(await codeOf(transport.connect(`ws://${listener.address}/`)), "ERR_CONNECT");
    const again = await transport.listen(listener.address, () => {});
    await again.close();
  });

  test("closing the listener leaves its connections open", async () => {
    const { client, server, listener } = await connectPair(make());
    await listener.close();
    await echo(client, server);
    await end(client, server);
  });

  test("a failed connect names the url", async () => {
    const { transport, deadUrl } = make();
    const error = await errorOf(transport.connect(deadUrl));
    assert.is((error as { code?: string }).code, "ERR_CONNECT");
    assert.ok(error.message.includes(deadUrl), error.message);
    assert.is.not(error.cause, undefined);
    assert.is(await codeOf(transport.connect("not a url")), "ERR_CONNECT");
  });

  test("connect ends with the signal's reason", async () => {
    const { transport, deadUrl } = make();
    const reason = new Error("changed my mind");
    assert.is(await errorOf(transport.connect(deadUrl, { signal: AbortSignal.abort(reason) })), reason);
  });
}

export async function connectPair({ transport, address }: TransportUnderTest): Promise<Pair> {
  let accepted!: (connection: Connection) => void;
  const serving = new Promise<Connection>((resolve) => (accepted = resolve));
  const listener = await transport.listen(address, (connection) => accepted(connection));
  const client = await transport.connect(`ws://${listener.address}/`);
  return { client, server: await serving, listener };
}

/** Sends one message and waits until it has arrived: everything sent earlier has been seen, too. */
export async function echo(from: Connection, to: Connection): Promise<void> {
  const arrived = collect(to, 1);
  from.send(Uint8Array.of(0xee));
  await arrived;
}

/** Copies of the next messages. */
export function collect(connection: Connection, count: number): Promise<Uint8Array[]> {
  const messages: Uint8Array[] = [];
  return new Promise((resolve) => {
    connection.onMessage = (data) => {
      messages.push(data.slice());
      if (messages.length === count) resolve(messages);
    };
  });
}

export function closeOf(connection: { onClose: (reason: string) => void }): Promise<string> {
  return new Promise((resolve) => (connection.onClose = resolve));
}

export async function end(...ends: { close(): unknown }[]): Promise<void> {
  for (const each of ends) await each.close();
}
