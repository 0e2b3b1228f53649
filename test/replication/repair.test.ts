// What one side lacks and the other has: entries, blocks, a whole image; and what nobody has any more.

import { BLOCK_BYTES, LOG_ENTRIES_OFFSET, SUPERBLOCK_BYTES } from "../../assembly/format.ts";
import { BUFFERED_BYTES_MAX } from "../../src/replication/forwarder.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";
import { content } from "../volume/fixture.ts";
import { BLOCKS, override, Pair, sourcePutBack, TIMEOUT_MS } from "./pair.ts";

const test = suite("repair");

test("entries that only the mirror has are adopted before anything is served", async () => {
  const pair = await Pair.inSync();
  await pair.write(1, 1);
  const { source, mirror } = pair;
  source.storage.stopAt(source.storage.eventCount + 1);
  source.volume.write(BLOCK_BYTES, content(1, 2)).catch(() => {});
  source.volume.write(2 * BLOCK_BYTES, content(2, 2)).catch(() => {});
  await pair.until("the mirror has both", () => mirror.volume.durable === 3);
  await pair.crashSource("drop");
  await pair.openSource();
  assert.is(source.volume.position.sequence, 1);
  await pair.expect(source.volume, 1, 2);
  await pair.expect(source.volume, 2, 2);
  assert.is(source.volume.position.sequence, 3);
  assert.is(source.volume.position.chain, mirror.volume.position.chain);
  await pair.untilInSync();
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

/** The source has an entry that the mirror never got, and has lost power since. */
async function sourceAhead(): Promise<Pair> {
  const pair = await Pair.inSync();
  await pair.write(1, 1);
  pair.network.isDown = true;
  pair.cut();
  pair.source.volume.write(BLOCK_BYTES, content(1, 2)).catch(() => {});
  await pair.until("durable here", () => pair.source.volume.durable === 2);
  await pair.crashSource("keep");
  await pair.openSource();
  return pair;
}

test("entries that only the source has are forwarded before they are served", async () => {
  const pair = await sourceAhead();
  const read = pair.source.volume.read(BLOCK_BYTES, BLOCK_BYTES);
  await settle(2000);
  assert.is(pair.mirror.volume.durable, 1);
  pair.network.isDown = false;
  await pair.waitFor("the read", read);
  assert.is(pair.mirror.volume.durable, 2, "it was read before the mirror had it");
  await pair.expect(pair.source.volume, 1, 2);
  await pair.close();
});

test("nothing is served while the mirror has not synced what is in doubt", async () => {
  const pair = await sourceAhead();
  const { storage } = pair.mirror;
  storage.stopAt(storage.eventCount + 1);
  pair.network.isDown = false;
  let served = 0;
  for (const lba of [1, 9]) {
    const count = () => {
      served += 1;
    };
    pair.source.volume.read(lba * BLOCK_BYTES, BLOCK_BYTES).then(count, () => {});
  }
  await pair.until("forwarded", () => pair.mirror.volume.position.sequence === 2);
  await pair.clock.advance(5 * TIMEOUT_MS);
  assert.is(served, 0);
  assert.ok(pair.relationship.status().detail.length < 200, pair.relationship.status().detail);
});

test("a source that lost what its mirror knows was durable refuses to serve", async () => {
  const pair = await sourcePutBack();
  assert.is(await codeOf(pair.source.volume.read(0, BLOCK_BYTES)), "ERR_SOURCE_LOST_ENTRIES");
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  await pair.waitFor("promotion", pair.service.promote("orders"));
  await pair.expect(pair.mirror.volume, 3, 7);
  await pair.close();
});

test("a source that lost entries which the mirror still holds gets them back", async () => {
  const pair = await Pair.inSync();
  await pair.write(1, 1);
  const old = pair.source.storage.ifPowerFailedNow("keep");
  for (let lba = 0; lba < 30; lba++) await pair.write(lba, 5);
  await pair.crashSource();
  pair.source.storage = old;
  await pair.openSource();
  for (let lba = 0; lba < 30; lba++) await pair.expect(pair.source.volume, lba, 5);
  await pair.untilInSync();
  await pair.close();
});

test("a block that is damaged in the mirror's log is fetched from the source at the consistency point", async () => {
  const pair = await Pair.inSync();
  let fetched = 0;
  pair.mirror.volume.addEventListener("blocksfetched", (event) => {
    fetched += (event as CustomEvent<{ blocks: number }>).detail.blocks;
  });
  for (let lba = 0; lba < 10; lba++) await pair.write(lba, 1);
  const { storage } = pair.mirror;
  for (const path of storage.paths.filter((each) => each.startsWith("log."))) {
    // Somewhere in the payload of the second entry.
    storage.poke(path, LOG_ENTRIES_OFFSET + 4608 + 1000, new Uint8Array([1, 2, 3, 4]));
  }
  await pair.consistencyPoint();
  await pair.untilEqual();
  assert.is(fetched, 1);
  await pair.close();
});

/** Makes consistency points without their first block, as long as it may. */
const withoutFirstBlock = (volume: Volume, isFaulty: () => boolean = () => true): Volume =>
  override(volume, {
    applyConsistencyPoint: (data, options) => {
      if (!isFaulty()) return volume.applyConsistencyPoint(data, options);
      const rest = { ...data, count: data.count - 1, lbas: data.lbas.slice(1), hashes: data.hashes.slice(4) };
      return volume.applyConsistencyPoint(rest, options);
    },
  });

test("a consistency point that comes out differently is repaired by a Merkle walk, once", async () => {
  const pair = await Pair.create();
  let asked = 0;
  let faults = 1;
  pair.wrapMirror = (volume) => {
    const wrong = withoutFirstBlock(volume, () => faults-- > 0);
    return override(wrong, {
      adoptImage: (image, history, signal) => {
        const blocks = (lbas: number[]) => {
          asked += lbas.length;
          return image.blocks(lbas);
        };
        const counting = {
          cp: image.cp,
          seal: image.seal,
          rootHash: image.rootHash,
          sizeBlocks: image.sizeBlocks,
          children: (level: number, indexes: number[]) => image.children(level, indexes),
          blocks,
        };
        return volume.adoptImage(counting as never, history, signal);
      },
    });
  };
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  for (let lba = 0; lba < 30; lba++) await pair.write(lba * 30, 4);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.untilInSync();
  assert.is(asked, 30);
  assert.is(pair.state, "in sync");
  // The next one is made as ever; a later difference is again repaired.
  await pair.write(7, 8);
  await pair.consistencyPoint();
  await pair.untilEqual();
  faults = 1;
  await pair.write(7, 9);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.untilInSync();
  assert.is(asked, 31);
  await pair.close();
});

test("two differences one after the other are a divergence, which stays one", async () => {
  const pair = await Pair.create();
  pair.wrapMirror = (volume) => withoutFirstBlock(volume);
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  await pair.write(1, 4);
  await pair.consistencyPoint();
  await pair.untilInSync();
  await pair.write(1, 5);
  await pair.consistencyPoint();
  await pair.until("diverged", () => pair.state === "diverged");
  const { cp } = pair.mirror.volume;
  const told = pair.source.events.length;
  for (let i = 0; i < 100; i++) {
    await pair.clock.advance(100);
    assert.is(pair.state, "diverged");
  }
  assert.is(pair.mirror.volume.cp, cp, "nothing is overwritten");
  assert.is(pair.source.events.filter((text) => text.startsWith("mirror diverged")).length, 1);
  assert.ok(pair.source.events.length <= told + 1, "it is told once");
  await pair.close();
});

test("a difference that the repair does not mend is a divergence", async () => {
  const pair = await Pair.create();
  let isFirst = true;
  pair.wrapMirror = (volume) =>
    override(withoutFirstBlock(volume), {
      adoptImage: (image, history, signal) => {
        if (!isFirst) return Promise.resolve("mismatch" as const);
        isFirst = false;
        return volume.adoptImage(image, history, signal);
      },
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  await pair.write(1, 4);
  await pair.consistencyPoint();
  await pair.until("diverged", () => pair.state === "diverged");
  assert.ok(pair.source.events.some((text) => text.startsWith("mirror diverged")));
  await pair.close();
});

test("a mirror that does not read costs bounded memory, and catches up afterwards", async () => {
  const pair = await Pair.inSync({ target: { mode: "async", mirrorTimeoutMs: 60_000 } });
  const { volume } = pair.source;
  const link = pair.network.links[0]!;
  link.server.pause();
  // More than the ring holds: the last ones wait until the connection has let go of the first.
  const writing = (async () => {
    for (let i = 0; i < 15; i++) {
      const data = new Uint8Array(64 * BLOCK_BYTES).fill(i + 1);
      await volume.write(((i * 64) % BLOCKS) * BLOCK_BYTES, data, { mode: "async" });
    }
  })();
  await settle(20_000);
  const { bufferedBytes } = link.client;
  assert.ok(bufferedBytes > BUFFERED_BYTES_MAX / 2, `${bufferedBytes} bytes`);
  assert.ok(bufferedBytes <= 2 * BUFFERED_BYTES_MAX + 65536, `${bufferedBytes} bytes`);
  assert.ok(volume.position.sequence > 8, `${volume.position.sequence} entries`);
  link.server.resume();
  await pair.waitFor("the writes", writing);
  await pair.until("caught up", () => pair.mirror.volume.durable === volume.durable);
  // Had the ring let go of anything too early, the mirror would have seen a damaged entry and hung up.
  assert.is(pair.network.links.length, 1);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

test("after a restart of the source the mirror makes what it owes from its own index", async () => {
  const pair = await Pair.create();
  let isStuck = true;
  let own = 0;
  pair.wrapMirror = (volume) =>
    override(volume, {
      applyConsistencyPoint: (data, options) =>
        isStuck ? Promise.reject(new Error("stuck")) : volume.applyConsistencyPoint(data, options),
      applyOwnConsistencyPoint: (cp, root) => {
        own += 1;
        return volume.applyOwnConsistencyPoint(cp, root);
      },
      adoptImage: (image, history, signal) =>
        isStuck && image.cp > 0
          ? Promise.reject(new Error("stuck"))
          : volume.adoptImage(image, history, signal),
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  for (let lba = 0; lba < 30; lba++) await pair.write(lba, 4);
  const { source } = pair;
  await pair.waitFor("a consistency point", source.volume.consistencyPoint());
  await pair.closeSource();
  isStuck = false;
  await pair.openSource();
  await pair.untilInSync();
  await pair.untilEqual();
  assert.is(own, 1);
  await pair.write(5, 5);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

test("a consistency point that the mirror made before, and differently, is found by its source", async () => {
  const pair = await Pair.create();
  let isLying = false;
  let images = 0;
  pair.wrapMirror = (volume) =>
    override(volume, {
      get rootHash() {
        return isLying ? new Uint8Array(16).fill(0xab) : volume.rootHash;
      },
      adoptImage: (image, history, signal) => {
        images += 1;
        isLying = false;
        return volume.adoptImage(image, history, signal);
      },
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  await pair.write(1, 1);
  const { source, mirror } = pair;
  // The source fails as it moves its superblocks; the mirror makes the consistency point.
  source.storage.onEvent = ({ kind, length, path }) => {
    if (kind === "write" && length === SUPERBLOCK_BYTES && !path.startsWith("log")) source.storage.stop();
  };
  source.volume.consistencyPoint().catch(() => {});
  await pair.until("the mirror has made it", () => mirror.volume.cp === 1);
  await pair.crashSource("keep");
  images = 0;
  isLying = true;
  await pair.openSource();
  await pair.until("an image", () => images === 1);
  await pair.untilInSync();
  await pair.untilEqual();
  await pair.close();
});

test.run();
