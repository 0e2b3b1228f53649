// Kafka had `unclean.leader.election.enable` on by default until KIP-106 turned it off: when no replica in sync
// was left, one that lagged behind became leader, and what it lacked was gone without a word. KIP-966 describes
// what is left of it: the last replica in sync loses the end of its log in a power failure, becomes leader
// again all the same, and makes the others truncate what they still have.
//
// Ours: a mirror that is known to lag is not promoted unless a person forces it, and then the promotion says
// so and names the position up to which it has everything. A source that comes back with less than was
// acknowledged takes from the mirror what it lacks, or serves nothing; the mirror truncates nothing.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { Pair } from "../replication/pair.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";

const test = suite("museum: an election that is not clean");

test("a mirror that lags is promoted by force only, and says from where on it knows nothing", async () => {
  const pair = await Pair.inSync({ target: { onMirrorLoss: "continue" } });
  await pair.write(1, 1);
  pair.network.isDown = true;
  pair.cut();
  for (let lba = 0; lba < 600; lba += 40) await pair.write(lba, 2, 40);
  pair.network.isDown = false;
  await pair.until("catching up", () => !pair.mirror.volume.persisted.inSync);
  await pair.crashSource();
  await pair.until("the mirror knows", () => !pair.service.connected("orders"));
  assert.is(await codeOf(pair.service.promote("orders")), "ERR_NOT_IN_SYNC");
  // Asking again does not help.
  assert.is(await codeOf(pair.service.promote("orders")), "ERR_NOT_IN_SYNC");
  const { sequence } = pair.mirror.volume.position;
  const promotion = await pair.waitFor("promotion", pair.service.promote("orders", { force: true }));
  assert.ok(promotion.isForced);
  assert.is(promotion.startSequence, sequence);
  await pair.closeMirror();
});

test("a lagging mirror stays one when it restarts before it is asked", async () => {
  const pair = await Pair.inSync({ target: { onMirrorLoss: "continue" } });
  pair.network.isDown = true;
  pair.cut();
  for (let lba = 0; lba < 600; lba += 40) await pair.write(lba, 2, 40);
  pair.network.isDown = false;
  await pair.until("catching up", () => !pair.mirror.volume.persisted.inSync);
  await pair.crashSource();
  await pair.crashMirror("drop");
  await pair.openMirror();
  assert.is(await codeOf(pair.service.promote("orders")), "ERR_NOT_IN_SYNC");
  await pair.closeMirror();
});

for (const [name, points] of [
  ["the mirror still has the entries", 0],
  ["the mirror has them in its image only", 6],
] as const) {
  test(`a source that lost the end of its log makes nobody truncate anything: ${name}`, async () => {
    const pair = await Pair.inSync({ target: { onMirrorLoss: "continue" } });
    await pair.write(1, 1);
    const old = pair.source.storage.ifPowerFailedNow("keep");
    for (let round = 0; round <= points; round++) {
      for (let lba = 0; lba < 8; lba++) await pair.write(lba, 2 + round);
      if (round < points) await pair.consistencyPoint();
      if (round < points) await pair.untilEqual();
    }
    const { sequence } = pair.mirror.volume.position;
    await pair.crashSource();
    pair.source.storage = old;
    await pair.openSource();
    if (points === 0) {
      for (let lba = 0; lba < 8; lba++) await pair.expect(pair.source.volume, lba, 2);
      await pair.untilInSync();
    } else {
      await pair.until("refused", () => /ERR_SOURCE_LOST_ENTRIES/.test(pair.relationship.status().detail));
      assert.is(await codeOf(pair.source.volume.read(0, BLOCK_BYTES)), "ERR_SOURCE_LOST_ENTRIES");
    }
    assert.is(pair.mirror.volume.position.sequence, sequence);
    await pair.closeSource();
    await pair.until("the mirror knows", () => !pair.service.connected("orders"));
    await pair.waitFor("promotion", pair.service.promote("orders"));
    for (let lba = 0; lba < 8; lba++) await pair.expect(pair.mirror.volume, lba, 2 + points);
    await pair.closeMirror();
  });
}

test.run();
