// What a hostile reading of the protocol found: each of these went wrong once.

import { LOG_ENTRIES_OFFSET } from "../../assembly/format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { MirrorService } from "../../src/replication/mirror.ts";
import { SourceRelationship } from "../../src/replication/source.ts";
import { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";
import { content } from "../volume/fixture.ts";
import { override, Pair, TIMEOUT_MS } from "./pair.ts";
import { RawPeer } from "./raw_peer.ts";

const test = suite("review");
const codeOf = async (promise: Promise<unknown>) =>
  promise.then(
    () => "resolved",
    (error: { code?: string }) => error.code ?? String(error),
  );
const CONTINUE = { target: { onMirrorLoss: "continue" as const } };

async function promoted(options = {}): Promise<Pair> {
  const pair = await Pair.inSync(options);
  for (let lba = 0; lba < 10; lba++) await pair.write(lba, 1);
  await pair.crashSource();
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  await pair.waitFor("promotion", pair.service.promote("orders"));
  await pair.waitFor("a write", pair.mirror.volume.write(0, content(0, 2)));
  return pair;
}

/** The promoted volume finds the old source, which serves others as a mirror does. */
async function connectBack(pair: Pair, old: Volume): Promise<[SourceRelationship, MirrorService]> {
  const world = pair.world(pair.source.storage);
  const kernel = Kernel.createSync({ memoryBytes: 24 * 1024 * 1024 });
  const service = new MirrorService({ world, kernel, volumes: { find: () => old }, secret: null });
  await world.transport.listen("old:1", (connection) => service.accept(connection));
  const relationship = new SourceRelationship({
    world,
    kernel: pair.mirror.kernel,
    volume: pair.mirror.volume,
    target: { url: "ws://old:1", mode: "sync", onMirrorLoss: "stop", mirrorTimeoutMs: TIMEOUT_MS },
    secret: null,
  });
  relationship.start();
  return [relationship, service];
}

test("a source that was fenced by a connection to it does not go on alone", async () => {
  const pair = await promoted(CONTINUE);
  // It comes back, cannot reach the promoted one, but is reached by it.
  pair.options = { target: { ...CONTINUE.target, url: "ws://nobody:1" } };
  await pair.openSource();
  const { volume } = pair.source;
  const [back] = await connectBack(pair, volume);
  await pair.until("the other way round", () => back.status().state === "in sync");
  await pair.clock.advance(10 * TIMEOUT_MS);
  assert.is(await codeOf(volume.write(0, content(0, 9))), "ERR_FENCED");
  assert.is(volume.role, "mirror");
  assert.is(volume.persisted.aloneSince, null);
  assert.equal(volume.persisted.history, pair.mirror.volume.persisted.history);
  await back.close();
});

test("a fenced volume knows so until it has the newer history: it cannot be promoted, not even by force", async () => {
  const pair = await promoted();
  for (let i = 0; i < 2; i++) {
    await pair.waitFor("a write", pair.mirror.volume.write(0, content(0, 3 + i)));
    await pair.waitFor("a consistency point", pair.mirror.volume.consistencyPoint());
  }
  pair.source.volume = await Volume.open(
    pair.world(pair.source.storage),
    Kernel.createSync({ memoryBytes: 24 * 1024 * 1024 }),
    pair.sourceConfig,
  );
  const { volume } = pair.source;
  let tries = 0;
  const old = override(volume, {
    adoptImage: () => {
      tries += 1;
      return Promise.reject(new Error("the link broke"));
    },
  });
  const [back, service] = await connectBack(pair, old);
  await pair.until("an image was tried", () => tries > 0);
  await back.close();
  await pair.until("disconnected", () => !service.connected("orders"));
  assert.is(await codeOf(service.promote("orders", { force: true })), "ERR_FENCED");
});

test("a mirror records that it is in sync while a consistency point waits for a block of the source", async () => {
  const pair = await Pair.create(CONTINUE);
  pair.wrapMirror = (volume) =>
    override(volume, {
      applyConsistencyPoint: (data, options) => {
        const { storage } = pair.mirror;
        for (const path of storage.paths.filter((each) => each.startsWith("log."))) {
          // Somewhere in the payload of the second entry.
          storage.poke(path, LOG_ENTRIES_OFFSET + 4608 + 1000, new Uint8Array([1, 2, 3, 4]));
        }
        const fetch = async (lbas: readonly number[]) => {
          await settle(500);
          return options.fetch(lbas);
        };
        return volume.applyConsistencyPoint(data, { ...options, fetch });
      },
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  await pair.write(1, 1);
  pair.network.isDown = true;
  pair.cut();
  for (let lba = 0; lba < 10; lba++) await pair.write(lba, 2);
  await pair.consistencyPoint();
  pair.network.isDown = false;
  await pair.untilInSync();
  await pair.untilEqual();
  await pair.close();
});

test("a mirror that was told that its source went on alone is known not to be in sync", async () => {
  const pair = await Pair.inSync(CONTINUE);
  await pair.write(1, 1);
  const { volume } = pair.source;
  await pair.relationship.close();
  const peer = await RawPeer.dial(pair);
  peer.hello("orders");
  await pair.until("a challenge", () => peer.all("challenge").length > 0);
  peer.prove("orders");
  await pair.until("a proof", () => peer.all("proof").length > 0);
  const { sequence, chain } = volume.position;
  peer.introduce(volume, { aloneSince: sequence, tail: { sequence: sequence + 100, chain: chain + 1n } });
  await pair.until("the mirror's state", () => peer.all("mirrorState").length > 0);
  peer.close();
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  assert.is(await codeOf(pair.service.promote("orders")), "ERR_NOT_IN_SYNC");
  await volume.close();
  await pair.closeMirror();
});

test("after more generations than a history holds, the two still talk", async () => {
  const pair = await Pair.inSync(CONTINUE);
  const { history } = pair.source.volume.persisted;
  const { sequence: startSequence, chain: startChain } = pair.source.volume.position;
  const more = Array.from({ length: 63 }, (_, i) => ({
    number: i + 2,
    id: BigInt(i + 1),
    startSequence,
    startChain,
  }));
  await pair.relationship.close();
  await pair.source.volume.persist({ history: [...history, ...more] });
  await pair.source.volume.close();
  await pair.openSource();
  await pair.untilInSync();
  pair.network.isDown = true;
  await pair.closeSource();
  await pair.openSource();
  await pair.write(1, 1);
  assert.is(pair.source.volume.generation.number, 65);
  pair.network.isDown = false;
  await pair.untilInSync();
  assert.is(pair.mirror.volume.generation.number, 65);
  await pair.close();
});

test("a repair that was interrupted is not taken for one that did not help", async () => {
  const pair = await Pair.create();
  let faults = 2;
  let isCut = false;
  pair.wrapMirror = (volume) =>
    override(volume, {
      applyConsistencyPoint: (data, options) =>
        faults-- > 0 ? Promise.resolve("mismatch" as const) : volume.applyConsistencyPoint(data, options),
      applyOwnConsistencyPoint: (cp, root) =>
        faults-- > 0 ? Promise.resolve("mismatch" as const) : volume.applyOwnConsistencyPoint(cp, root),
      adoptImage: (image, history, signal) => {
        if (image.cp === 0 || isCut) return volume.adoptImage(image, history, signal);
        isCut = true;
        pair.cut();
        return Promise.reject(new Error("the link broke"));
      },
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  await pair.write(1, 4);
  await pair.consistencyPoint();
  await pair.until("cut", () => isCut);
  await pair.untilEqual();
  await pair.untilInSync();
  await pair.close();
});

test("a mirror with a damaged log that was promoted by force opens again, whatever it has written since", async () => {
  const pair = await Pair.inSync();
  for (let lba = 0; lba < 10; lba++) await pair.write(lba, 1);
  await pair.closeSource();
  await pair.closeMirror();
  // Somewhere in the payload of the third entry.
  const { storage } = pair.mirror;
  for (const path of storage.paths.filter((each) => each.startsWith("log."))) {
    storage.poke(path, LOG_ENTRIES_OFFSET + 2 * 4608 + 1000, new Uint8Array([1, 2, 3, 4]));
  }
  await pair.openMirror();
  assert.is(await codeOf(pair.service.promote("orders")), "ERR_NOT_IN_SYNC");
  const promotion = await pair.waitFor("promotion", pair.service.promote("orders", { force: true }));
  assert.is(promotion.startSequence, 2);
  await pair.crashMirror();
  await pair.openMirror();
  assert.is(pair.mirror.volume.role, "source");
  await pair.expect(pair.mirror.volume, 1, 1);
  await pair.expect(pair.mirror.volume, 2, 0);
  await pair.closeMirror();
});

test("a mirror that takes its time with an image is let finish it", async () => {
  const pair = await Pair.create(CONTINUE);
  let tries = 0;
  pair.wrapMirror = (volume) =>
    override(volume, {
      adoptImage: async (image, history, signal) => {
        tries += 1;
        const outcome = await volume.adoptImage(image, history, signal);
        // It empties a large log on a slow card.
        await new Promise<void>((resolve) => pair.clock.setTimer(5 * TIMEOUT_MS, resolve));
        return outcome;
      },
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  assert.is(tries, 1);
  assert.not.ok(
    pair.source.events.some((text) => text.includes("is lost")),
    pair.describe(),
  );
  await pair.close();
});

test.run();
