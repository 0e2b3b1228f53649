// Catching up while clients write, branches that the mirror has to follow or must not, and slow mirrors.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";
import { content } from "../volume/fixture.ts";
import { BLOCKS, override, Pair, TIMEOUT_MS } from "./pair.ts";

export const deadlineMs = 120_000;

const test = suite("resync");
const CONTINUE = { target: { onMirrorLoss: "continue" as const } };

test("the first sync of a source that is written to all the time comes to an end", async () => {
  const pair = await Pair.create();
  let rounds = 0;
  pair.wrapMirror = (volume) =>
    override(volume, {
      adoptImage: async (image, history, signal) => {
        rounds += 1;
        // The first rounds take so long that the log cannot hold what is written meanwhile.
        const { sequence } = pair.source.volume.position;
        if (rounds < 3) {
          await pair.until("many writes", () => pair.source.volume.position.sequence > sequence + 60);
        }
        return volume.adoptImage(image, history, signal);
      },
    });
  await pair.openMirror();
  await pair.openSource();
  let isDone = false;
  const writer = (async () => {
    for (let i = 0; !isDone; i++) {
      const data = new Uint8Array(64 * BLOCK_BYTES).fill((i % 250) + 1);
      await pair.source.volume.write(((i * 64) % BLOCKS) * BLOCK_BYTES, data);
    }
  })();
  await pair.untilInSync();
  assert.ok(rounds >= 3, `${rounds} rounds`);
  isDone = true;
  await pair.waitFor("the writer", writer);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

/** The mirror has two entries that the source lost before they were durable there; then they cannot meet. */
async function mirrorAhead(): Promise<Pair> {
  const pair = await Pair.inSync(CONTINUE);
  await pair.write(1, 1);
  const { source, mirror } = pair;
  source.storage.stopAt(source.storage.eventCount + 1);
  source.volume.write(BLOCK_BYTES, content(1, 2)).catch(() => {});
  source.volume.write(2 * BLOCK_BYTES, content(2, 2)).catch(() => {});
  await pair.until("the mirror has both", () => mirror.volume.durable === 3);
  await pair.crashSource("drop");
  pair.network.isDown = true;
  return pair;
}

test("continue: what only the mirror had and nobody acknowledged gives way to the new generation", async () => {
  const pair = await mirrorAhead();
  await pair.openSource();
  await pair.expect(pair.source.volume, 1, 1);
  await pair.write(3, 3);
  pair.network.isDown = false;
  await pair.untilInSync();
  assert.is(pair.mirror.volume.generation.number, 2);
  // Once read, a value stays.
  await pair.expect(pair.source.volume, 1, 1);
  await pair.expect(pair.source.volume, 2, 0);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

test("continue: a new generation that leaves out what was acknowledged has diverged", async () => {
  const pair = await Pair.inSync(CONTINUE);
  await pair.write(1, 1);
  const old = pair.source.storage.ifPowerFailedNow("keep");
  for (let version = 2; version < 9; version++) await pair.write(1, version);
  await pair.crashSource();
  // Restored from a backup, and the mirror cannot be asked.
  pair.source.storage = old;
  pair.network.isDown = true;
  await pair.openSource();
  await pair.write(5, 5);
  pair.network.isDown = false;
  await pair.until("diverged", () => pair.state === "diverged");
  assert.is(pair.mirror.volume.position.sequence, 8, "nothing is overwritten");
  await pair.close();
});

test("continue: a divergence while clients are served is the loss of the mirror", async () => {
  const pair = await Pair.create(CONTINUE);
  pair.wrapMirror = (volume) =>
    override(volume, {
      applyConsistencyPoint: () => Promise.resolve("mismatch" as const),
      adoptImage: (image, history, signal) =>
        image.cp > 0 ? Promise.resolve("mismatch" as const) : volume.adoptImage(image, history, signal),
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  await pair.write(1, 1);
  await pair.consistencyPoint();
  await pair.until("diverged", () => pair.state === "diverged");
  await pair.write(1, 2);
  assert.ok(pair.source.volume.persisted.aloneSince !== null);
  assert.is(pair.state, "diverged");
  await pair.close();
});

test("the ledger survives a restart", async () => {
  const pair = await Pair.inSync(CONTINUE);
  await pair.write(0, 1);
  pair.network.isDown = true;
  pair.cut();
  for (let lba = 0; lba < 5; lba++) await pair.write(lba, 2, 2);
  const before = pair.relationship.status().ledger;
  assert.equal(before, { entries: 5, bytes: 10 * BLOCK_BYTES });
  await pair.closeSource();
  await pair.openSource();
  await pair.until("the ledger", () => pair.relationship.status().ledger.entries === 5);
  assert.equal(pair.relationship.status().ledger, before);
  await pair.write(9, 9);
  assert.equal(pair.relationship.status().ledger, { entries: 6, bytes: 11 * BLOCK_BYTES });
  pair.network.isDown = false;
  await pair.untilInSync();
  assert.is(pair.relationship.status().ledger.entries, 0);
  await pair.close();
});

/** A mirror whose consistency points do not end. */
async function stuckMirror(onMirrorLoss: "stop" | "continue"): Promise<{ pair: Pair; release: () => void }> {
  const pair = await Pair.create({ target: { onMirrorLoss } });
  let release: () => void = () => {};
  const stuck = new Promise<void>((resolve) => {
    release = resolve;
  });
  pair.wrapMirror = (volume) =>
    override(volume, {
      applyConsistencyPoint: async (data, options) => {
        await stuck;
        return volume.applyConsistencyPoint(data, options);
      },
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  return { pair, release };
}

const isPending = async (promise: Promise<unknown>) =>
  (await Promise.race([promise, settle(2000).then(() => "pending")])) === "pending";

/** More than all halves hold. */
async function writeMuch(pair: Pair): Promise<void> {
  for (let i = 0; i < 24; i++) {
    const data = new Uint8Array(64 * BLOCK_BYTES).fill(i + 1);
    await pair.source.volume.write(((i * 64) % BLOCKS) * BLOCK_BYTES, data);
  }
}

test("stop: a mirror that makes no consistency points holds writes when the log is full", async () => {
  const { pair, release } = await stuckMirror("stop");
  const writes = writeMuch(pair);
  await pair.clock.advance(5 * TIMEOUT_MS);
  assert.ok(await isPending(writes));
  assert.ok(pair.source.events.some((text) => text.startsWith("the mirror is lost")));
  release();
  await pair.waitFor("the writes", writes);
  await pair.untilInSync();
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

test("continue: a mirror that makes no consistency points is lost when the log is full", async () => {
  const { pair, release } = await stuckMirror("continue");
  await pair.waitFor("the writes", writeMuch(pair));
  assert.ok(pair.source.volume.persisted.aloneSince !== null);
  release();
  await pair.untilInSync();
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

test("semi-sync: acknowledged when the mirror has received it, synced or not", async () => {
  const pair = await Pair.inSync({ target: { mode: "semi-sync" } });
  pair.mirror.storage.stop();
  const { volume } = pair.source;
  await pair.waitFor("a semi-sync write", volume.write(0, content(0, 1), { mode: "semi-sync" }));
  assert.ok(await isPending(volume.write(0, content(0, 2), { mode: "sync" })));
  assert.is(pair.mirror.volume.durable, 0);
});

test.run();
