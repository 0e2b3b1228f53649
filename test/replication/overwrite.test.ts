// A mirror decides for itself what may be put over its entries: a source with a fault, or with an old disk, that asks
// for it is refused, and the mirror stays what it was.

import { LOG_ENTRIES_OFFSET } from "../../assembly/format.ts";
import type { BodyOf } from "../../src/replication/messages.ts";
import type { GenerationRecord } from "../../src/replication/port.ts";
import { SourceRelationship } from "../../src/replication/source.ts";
import { assert, suite } from "../support/harness.ts";
import { content } from "../volume/fixture.ts";
import { Pair, TIMEOUT_MS } from "./pair.ts";
import { RawPeer } from "./raw_peer.ts";

const test = suite("overwriting a mirror");
const WRITES = 6;

/** A mirror with acknowledged entries, whose source is gone for good. */
async function orphan(): Promise<Pair> {
  const pair = await Pair.inSync();
  for (let lba = 0; lba < WRITES; lba++) await pair.write(lba, 1);
  await pair.relationship.close();
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  return pair;
}

/** Somebody who says that it is the source, and where it is; `act` is what it wants. */
async function pretend(pair: Pair, tail: number, act: (peer: RawPeer) => void): Promise<RawPeer> {
  const peer = await RawPeer.dial(pair);
  peer.hello("orders");
  await pair.until("a challenge", () => peer.all("challenge").length > 0);
  peer.prove("orders");
  await pair.until("a proof", () => peer.all("proof").length > 0);
  const { volume } = pair.source;
  const chain = await volume.log.chainAt(tail);
  peer.introduce(volume, { tail: { sequence: tail, chain: chain ?? 9n } });
  await pair.until("the mirror's state", () => peer.all("mirrorState").length > 0);
  act(peer);
  await pair.until("the mirror's answer", () => peer.closedWith !== null);
  return peer;
}

async function imageAfter(pair: Pair, sequence: number, changes: Partial<BodyOf<"image">> = {}) {
  const { volume } = pair.source;
  const chain = (await volume.log.chainAt(sequence))!;
  const history = [...volume.history];
  const root = new Uint8Array(16).fill(3);
  return { round: 1, cp: 0, seal: { sequence, chain }, root, history, ...changes };
}

async function branchAt(pair: Pair, sequence: number): Promise<GenerationRecord[]> {
  const startChain = (await pair.source.volume.log.chainAt(sequence))!;
  return [...pair.source.volume.history, { number: 2, id: 77n, startSequence: sequence, startChain }];
}

/** It has everything, and knows it: nobody has to force anything. */
async function isUntouched(pair: Pair): Promise<void> {
  const promotion = await pair.waitFor("promotion", pair.service.promote("orders"));
  assert.not.ok(promotion.isForced);
  assert.is(promotion.startSequence, WRITES);
  for (let lba = 0; lba < WRITES; lba++) await pair.expect(pair.mirror.volume, lba, 1);
  await pair.source.volume.close();
  await pair.closeMirror();
}

test("a source that ends before what was acknowledged does not replace it with an image", async () => {
  const pair = await orphan();
  const image = await imageAfter(pair, 0);
  const peer = await pretend(pair, 2, (it) => it.send("image", image));
  assert.is(peer.refusal, "ERR_OVERWRITE");
  assert.match(peer.all("refuse")[0]!.text, /were durable, and the source ends at 2/);
  await isUntouched(pair);
});

test("a new generation that left before what was acknowledged does not replace it", async () => {
  const pair = await orphan();
  const image = await imageAfter(pair, 0, { history: await branchAt(pair, 3) });
  const peer = await pretend(pair, 3, (it) => it.send("image", image));
  assert.is(peer.refusal, "ERR_OVERWRITE");
  assert.match(peer.all("refuse")[0]!.text, /generation 2 .* lacks them/);
  await isUntouched(pair);
});

test("an image on another chain is refused, also one of a source that says it has more", async () => {
  const pair = await orphan();
  const image = await imageAfter(pair, 0, { seal: { sequence: 3, chain: 5n } });
  const peer = await pretend(pair, 100, (it) => it.send("image", image));
  assert.is(peer.refusal, "ERR_OVERWRITE");
  assert.match(peer.all("refuse")[0]!.text, /chains differ at sequence 3/);
  await isUntouched(pair);
});

test("entries of a generation that began before our last one are not taken", async () => {
  const pair = await orphan();
  const history = await branchAt(pair, 3);
  const { tail } = pair.mirror.volume.log;
  const forward = { after: { ...tail }, inSync: true, wantsReceived: false, history };
  const peer = await pretend(pair, 100, (it) => it.send("forward", forward));
  assert.is(peer.refusal, "ERR_GENERATION");
  await isUntouched(pair);
});

test("a mirror that was promoted by force over damage has a mirror of its own at once", async () => {
  const pair = await Pair.inSync();
  for (let lba = 0; lba < WRITES; lba++) await pair.write(lba, 1);
  await pair.closeSource();
  await pair.closeMirror();
  const { storage } = pair.mirror;
  // Somewhere in the payload of the third entry.
  for (const path of storage.paths.filter((each) => each.startsWith("log."))) {
    storage.poke(path, LOG_ENTRIES_OFFSET + 2 * 4608 + 1000, new Uint8Array([1, 2, 3, 4]));
  }
  await pair.openMirror();
  const promotion = await pair.waitFor("promotion", pair.service.promote("orders", { force: true }));
  assert.is(promotion.startSequence, 2);
  const { volume, kernel } = pair.mirror;
  const relationship = new SourceRelationship({
    world: pair.world(storage),
    kernel,
    volume,
    target: { url: "ws://nobody:1", mode: "sync", onMirrorLoss: "continue", mirrorTimeoutMs: TIMEOUT_MS },
    secret: null,
  });
  relationship.start();
  // It knows that nothing is missing any more: it goes on alone.
  await pair.waitFor("a write", volume.write(0, content(0, 9)));
  await relationship.close();
  await pair.closeMirror();
});

test.run();
