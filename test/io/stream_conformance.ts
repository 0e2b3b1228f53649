// What every Streams must do, run over each implementation. The client is a raw one of the test.

import type { ByteStream, Streams } from "../../src/io/stream.ts";
import type { Listener } from "../../src/io/transport.ts";
import { assert, type Suite } from "../support/harness.ts";
import { codeOf } from "./disk_conformance.ts";
import { closeOf } from "./transport_conformance.ts";

/** The other side, as little as the tests need. */
export interface RawClient {
  write(data: Uint8Array): void;
  /** Everything received so far and later, until there are that many bytes. */
  read(length: number): Promise<Uint8Array>;
  end(): void;
  readonly closed: Promise<unknown>;
}

export interface StreamsUnderTest {
  readonly streams: Streams;
  readonly address: string;
  connect(address: string): Promise<RawClient>;
}

export function registerStreamConformance(test: Suite<object>, make: () => StreamsUnderTest): void {
  test("bytes arrive in order, in both directions", async () => {
    const { stream, client, listener } = await openStream(make());
    const received = take(stream, 300_000);
    for (let piece = 0; piece < 3; piece += 1) client.write(new Uint8Array(100_000).fill(piece));
    const bytes = await received;
    assert.equal(
      [0, 100_000, 299_999].map((at) => bytes[at]),
      [0, 1, 2],
    );
    stream.write([Uint8Array.of(1), new Uint8Array(200_000).fill(2), Uint8Array.of(3)]);
    const back = await client.read(200_002);
    assert.equal([back[0], back[1], back[200_000], back[200_001]], [1, 2, 2, 3]);
    stream.destroy();
    await listener.close();
  });

  test("done is called once for each write, in order, also for none", async () => {
    const { stream, client, listener } = await openStream(make());
    const done: number[] = [];
    await new Promise<void>((resolve) => {
      stream.write([Uint8Array.of(1), Uint8Array.of(2)], (error) => void (error ?? done.push(1)));
      stream.write([Uint8Array.of(3)], (error) => {
        if (error === null) done.push(2);
        resolve();
      });
    });
    assert.equal(await client.read(3), Uint8Array.of(1, 2, 3));
    assert.equal(done, [1, 2]);
    assert.is(await new Promise((resolve) => stream.write([], resolve)), null);
    assert.is(stream.bufferedBytes, 0);
    stream.destroy();
    await listener.close();
  });

  test("end sends what is buffered first", async () => {
    const { stream, client, listener } = await openStream(make());
    stream.write([new Uint8Array(500_000).fill(7)]);
    stream.end();
    assert.is((await client.read(500_000)).length, 500_000);
    client.end();
    await client.closed;
    await listener.close();
  });

  test("onClose comes once, whoever ends it, and writes fail afterwards", async () => {
    const { stream, client, listener } = await openStream(make());
    let count = 0;
    const closed = new Promise<void>((resolve) => {
      stream.onClose = () => {
        count += 1;
        resolve();
      };
    });
    client.end();
    await closed;
    const error = await new Promise<Error | null>((resolve) => stream.write([Uint8Array.of(1)], resolve));
    assert.is((error as { code?: string } | null)?.code, "ERR_CONNECTION_CLOSED");
    stream.destroy();
    stream.destroy();
    await client.closed;
    assert.is(count, 1);
    await listener.close();
  });

  test("destroy closes both sides", async () => {
    const { stream, client, listener } = await openStream(make());
    const own = closeOf(stream);
    stream.destroy();
    await Promise.all([own, client.closed]);
    await listener.close();
  });

  test("an address in use is refused, and free after close", async () => {
    const { streams, address } = make();
    const listener = await streams.listen(address, () => {});
    assert.is(await codeOf(streams.listen(listener.address, () => {})), "ERR_ADDRESS_IN_USE");
    await listener.close();
    await listener.close();
    await (await streams.listen(listener.address, () => {})).close();
  });
}

export async function openStream({ streams, address, connect }: StreamsUnderTest): Promise<{
  stream: ByteStream;
  client: RawClient;
  listener: Listener;
}> {
  let accepted!: (stream: ByteStream) => void;
  const serving = new Promise<ByteStream>((resolve) => (accepted = resolve));
  const listener = await streams.listen(address, (stream) => accepted(stream));
  const client = await connect(listener.address);
  return { stream: await serving, client, listener };
}

function take(stream: ByteStream, length: number): Promise<Uint8Array> {
  return gather((handler) => (stream.onData = handler), length);
}

/** Collects copies of pieces until there are `length` bytes. */
export function gather(
  listen: (handler: (data: Uint8Array) => void) => void,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  return new Promise((resolve) => {
    listen((data) => {
      bytes.set(data.subarray(0, length - at), at);
      at += data.length;
      if (at >= length) resolve(bytes);
    });
  });
}
