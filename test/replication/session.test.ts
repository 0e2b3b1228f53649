// Who may talk to whom: secrets, owners, duplicate sessions, and peers that say what they should not.

import fc from "fast-check";
import type { Connection } from "../../src/io/transport.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";
import { content } from "../volume/fixture.ts";
import { override, Pair, type PairOptions, TIMEOUT_MS } from "./pair.ts";
import { RawPeer } from "./raw_peer.ts";

const test = suite("session");
const SECRET = new Uint8Array(32).fill(42);
const OTHER = new Uint8Array(32).fill(43);

async function refusedWith(options: PairOptions, code: string): Promise<void> {
  const pair = await Pair.create(options);
  await pair.openMirror();
  await pair.openSource();
  await pair.until(code, () => pair.relationship.status().detail.includes(code));
  assert.is(pair.state, "degraded");
  assert.is(pair.mirror.volume.persisted.boundTo, null);
  assert.not.ok(pair.service.connected("orders"));
  await pair.close();
}

test("a shared secret lets both in", async () => {
  const pair = await Pair.inSync({ sourceSecret: SECRET, mirrorSecret: SECRET });
  await pair.write(1, 1);
  await pair.close();
});

test("a wrong secret, or one on one side only, is refused, and says so", async () => {
  await refusedWith({ sourceSecret: OTHER, mirrorSecret: SECRET }, "ERR_AUTHENTICATION");
  await refusedWith({ sourceSecret: null, mirrorSecret: SECRET }, "ERR_SECRET_REQUIRED");
  await refusedWith({ sourceSecret: SECRET, mirrorSecret: null }, "ERR_SECRET_MISSING");
});

test("a mirror that does not know the secret is refused by the source", async () => {
  const pair = await Pair.create({ sourceSecret: SECRET });
  const peers: RawPeer[] = [];
  await pair.network.transport.listen("mirror:8750", (connection) => {
    const peer = new RawPeer(connection);
    peers.push(peer);
    peer.send("challenge", { protocol: 1, hasSecret: true, nonce: new Uint8Array(32) });
    peer.send("proof", { proof: new Uint8Array(32) });
  });
  await pair.openSource();
  await pair.until("refused", () => peers[0]?.refusal === "ERR_AUTHENTICATION");
  assert.is(peers[0]!.all("sourceState").length, 0, "nothing was said about the volume");
  await pair.closeSource();
});

test("whoever has not proved the secret cannot fence a source", async () => {
  const pair = await Pair.create({ sourceSecret: SECRET });
  const history = () => [
    ...pair.source.volume.history,
    { number: 2, id: 5n, startSequence: 0, startChain: 0n },
  ];
  let refusals = 0;
  const lie = (connection: Connection) => {
    refusals += 1;
    new RawPeer(connection).send("refuse", { code: "ERR_FENCED", text: "give up", history: history() });
  };
  const listener = await pair.network.transport.listen("mirror:8750", lie);
  await pair.openSource();
  await pair.until("refused twice", () => refusals > 1);
  assert.is(pair.source.volume.persisted.fencedBy, null);
  assert.is(pair.source.volume.role, "source");
  await listener.close();
  await pair.closeSource();
});

test("another volume name, another size and a smaller log are refused", async () => {
  await refusedWith({ target: { volume: "nothing" } }, "ERR_NO_SUCH_VOLUME");
  await refusedWith({ mirror: { sizeBytes: 512 * 4096 } }, "ERR_SIZE_DIFFERS");
  await refusedWith({ source: { logBytes: 16 * 1024 * 1024 } }, "ERR_MIRROR_LOG_SMALL");
});

