// The real clock, randomness and authenticator.

import { nodeWorld } from "../../src/io/node_world.ts";
import { assert, suite } from "../support/harness.ts";

const test = suite("node world");
const world = nodeWorld();

test("the clock moves forward, timers fire in order, cancelled ones do not", async () => {
  const startMs = world.clock.nowMs();
  const fired: string[] = [];
  world.clock.setTimer(5, () => fired.push("cancelled")).cancel();
  const late = world.clock.setTimer(2 ** 40, () => fired.push("in 35 years"));
  await new Promise<void>((resolve) => {
    world.clock.setTimer(20, () => {
      fired.push("second");
      resolve();
    });
    world.clock.setTimer(1, () => fired.push("first"));
  });
  late.cancel();
  assert.equal(fired, ["first", "second"]);
  assert.ok(world.clock.nowMs() - startMs >= 15);
});

test("random bytes are as many as asked for, and differ", () => {
  assert.is(world.random.bytes(0).length, 0);
  const bytes = world.random.bytes(16);
  assert.is(bytes.constructor, Uint8Array);
  assert.is(bytes.length, 16);
  assert.not.equal(bytes, world.random.bytes(16));
});

test("the authenticator is HMAC-SHA-256 (RFC 4231, case 2)", () => {
  const text = (value: string) => new TextEncoder().encode(value);
  const mac = world.authenticator.hmac(text("Jefe"), text("what do ya want for nothing?"));
  const hex = Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join("");
  assert.is(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
});

test.run();
