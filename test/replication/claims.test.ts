// What somebody claims who was let in: whose source it is, what was received and synced, and who is in sync.

import { describeMirror } from "../../src/replication/mirror_state.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";
import { override, Pair, TIMEOUT_MS } from "./pair.ts";
import { RawPeer } from "./raw_peer.ts";

const test = suite("claims");
const bytes = (length: number) => new Uint8Array(length);

test("another source is refused while one is connected, before the mirror is bound to either", async () => {
  const pair = await Pair.create();
  let isFirstIn = false;
  pair.wrapMirror = (volume) =>
    override(volume, {
      adoptImage: () => {
        // The first image never comes to its end.
        isFirstIn = true;
        return new Promise(() => {});
      },
      persist: async () => {},
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.until("the first one is in", () => isFirstIn);
  assert.is(pair.mirror.volume.persisted.boundTo, null);
  const peer = await RawPeer.dial(pair);
  peer.hello("orders");
  await pair.until("a challenge", () => peer.all("challenge").length > 0);
  peer.prove("orders");
  await pair.until("a proof", () => peer.all("proof").length > 0);
  peer.introduce(pair.source.volume, { volumeId: new Uint8Array(16).fill(0xab) });
  await pair.until("an answer", () => peer.refusal !== null || peer.all("mirrorState").length > 0);
  assert.is(peer.refusal, "ERR_SOURCE_CONNECTED");
  assert.not.ok(pair.mirror.events.some((text) => text.includes("ERR_REPLACED")));
});

test("an acknowledgement of what was not sent, not received or of another generation ends the session", async () => {
  const pair = await Pair.inSync();
  await pair.write(1, 1);
  const { volume } = pair.source;
  const state = await describeMirror(pair.mirror.volume);
  await pair.relationship.close();
  await pair.closeMirror();
  // Somebody with all that the mirror has takes its place.
  const foul = [
    { received: 2, durable: 1 },
    { received: 2 ** 40, durable: 2 ** 40 },
    { received: 0, durable: 1 },
    // A proper one, but of another generation.
    { received: 1, durable: 1 },
  ];
  const codes = ["ERR_PROTOCOL", "ERR_PROTOCOL", "ERR_PROTOCOL", "ERR_GENERATION"];
  const peers: RawPeer[] = [];
  const listener = await pair.network.transport.listen("mirror:8750", (connection) => {
    const peer = new RawPeer(connection);
    peers.push(peer);
    peer.generation = { number: volume.generation.number, id: volume.generation.id };
    peer.send("challenge", { protocol: 1, hasSecret: false, nonce: bytes(32) });
    peer.send("proof", { proof: bytes(32) });
    peer.send("mirrorState", state);
  });
  pair.startRelationship();
  for (const [index, ack] of foul.entries()) {
    const forwarded = () => peers[index]?.all("forward").length === 1;
    await pair.until(`forwarding ${index}`, forwarded, 20 * TIMEOUT_MS);
    if (codes[index] === "ERR_GENERATION") peers[index]!.generation = { number: 1, id: 77n };
    peers[index]!.send("ack", ack);
    await pair.until(`${index} is sent away`, () => peers[index]!.closedWith !== null);
    assert.is(peers[index]!.refusal, codes[index], JSON.stringify(ack));
    assert.is(pair.relationship.status().acknowledgedSequence, 1);
  }
  await listener.close();
  await pair.closeSource();
});

test("a mirror is in sync when it has recorded that itself, whatever its source believes", async () => {
  const pair = await Pair.inSync();
  await pair.write(1, 1);
  await pair.closeSource();
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  const { volume } = pair.mirror;
  // An image was taken over and nothing has been confirmed since: the source, which was never alone, is in sync.
  await volume.persist({ inSync: false });
  await pair.openSource();
  await pair.relationship.close();
  const peer = await RawPeer.dial(pair);
  await peer.enter(pair);
  const history = [...volume.history];
  peer.send("forward", { after: volume.log.tail, inSync: true, wantsReceived: false, history });
  await pair.until("forwarding", () => peer.all("ack").length > 0);
  assert.is(volume.persisted.inSync, false);
  peer.close();
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  const code = await pair.service.promote("orders").catch((error: { code: string }) => error.code);
  assert.is(code, "ERR_NOT_IN_SYNC");
  await pair.source.volume.close();
  await pair.closeMirror();
});

test("a mirror says that it is in sync when it has recorded that", async () => {
  const pair = await Pair.create();
  let release = (): void => {};
  let isHeld = false;
  pair.wrapMirror = (volume) =>
    override(volume, {
      persist: async (changes) => {
        isHeld ||= changes.everInSync === true;
        if (changes.everInSync) await new Promise<void>((resolve) => (release = resolve));
        return volume.persist(changes);
      },
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.until("the mirror is about to record it", () => isHeld);
  await settle(2000);
  assert.is(pair.state, "catching up");
  assert.is(pair.source.volume.persisted.everInSync, false);
  release();
  await pair.untilInSync();
  await pair.close();
});

test.run();