test("before the proof, a volume that exists looks like one that does not", async () => {
  const pair = await Pair.create({ mirrorSecret: SECRET });
  await pair.openMirror();
  const answers: string[] = [];
  for (const name of ["orders", "nothing"]) {
    const peer = await RawPeer.dial(pair);
    peer.hello(name, true);
    await pair.until("a challenge", () => peer.all("challenge").length > 0);
    peer.prove(name, OTHER);
    await pair.until("closed", () => peer.closedWith !== null);
    answers.push(peer.messages.map((message) => message.name).join() + peer.refusal);
  }
  assert.is(answers[0], answers[1]);
  await pair.closeMirror();
});

test("a mirror is bound to its source: another one is refused, and both are named", async () => {
  const pair = await Pair.inSync();
  await pair.closeSource();
  const other = await Pair.create();
  await other.openSource();
  const peer = await RawPeer.dial(pair);
  peer.hello("orders");
  await pair.until("a challenge", () => peer.all("challenge").length > 0);
  peer.prove("orders");
  peer.introduce(other.source.volume, { volumeId: new Uint8Array(16).fill(0xab) });
  await pair.until("refused", () => peer.refusal !== null);
  assert.is(peer.refusal, "ERR_NOT_BOUND");
  assert.match(peer.all("refuse")[0]!.text, /bound to source [0-9a-f]{32}, this is (ab){16}/);
  await other.closeSource();
  await pair.closeMirror();
});

