// A replica whose disk was made anew and that comes back under its old name has forgotten what it
// acknowledged. In Kafka the last replica in sync could lose its log and be made leader again, whereupon the
// others truncated what they still had (KIP-966, "last replica standing"). Consensus systems that delete a
// damaged log and start empty under the same id have the same fault ("Protocol-Aware Recovery for
// Consensus-Based Storage", FAST '18).
//
// Ours: a blank node counts for nothing until it is verified in full. It cannot be promoted, not even by
// force; it confirms nothing that it has forgotten; and a source that was made anew does not overwrite the
// mirror.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { Pair } from "../replication/pair.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { content } from "../volume/fixture.ts";
import { isPending, loseSource, makeAnew } from "./support.ts";

const test = suite("museum: a replica that was formatted");

async function filled(): Promise<Pair> {
  const pair = await Pair.inSync();
  for (let lba = 0; lba < 64; lba++) await pair.write(lba, 1);
  await pair.consistencyPoint();
  await pair.untilEqual();
  for (let lba = 0; lba < 10; lba++) await pair.write(lba, 2);
  return pair;
}

async function expectFilled(pair: Pair, which: "source" | "mirror"): Promise<void> {
  for (let lba = 0; lba < 64; lba++) await pair.expect(pair[which].volume, lba, lba < 10 ? 2 : 1);
}

test("a blank mirror is filled before it counts, and has everything from then on", async () => {
  const pair = await filled();
  await pair.closeMirror();
  await makeAnew(pair, "mirror");
  await pair.openMirror();
  assert.is(await codeOf(pair.service.promote("orders", { force: true })), "ERR_NEVER_IN_SYNC");
  await pair.untilInSync();
  await loseSource(pair);
  await pair.waitFor("promotion", pair.service.promote("orders"));
  await expectFilled(pair, "mirror");
  await pair.closeMirror();
});

test("a write is not confirmed by a mirror that has forgotten what came before it", async () => {
  const pair = await filled();
  await pair.closeMirror();
  await makeAnew(pair, "mirror");
  await pair.openMirror();
  const write = pair.source.volume.write(20 * BLOCK_BYTES, content(20, 3));
  let isAcknowledged = false;
  void write.then(() => {
    isAcknowledged = true;
  });
  await pair.until("an answer", () => isAcknowledged);
  // Whatever happens now, the mirror alone must be able to go on with all of it.
  await loseSource(pair);
  await pair.waitFor("promotion", pair.service.promote("orders"));
  await pair.expect(pair.mirror.volume, 20, 3);
  await pair.expect(pair.mirror.volume, 3, 2);
  await pair.expect(pair.mirror.volume, 63, 1);
  await pair.closeMirror();
});

test("a source that has lost entries does not serve because a blank mirror does not object", async () => {
  const pair = await filled();
  await pair.closeSource();
  await pair.closeMirror();
  const { storage } = pair.source;
  // In the payload of the newest half's first entry; the later ones say that it was durable.
  for (const path of storage.paths.filter((each) => /^log.\.2$/.test(each))) {
    storage.poke(path, 4096 + 1000, new Uint8Array([1, 2, 3, 4]));
  }
  await makeAnew(pair, "mirror");
  await pair.openMirror();
  await pair.openSource();
  await pair.until("refused", () => /ERR_SOURCE_LOST_ENTRIES/.test(pair.relationship.status().detail));
  assert.is(await codeOf(pair.source.volume.read(0, BLOCK_BYTES)), "ERR_SOURCE_LOST_ENTRIES");
  await pair.close();
});

test("a source that was made anew does not overwrite the mirror", async () => {
  const pair = await filled();
  await pair.closeSource();
  await makeAnew(pair, "source");
  await pair.openSource();
  await pair.until("refused", () => /ERR_NOT_BOUND/.test(pair.relationship.status().detail));
  assert.ok(await isPending(pair.source.volume.write(0, content(0, 9))), "nothing is served on top of it");
  await pair.closeSource();
  await pair.until("the mirror knows", () => !pair.service.connected("orders"));
  await pair.waitFor("promotion", pair.service.promote("orders"));
  await expectFilled(pair, "mirror");
  await pair.closeMirror();
});

test.run();
