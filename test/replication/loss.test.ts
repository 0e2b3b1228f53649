// Links and machines that go away and come back: stop and continue, alone and rejoin, promotion and fencing.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { MirrorService } from "../../src/replication/mirror.ts";
import { SourceRelationship } from "../../src/replication/source.ts";
import { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";
import { content } from "../volume/fixture.ts";
import { BLOCKS, Pair, TIMEOUT_MS } from "./pair.ts";

const test = suite("loss");
const codeOf = async (promise: Promise<unknown>) =>
  promise.then(
    () => "resolved",
    (error: { code?: string }) => error.code ?? String(error),
  );
const isPending = async (promise: Promise<unknown>) => {
  const first = await Promise.race([promise.catch(() => {}), settle(200).then(() => "pending")]);
  return first === "pending";
};
const CONTINUE = { target: { onMirrorLoss: "continue" as const } };

test("stop: writes wait while the mirror is away, however long, and go on when it is back", async () => {
  const pair = await Pair.inSync();
  await pair.write(1, 1);
  pair.network.isDown = true;
  pair.cut();
  const write = pair.source.volume.write(BLOCK_BYTES, content(1, 2));
  await pair.clock.advance(10 * TIMEOUT_MS);
  assert.ok(await isPending(write));
  assert.is(pair.state, "degraded");
  assert.match(pair.relationship.status().detail, /waiting for the mirror/);
  assert.is(pair.relationship.status().aloneSince, null);
  pair.network.isDown = false;
  await pair.waitFor("the write", write);
  await pair.untilInSync();
  assert.is(pair.mirror.volume.position.sequence, pair.source.volume.position.sequence);
  await pair.close();
});

test("stop: after writeTimeoutMs a write is in doubt, and still there when the mirror is back", async () => {
  const pair = await Pair.inSync({ writeTimeoutMs: 2000 });
  pair.network.isDown = true;
  pair.cut();
  const code = codeOf(pair.source.volume.write(BLOCK_BYTES, content(1, 2)));
  await pair.clock.advance(2500);
  assert.is(await code, "ERR_MIRROR_LOST");
  pair.network.isDown = false;
  await pair.untilInSync();
  await pair.expect(pair.source.volume, 1, 2);
  await pair.close();
});

test("continue: alone after mirrorTimeoutMs, recorded before the first acknowledgement, then back", async () => {
  const pair = await Pair.inSync(CONTINUE);
  await pair.write(1, 1);
  const { sequence } = pair.source.volume.position;
  pair.network.isDown = true;
  pair.cut();
  const write = pair.source.volume.write(BLOCK_BYTES, content(1, 2));
  await pair.clock.advance(TIMEOUT_MS / 2);
  assert.ok(await isPending(write), "too early");
  await pair.waitFor("the write", write);
  assert.is(pair.source.volume.persisted.aloneSince, sequence);
  for (let lba = 10; lba < 30; lba++) await pair.write(lba, 3);
  const status = pair.relationship.status();
  assert.is(status.state, "degraded");
  assert.equal(status.ledger, { entries: 21, bytes: 21 * BLOCK_BYTES });
  assert.is(status.aloneSince, sequence);
  pair.network.isDown = false;
  await pair.untilInSync();
  assert.equal(pair.relationship.status().ledger, { entries: 0, bytes: 0 });
  assert.is(pair.source.volume.persisted.aloneSince, null);
  assert.is(pair.mirror.volume.position.sequence, pair.source.volume.position.sequence);
  await pair.write(5, 5);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

test("continue: nothing is acknowledged alone before that is durable", async () => {
  const pair = await Pair.inSync(CONTINUE);
  const { volume } = pair.source;
  pair.network.isDown = true;
  pair.cut();
  const write = volume.write(BLOCK_BYTES, content(1, 2));
  await pair.until("durable here", () => volume.durable === 1);
  // From now on the source's disks do nothing any more: the record cannot be made.
  pair.source.storage.stop();
  await pair.clock.advance(10 * TIMEOUT_MS);
  assert.ok(await isPending(write));
});

test("continue: alone for longer than the log holds, the mirror gets an image", async () => {
  const pair = await Pair.inSync(CONTINUE);
  pair.network.isDown = true;
  pair.cut();
  for (let round = 0; round < 8; round++) {
    for (let lba = 0; lba < BLOCKS; lba += 128) await pair.write(lba, round + 1, 128);
  }
  pair.network.isDown = false;
  await pair.untilInSync();
  assert.ok(
    pair.source.events.some((text) => /image|no longer holds/.test(text)) || pair.mirror.volume.cp > 5,
  );
  await pair.write(5, 50);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

test("a half-open link is found, and writes go on over a new one", async () => {
  const pair = await Pair.inSync();
  pair.loseAll();
  const write = pair.source.volume.write(0, content(0, 1));
  await pair.until("a new link", () => pair.network.links.length > 1, 3 * TIMEOUT_MS);
  await pair.waitFor("the write", write);
  await pair.untilInSync();
  await pair.close();
});

test("an idle half-open link is found by both sides", async () => {
  const pair = await Pair.inSync();
  pair.loseAll();
  await pair.until("a new link", () => pair.network.links.length > 1, 3 * TIMEOUT_MS);
  await pair.untilInSync();
  assert.ok(pair.service.connected("orders"));
  await pair.close();
});

test("an idle pair stays connected", async () => {
  const pair = await Pair.inSync();
  await pair.clock.advance(20 * TIMEOUT_MS);
  assert.is(pair.network.links.length, 1);
  assert.is(pair.state, "in sync");
  await pair.close();
});

test("promotion serves every acknowledged write; the old source is fenced, and stays so", async () => {
  const pair = await Pair.inSync();
  for (let lba = 0; lba < 40; lba++) await pair.write(lba, lba + 1);
  await pair.consistencyPoint();
  for (let lba = 0; lba < 20; lba++) await pair.write(lba, 100 + lba);
  await pair.crashSource();
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  const promotion = await pair.waitFor("promotion", pair.service.promote("orders"));
  assert.is(promotion.number, 2);
  assert.not.ok(promotion.isForced);
  const { volume } = pair.mirror;
  for (let lba = 0; lba < 40; lba++) await pair.expect(volume, lba, lba < 20 ? 100 + lba : lba + 1);
  await pair.waitFor("a write", volume.write(0, content(0, 777)));
  await pair.openSource();
  await pair.until("fenced", () => pair.relationship.status().detail.includes("fenced by generation 2"));
  assert.is(await codeOf(pair.source.volume.read(0, BLOCK_BYTES)), "ERR_FENCED");
  assert.is(await codeOf(pair.source.volume.write(0, content(0, 1))), "ERR_FENCED");
  assert.is(pair.source.volume.role, "mirror");
  await pair.closeSource();
  await pair.closeMirror();
  await pair.openSource();
  assert.is(await codeOf(pair.source.volume.read(0, BLOCK_BYTES)), "ERR_FENCED");
  assert.match(pair.relationship.status().detail, /fenced by generation 2/);
  await pair.closeSource();
});

/** The promoted mirror gets the old source as its mirror. */
async function swapRoles(pair: Pair): Promise<SourceRelationship> {
  const world = pair.world(pair.source.storage);
  const { source, mirror } = pair;
  source.kernel = Kernel.createSync({ memoryBytes: 24 * 1024 * 1024 });
  source.volume = await Volume.open(world, source.kernel, pair.sourceConfig);
  const service = new MirrorService({
    world,
    kernel: source.kernel,
    volumes: { find: () => source.volume },
    secret: null,
  });
  await world.transport.listen("old:1", (connection) => service.accept(connection));
  const target = { url: "ws://old:1", mode: "sync" as const, onMirrorLoss: "stop" as const };
  const { kernel, volume } = mirror;
  const relationship = new SourceRelationship({ world, kernel, volume, target, secret: null });
  relationship.start();
  return relationship;
}

test("the old source becomes the mirror of the promoted one, if it has nothing else", async () => {
  const pair = await Pair.inSync();
  for (let lba = 0; lba < 20; lba++) await pair.write(lba, 1);
  await pair.crashSource();
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  await pair.waitFor("promotion", pair.service.promote("orders"));
  const { volume } = pair.mirror;
  await pair.waitFor("a write", volume.write(0, content(0, 2)));
  const relationship = await swapRoles(pair);
  await pair.until("in sync the other way", () => relationship.status().state === "in sync");
  await pair.waitFor("a write", volume.write(BLOCK_BYTES, content(1, 3)));
  await pair.waitFor("a consistency point", volume.consistencyPoint());
  await pair.untilEqual();
  assert.equal(pair.source.volume.persisted.boundTo, volume.volumeId);
  await relationship.close();
});

test("the old source is not overwritten if it has acknowledged more than the promoted one", async () => {
  const pair = await Pair.inSync(CONTINUE);
  await pair.write(1, 1);
  pair.network.isDown = true;
  pair.cut();
  await pair.write(1, 2);
  await pair.crashSource("keep");
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  await pair.waitFor("promotion", pair.service.promote("orders"));
  pair.network.isDown = false;
  const relationship = await swapRoles(pair);
  await pair.until("diverged", () => relationship.status().state === "diverged");
  assert.is(pair.source.volume.position.sequence, 2, "the fork is kept");
  await relationship.close();
});

test("promotion is refused while the source is connected, and when the mirror is not in sync", async () => {
  const pair = await Pair.create(CONTINUE);
  await pair.openMirror();
  assert.is(await codeOf(pair.service.promote("orders", { force: true })), "ERR_NEVER_IN_SYNC");
  await pair.openSource();
  await pair.untilInSync();
  assert.is(await codeOf(pair.service.promote("orders")), "ERR_SOURCE_CONNECTED");
  assert.is(await codeOf(pair.service.promote("orders", { force: true })), "ERR_SOURCE_CONNECTED");
  assert.is(await codeOf(pair.service.promote("others")), "ERR_NO_VOLUME");
  // Alone, then caught in the middle of catching up.
  pair.network.isDown = true;
  pair.cut();
  for (let lba = 0; lba < BLOCKS; lba += 64) await pair.write(lba, 9, 64);
  pair.network.isDown = false;
  await pair.until("catching up", () => pair.mirror.volume.persisted.inSync === false);
  pair.network.isDown = true;
  pair.cut();
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  assert.is(await codeOf(pair.service.promote("orders")), "ERR_NOT_IN_SYNC");
  const promotion = await pair.service.promote("orders", { force: true });
  assert.ok(promotion.isForced);
  await pair.close();
});

test("a source that went on alone and a promoted mirror have diverged: nothing is overwritten", async () => {
  const pair = await Pair.inSync(CONTINUE);
  await pair.write(1, 1);
  pair.network.isDown = true;
  pair.cut();
  await pair.write(1, 2);
  // It restarts alone: a new generation, which the mirror never heard of.
  await pair.closeSource();
  await pair.openSource();
  await pair.write(1, 3);
  assert.is(pair.source.volume.persisted.history.length, 2);
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  await pair.waitFor("promotion", pair.service.promote("orders"));
  await pair.waitFor("a write", pair.mirror.volume.write(BLOCK_BYTES, content(1, 4)));
  pair.network.isDown = false;
  await pair.until("diverged", () => pair.state === "diverged");
  await pair.expect(pair.source.volume, 1, 3);
  await pair.expect(pair.mirror.volume, 1, 4);
  await pair.closeSource();
  await pair.openSource();
  await pair.until("diverged", () => pair.state === "diverged");
  assert.is(await codeOf(pair.source.volume.read(0, BLOCK_BYTES)), "ERR_DIVERGED");
  await pair.close();
});

test("continue: a restart without the mirror begins a new generation, which the mirror then follows", async () => {
  const pair = await Pair.inSync(CONTINUE);
  await pair.write(1, 1);
  pair.network.isDown = true;
  await pair.closeSource();
  await pair.openSource();
  const read = pair.source.volume.read(BLOCK_BYTES, BLOCK_BYTES);
  assert.ok(await isPending(read), "served before it could know");
  await pair.waitFor("the read", read);
  assert.is(pair.source.volume.generation.number, 2);
  await pair.write(1, 2);
  pair.network.isDown = false;
  await pair.untilInSync();
  assert.is(pair.mirror.volume.generation.number, 2);
  await pair.write(1, 3);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

test("stop: a restart without the mirror serves nothing", async () => {
  const pair = await Pair.inSync();
  pair.network.isDown = true;
  await pair.closeSource();
  await pair.openSource();
  const read = pair.source.volume.read(BLOCK_BYTES, BLOCK_BYTES);
  await pair.clock.advance(20 * TIMEOUT_MS);
  assert.ok(await isPending(read));
  pair.network.isDown = false;
  await pair.untilInSync();
  await pair.waitFor("the read", read);
  await pair.close();
});

test.run();
