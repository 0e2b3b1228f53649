// Forwarding from the ring: what is appended while the forwarder goes live is neither lost nor sent twice.

import { Forwarder } from "../../src/replication/forwarder.ts";
import type { Link } from "../../src/replication/link.ts";
import type { AppendedEntry, ReplicatedVolume } from "../../src/replication/port.ts";
import { RingHold } from "../../src/replication/ring_hold.ts";
import { UnderWay } from "../../src/volume/under_way.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";

const test = suite("forwarder");

const ENTRY_BYTES = 512;
const LARGE_BYTES = 512 * ENTRY_BYTES;

/** A connection that takes everything, and lets go when it is told to; a log whose end the test moves. */
function start() {
  const sent: number[] = [];
  const messages: number[] = [];
  const letGo: (() => void)[] = [];
  const kept: number[] = [];
  const failures: unknown[] = [];
  const link = {
    bufferedBytes: 0,
    sendBytes: (message: Uint8Array, done: () => void) => {
      messages.push(message.length);
      for (let at = 0; at < message.length; at += ENTRY_BYTES)
        if (message[at + 8] !== 0) sent.push(message[at + 8]!);
      letGo.push(done);
    },
  } as unknown as Link;
  let becomeDurable = (): void => {};
  const durable = new Promise<void>((resolve) => {
    becomeDurable = resolve;
  });
  const log = { tail: { sequence: 0, chain: 0n }, durable: 0, whenDurable: () => durable };
  const volume = { log } as unknown as ReplicatedVolume;
  const forwarder = new Forwarder({
    volume,
    link,
    ring: new RingHold({ setForwarded: (sequence) => kept.push(sequence) }),
    underWay: new UnderWay(),
    from: 0,
    onSeal: () => {},
    onLive: () => {},
    onFailed: (error) => failures.push(error),
  });
  forwarder.start();
  const append = (sequence: number, bytes = ENTRY_BYTES) => {
    const view = new Uint8Array(bytes);
    view[8] = sequence;
    forwarder.onAppended({ sequence, view } as unknown as AppendedEntry);
  };
  return { forwarder, sent, messages, letGo, kept, failures, append, becomeDurable };
}

test("entries that are appended while it attaches go out first, all of them and in order", async () => {
  const { forwarder, sent, failures, append, becomeDurable } = start();
  append(1);
  append(2);
  assert.equal(sent, [], "what was before them is read back first");
  becomeDurable();
  await settle();
  append(3);
  assert.equal(sent, [1, 2], "at the end of the turn, with what else it appends");
  await settle();
  assert.equal(failures, []);
  assert.equal(sent, [1, 2, 3]);
  assert.is(forwarder.sentThrough, 3);
  assert.ok(forwarder.isLive);
});

test("what one turn appends is one message, as long as it is not too large", async () => {
  const { forwarder, sent, messages, kept, letGo, append, becomeDurable } = start();
  becomeDurable();
  await settle();
  for (let sequence = 1; sequence <= 3; sequence++) append(sequence);
  append(4, LARGE_BYTES);
  assert.is(kept.at(-1), 0, "what is not sent yet stays in the ring");
  await settle();
  assert.equal(sent.slice(0, 4), [1, 2, 3, 4]);
  assert.equal(messages, [3 * ENTRY_BYTES, LARGE_BYTES]);
  letGo[0]!();
  assert.is(kept.at(-1), 3);
  assert.is(forwarder.sentThrough, 4);
  append(5);
  append(6);
  await settle();
  assert.equal(sent.slice(-2), [5, 6], "in memory that the first message has given back");
});

test("the ring keeps an entry until the connection has let go of it, also when nothing is sent any more", async () => {
  const { forwarder, letGo, kept, append, becomeDurable } = start();
  becomeDurable();
  await settle();
  for (const sequence of [1, 2]) {
    append(sequence);
    await settle();
  }
  assert.is(kept.at(-1), 0, "both are looked at");
  letGo[0]!();
  assert.is(kept.at(-1), 1);
  forwarder.stop();
  assert.is(kept.at(-1), 1, "the second one is looked at still");
  letGo[1]!();
  assert.is(kept.at(-1), Number.POSITIVE_INFINITY);
});

test("what reads the log for a mirror is waited for, also when the session is gone", async () => {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const entries = () => ({
    [Symbol.asyncIterator]: () => ({ next: () => held.then(() => ({ done: true, value: undefined })) }),
  });
  const log = { tail: { sequence: 5, chain: 0n }, durable: 5, whenDurable: async () => {}, entries };
  const underWay = new UnderWay();
  const forwarder = new Forwarder({
    volume: { log } as unknown as ReplicatedVolume,
    link: { bufferedBytes: 0 } as unknown as Link,
    ring: new RingHold({ setForwarded: () => {} }),
    underWay,
    from: 0,
    onSeal: () => {},
    onLive: () => {},
    onFailed: () => {},
  });
  forwarder.start();
  forwarder.stop();
  let isEnded = false;
  const ended = underWay.ended().then(() => {
    isEnded = true;
  });
  await settle();
  assert.not.ok(isEnded);
  release();
  await ended;
});

test.run();
