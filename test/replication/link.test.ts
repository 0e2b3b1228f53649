// A link alone, at a connection that is this test: what it keeps, when it listens, and what it says of the end.

import type { Connection } from "../../src/io/transport.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { encodeFrame, NO_GENERATION } from "../../src/replication/frame.ts";
import { Link } from "../../src/replication/link.ts";
import { assert, suite } from "../support/harness.ts";
import { ManualClock, settle } from "../support/manual_clock.ts";

const test = suite("link");
const kernel = Kernel.createSync({ memoryBytes: 2 ** 21 });
const INBOX_BYTES_MAX = 2 * 1024 * 1024;

class FakeConnection implements Connection {
  readonly remote = "test";
  readonly bufferedBytes = 0;
  readonly sentBytes = 0;
  readonly receivedBytes = 0;
  readonly calls: string[] = [];
  onMessage: (data: Uint8Array) => void = () => {};
  onClose: (reason: string) => void = () => {};

  send(): void {}

  pause(): void {
    this.calls.push("pause");
  }

  resume(): void {
    this.calls.push("resume");
  }

  close(): void {
    this.calls.push("close");
  }
}

function linkOver(connection: Connection, seen: string[] = []): Link {
  return new Link({
    connection,
    kernel,
    clock: new ManualClock(),
    timeoutMs: 1000,
    onMessage: (message) => seen.push(message.name === "notice" ? message.body.code : message.name),
    onEntries: () => seen.push("entries"),
    onClosed: (reason) => seen.push(`closed: ${reason}`),
  });
}

const notice = (code: string, bytes = 0) =>
  encodeFrame(kernel, NO_GENERATION, "notice", { code, text: "x".repeat(bytes) });

test("a held link keeps two megabytes, then pauses its connection until half of it is handed on", async () => {
  const connection = new FakeConnection();
  const seen: string[] = [];
  const link = linkOver(connection, seen);
  link.hold();
  const message = notice("ERR_X", 500);
  let kept = 0;
  while (connection.calls.length === 0 && kept < 2 * INBOX_BYTES_MAX) {
    connection.onMessage(message);
    kept += message.length;
  }
  assert.equal(connection.calls, ["pause"]);
  assert.ok(
    kept > INBOX_BYTES_MAX / 2 && kept <= INBOX_BYTES_MAX + message.length,
    `${kept} bytes were kept`,
  );
  await settle();
  assert.equal(seen, [], "nothing is handed on while it is held");
  link.proceed();
  await settle();
  assert.is(seen.length, kept / message.length);
  assert.equal(connection.calls, ["pause", "resume"]);
  link.close("done");
});

test("a message belongs to the connection again when its callback has returned", async () => {
  const connection = new FakeConnection();
  const seen: string[] = [];
  const link = linkOver(connection, seen);
  const buffer = notice("ERR_FIRST");
  connection.onMessage(buffer);
  assert.equal(seen, [], "nothing happens within the callback");
  buffer.fill(0);
  await settle();
  assert.equal(seen, ["ERR_FIRST"]);
  link.close("done");
  link.close("again");
  connection.onMessage(notice("ERR_LATE"));
  connection.onClose("by the peer");
  await settle();
  assert.equal(seen, ["ERR_FIRST", "closed: done"], "the end comes once, and nothing after it");
});

test.run();