test("a newer session of the same source replaces the older one, and they never mix", async () => {
  const pair = await Pair.inSync();
  await pair.write(1, 1);
  const first = pair.network.links.length;
  const peer = await RawPeer.dial(pair);
  await peer.enter(pair);
  assert.ok(pair.mirror.events.some((text) => text.includes("ERR_REPLACED")));
  // The older one comes back and replaces the raw one in turn; its writes go on.
  await pair.until("replaced", () => peer.refusal === "ERR_REPLACED", 20 * TIMEOUT_MS);
  await pair.write(2, 2);
  await pair.untilInSync();
  assert.ok(pair.network.links.length > first);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

test("the newer session waits until the older one's work has ended", async () => {
  const pair = await Pair.create();
  let running = 0;
  let release: () => void = () => {};
  pair.wrapMirror = (volume) =>
    override(volume, {
      applyConsistencyPoint: async (data, options) => {
        running += 1;
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        running -= 1;
        return volume.applyConsistencyPoint(data, options);
      },
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  await pair.write(1, 1);
  await pair.waitFor("a consistency point", pair.source.volume.consistencyPoint());
  await pair.until("the mirror works", () => running === 1);
  pair.cut();
  const peer = await RawPeer.dial(pair);
  peer.hello("orders");
  await pair.until("a challenge", () => peer.all("challenge").length > 0);
  peer.prove("orders");
  await pair.until("a proof", () => peer.all("proof").length > 0);
  peer.introduce(pair.source.volume);
  await settle(2000);
  assert.is(peer.all("mirrorState").length, 0, "it was let in too early");
  pair.wrapMirror = (volume) => volume;
  release();
  await pair.until("let in", () => peer.all("mirrorState").length > 0 || peer.closedWith !== null);
  await pair.close();
});

test("messages that do not belong to the phase end the connection with a reason", async () => {
  const pair = await Pair.inSync();
  const strangers: ((peer: RawPeer) => void)[] = [
    (peer) => peer.introduce(pair.source.volume),
    (peer) => peer.send("forward", forwardFrom(pair)),
    (peer) => peer.send("ack", { received: 1, durable: 1 }),
    (peer) => peer.sendBytes(new Uint8Array(0)),
    (peer) => peer.sendBytes(new Uint8Array(31)),
    (peer) => peer.sendBytes(new Uint8Array(5000).fill(0xff)),
    (peer) => {
      peer.hello("orders");
      peer.introduce(pair.source.volume);
    },
    (peer) => peer.hello("orders", false, 2),
  ];
  for (const [index, act] of strangers.entries()) {
    const peer = await RawPeer.dial(pair);
    act(peer);
    await pair.until(`stranger ${index} is refused`, () => peer.closedWith !== null);
    assert.match(peer.refusal ?? "", /^ERR_PROTOCOL/);
  }
  assert.is(pair.state, "in sync");
  await pair.write(1, 1);
  await pair.close();
});

const forwardFrom = (pair: Pair) => {
  const { volume } = pair.source;
  return { after: volume.log.tail, inSync: true, wantsReceived: false, history: [...volume.history] };
};

test("strangers who say nothing are sent away after ten seconds, and are few", async () => {
  const pair = await Pair.create();
  await pair.openMirror();
  const peers: RawPeer[] = [];
  for (let i = 0; i < 80; i++) peers.push(await RawPeer.dial(pair));
  await settle(2000);
  assert.is(peers.filter((peer) => peer.closedWith !== null).length, 80 - 64);
  await pair.clock.advance(10_100);
  await settle(2000);
  assert.is(peers.filter((peer) => peer.closedWith !== null).length, 80);
  await pair.closeMirror();
});

test("whatever a source says after the handshake, the mirror keeps its volume and its other duties", async () => {
  const pair = await Pair.inSync();
  await pair.write(1, 1);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.closeSource();
  const { tail } = pair.mirror.volume.log;
  const hash = new Uint8Array(16);
  const seal = { sequence: tail.sequence, chain: tail.chain };
  const foul: ((peer: RawPeer) => void)[] = [
    (peer) => peer.send("forward", { ...forwardFrom(pair), after: { sequence: 99, chain: 1n } }),
    (peer) => peer.send("forward", { ...forwardFrom(pair), after: { ...tail, chain: 1n } }),
    (peer) => peer.send("forward", { ...forwardFrom(pair), history: [...pair.source.volume.history, GAP] }),
    (peer) => peer.send("adopt", { after: { sequence: 0, chain: 5n }, through: 1 }),
    (peer) => peer.send("adopt", { after: tail, through: 2 ** 40 }),
    (peer) => peer.send("cpBegin", { cp: 9, seal, firstSequence: 1, blocks: 1, trims: 0 }),
    (peer) => peer.send("blocks", { request: 3, fault: "", blocks: new Uint8Array(4096) }),
    (peer) => peer.send("sync", { through: 2 ** 40 }),
    forwarding(pair, (peer) => peer.send("sync", { through: 2 ** 40 })),
    forwarding(pair, (peer) => peer.send("cpEnd", { cp: 9, root: hash })),
    forwarding(pair, (peer) => peer.send("cpBegin", { ...BEGIN, seal, blocks: 2 ** 50 })),
    forwarding(pair, (peer) => peer.send("cpBegin", { ...BEGIN, seal, trims: 2 ** 50 })),
    forwarding(pair, (peer) => {
      peer.send("cpBegin", { ...BEGIN, seal, blocks: 1 });
      peer.send("cpBlocks", { cp: 9, blocks: new Uint8Array(48) });
    }),
    forwarding(pair, (peer) => {
      peer.send("cpBegin", { ...BEGIN, seal, blocks: 2 });
      peer.send("cpBlocks", { cp: 9, blocks: new Uint8Array(48) });
    }),
    forwarding(pair, (peer) => {
      peer.send("cpBegin", { ...BEGIN, seal, trims: 1 });
      peer.send("cpTrims", { cp: 9, trims: new Uint8Array(16).fill(0xff) });
    }),
    forwarding(pair, (peer) => {
      peer.send("cpBegin", { ...BEGIN, seal, blocks: 3 });
      peer.send("cpEnd", { cp: 9, root: hash });
    }),
    forwarding(pair, (peer) => peer.send("blocks", { request: 3, fault: "", blocks: new Uint8Array(0) })),
    forwarding(pair, (peer) => peer.sendBytes(entryLike(80))),
    forwarding(pair, (peer) => {
      peer.generation = { number: 1, id: 77n };
      peer.send("cpCommitted", { cp: 1, sequence: 1 });
    }),
    forwarding(pair, (peer) => {
      peer.generation = { number: 9, id: 77n };
      peer.send("cpCommitted", { cp: 1, sequence: 1 });
    }),
  ];
  for (const [index, act] of foul.entries()) {
    const peer = await RawPeer.dial(pair);
    await peer.enter(pair);
    act(peer);
    await pair.until(`foul ${index} is refused`, () => peer.closedWith !== null);
    assert.match(peer.refusal ?? "none", /^ERR_(PROTOCOL|POSITION|GENERATION)/, `foul ${index}`);
  }
  await pair.openSource();
  await pair.untilInSync();
  await pair.expect(pair.source.volume, 1, 1);
  await pair.close();
});

const GAP = { number: 7, id: 1n, startSequence: 0, startChain: 0n };
const BEGIN = { cp: 9, firstSequence: 1, blocks: 0, trims: 0 };

/** Has the magic of an entry, and nothing else right. */
function entryLike(length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(3);
  new DataView(bytes.buffer).setUint32(72, 0x4c56524d, true);
  return bytes;
}

function forwarding(pair: Pair, act: (peer: RawPeer) => void): (peer: RawPeer) => void {
  return (peer) => {
    const { volume } = pair.mirror;
    const history = [...volume.history];
    peer.send("forward", { after: volume.log.tail, inSync: true, wantsReceived: false, history });
    act(peer);
  };
}

test("any bytes in any phase close the connection at the most", async () => {
  const pair = await Pair.inSync();
  const run = fc.asyncProperty(
    fc.constantFrom("hello", "proof", "state"),
    fc.uint8Array({ minLength: 0, maxLength: 300 }),
    fc.boolean(),
    async (phase, bytes, isEntry) => {
      const peer = await RawPeer.dial(pair);
      if (phase !== "hello") peer.hello("orders");
      if (phase === "state") {
        await pair.until("a challenge", () => peer.all("challenge").length > 0);
        peer.prove("orders");
      }
      peer.sendBytes(isEntry && bytes.length >= 80 ? mix(bytes) : bytes);
      await pair.until("closed", () => peer.closedWith !== null);
    },
  );
  await fc.assert(run, { numRuns: 60 });
  assert.is(pair.state, "in sync");
  await pair.close();
});

function mix(bytes: Uint8Array): Uint8Array {
  new DataView(bytes.buffer).setUint32(72, 0x4c56524d, true);
  return bytes;
}

test("a mirror that talks nonsense is dropped by the source, which tries again", async () => {
  const pair = await Pair.create();
  const nonsense: ((peer: RawPeer) => void)[] = [
    (peer) => peer.sendBytes(new Uint8Array(100).fill(1)),
    (peer) => peer.send("ack", { received: 5, durable: 5 }),
    (peer) =>
      peer.send("hello", { protocol: 1, hasSecret: false, timeoutMs: 99, nonce: bytes(32), volume: "x" }),
    (peer) => peer.send("challenge", { protocol: 7, hasSecret: false, nonce: bytes(32) }),
    (peer) => peer.sendBytes(entryLike(500)),
    (peer) => peer.close(),
  ];
  const peers: RawPeer[] = [];
  const listener = await pair.network.transport.listen("mirror:8750", (connection) => {
    const peer = new RawPeer(connection);
    nonsense[peers.push(peer) - 1]?.(peer);
  });
  await pair.openSource();
  await pair.until("all were tried", () => peers.length > nonsense.length, 60_000);
  for (const peer of peers.slice(0, nonsense.length)) assert.ok(peer.closedWith !== null);
  await listener.close();
  pair.cut();
  await pair.openMirror();
  await pair.untilInSync();
  await pair.waitFor("a write", pair.source.volume.write(0, content(0, 1)));
  await pair.close();
});

const bytes = (length: number) => new Uint8Array(length);

test.run();
