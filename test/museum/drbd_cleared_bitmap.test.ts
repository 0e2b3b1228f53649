// DRBD 9.3.3, as LINBIT/drbd issue 145 reports: a secondary was shut down cleanly, the primary went on writing
// and noted what it wrote in its bitmap. When the secondary came back, the handshake decided "no sync", cleared
// the bitmap, and called the secondary UpToDate. Minutes later it was made primary, without what had been
// written meanwhile.
//
// Ours: there is no map of differences that could be lost. Both sides compare positions in one chain of log
// entries, and images by their root hashes. So a mirror that was away is not in sync, and cannot be promoted
// as if it were, before it has everything; and from the moment that it is called in sync it has everything.

import { BLOCKS, Pair } from "../replication/pair.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { loseSource } from "./support.ts";

const test = suite("museum: judged in sync by a cleared map");
const CONTINUE = { target: { onMirrorLoss: "continue" as const } };

/** In sync, then the mirror is shut down cleanly and the source is written to without it. */
async function mirrorLeft(rounds: number): Promise<Pair> {
  const pair = await Pair.inSync(CONTINUE);
  for (let lba = 0; lba < 16; lba++) await pair.write(lba, 1);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.closeMirror();
  for (let round = 0; round < rounds; round++) {
    for (let lba = 0; lba < BLOCKS; lba += 128) await pair.write(lba, round + 2, 64);
    await pair.consistencyPoint();
  }
  return pair;
}

async function expectAll(pair: Pair, version: number): Promise<void> {
  const { volume } = pair.mirror;
  for (let lba = 0; lba < BLOCKS; lba++) {
    await pair.expect(volume, lba, lba % 128 < 64 ? version : 0);
  }
}

for (const [name, rounds] of [
  ["the log holds what was written", 1],
  ["the log no longer holds it", 6],
] as const) {
  test(`a mirror that comes back has everything in the moment it is called in sync: ${name}`, async () => {
    const pair = await mirrorLeft(rounds);
    await pair.openMirror();
    await pair.untilInSync();
    await loseSource(pair);
    const promotion = await pair.waitFor("promotion", pair.service.promote("orders"));
    assert.not.ok(promotion.isForced);
    await expectAll(pair, rounds + 1);
    await pair.closeMirror();
  });

  test(`a mirror that was cut off while catching up is not promoted: ${name}`, async () => {
    const pair = await mirrorLeft(rounds);
    await pair.openMirror();
    await pair.until(
      "catching up",
      () => pair.state === "catching up" && !pair.mirror.volume.persisted.inSync,
    );
    await loseSource(pair);
    assert.is(await codeOf(pair.service.promote("orders")), "ERR_NOT_IN_SYNC");
    await pair.closeMirror();
  });
}

test("an old disk of the mirror comes back in the place of its newest one", async () => {
  const pair = await Pair.inSync(CONTINUE);
  await pair.write(1, 1);
  await pair.consistencyPoint();
  await pair.untilEqual();
  // Neither side knows that the mirror was anything but in sync all the time.
  const old = pair.mirror.storage.ifPowerFailedNow("keep");
  for (let lba = 0; lba < 40; lba++) await pair.write(lba, 2);
  await pair.closeMirror();
  pair.mirror.storage = old;
  await pair.openMirror();
  await pair.untilInSync();
  await loseSource(pair);
  await pair.waitFor("promotion", pair.service.promote("orders"));
  for (let lba = 0; lba < 40; lba++) await pair.expect(pair.mirror.volume, lba, 2);
  await pair.closeMirror();
});

test.run();
