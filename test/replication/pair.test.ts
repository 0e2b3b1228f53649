// A source and its mirror while nothing fails: first sync, steady state, consistency points, restarts in peace.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import { assert, suite } from "../support/harness.ts";
import { content } from "../volume/fixture.ts";
import { BLOCKS, Pair } from "./pair.ts";

const test = suite("pair");

test("an empty source and an empty mirror come into sync, and writes reach both", async () => {
  const pair = await Pair.inSync();
  for (let lba = 0; lba < 20; lba++) await pair.write(lba * 3, 1);
  const { source, mirror } = pair;
  assert.is(mirror.volume.position.sequence, source.volume.position.sequence);
  assert.is(mirror.volume.durable, source.volume.durable);
  await pair.consistencyPoint();
  await pair.untilEqual();
  assert.equal(mirror.volume.persisted.boundTo, source.volume.volumeId);
  assert.ok(mirror.volume.persisted.inSync);
  await pair.close();
});

test("a filled source: the mirror gets its image, then what follows", async () => {
  const pair = await Pair.create();
  // Filled while it had no mirror.
  const { source } = pair;
  await pair.openSource();
  await pair.relationship.close();
  source.volume.setRemote({ required: false, received: 0, durable: 0 });
  source.volume.setGate("open");
  for (let lba = 0; lba < BLOCKS; lba += 4) await pair.write(lba, 1, 3);
  await pair.consistencyPoint();
  for (let lba = 0; lba < 50; lba++) await pair.write(lba, 2);
  await pair.openMirror();
  source.volume.setGate("waiting");
  pair.startRelationship();
  await pair.untilInSync();
  await pair.write(1000, 3);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

test("many consistency points with overwrites and trims give equal root hashes", async () => {
  const pair = await Pair.inSync();
  const { volume } = pair.source;
  // What CP data leave out would be mended by an image, and nobody would notice.
  let images = 0;
  pair.mirror.volume.addEventListener("imageadopted", () => {
    images += 1;
  });
  let version = 1;
  for (let round = 0; round < 8; round++) {
    const writes: Promise<void>[] = [];
    for (let i = 0; i < 40; i++) {
      const lba = (i * 37 + round * 11) % BLOCKS;
      writes.push(volume.write(lba * BLOCK_BYTES, content(lba, ++version)));
    }
    writes.push(volume.trim(((round * 100) % 900) * BLOCK_BYTES, 60 * BLOCK_BYTES));
    await pair.waitFor("writes", Promise.all(writes));
    if (round % 3 === 0) await pair.waitFor("a trim", volume.trim(0, BLOCKS * BLOCK_BYTES));
    await pair.consistencyPoint();
  }
  await pair.untilEqual();
  assert.is(images, 0, "images that mended a difference");
  await pair.close();
});

test("more data than all halves of the log hold", async () => {
  const pair = await Pair.inSync();
  for (let round = 0; round < 4; round++) {
    for (let lba = 0; lba < BLOCKS; lba += 128) await pair.write(lba, round + 1, 128);
  }
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

test("both sides restart in peace and go on", async () => {
  const pair = await Pair.inSync();
  await pair.write(1, 1, 30);
  await pair.closeSource();
  await pair.openSource();
  await pair.untilInSync();
  await pair.expect(pair.source.volume, 5, 1);
  await pair.write(2, 2);
  await pair.closeMirror();
  await pair.openMirror();
  await pair.untilInSync();
  await pair.write(3, 3);
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.close();
});

for (const { blocks, count } of [
  { blocks: 1, count: 400 },
  { blocks: 16, count: 60 },
  { blocks: 256, count: 12 },
]) {
  test(`the wire carries at most 1.05 bytes for each byte of writes of ${4 * blocks} KiB, depth 1`, async () => {
    const pair = await Pair.inSync();
    const before = pair.relationship.status().wire;
    for (let i = 0; i < count; i++) await pair.write((i * blocks) % BLOCKS, 7, blocks);
    await pair.consistencyPoint();
    await pair.untilEqual();
    const after = pair.relationship.status().wire;
    const bytes = after.sentBytes - before.sentBytes + after.receivedBytes - before.receivedBytes;
    const ratio = bytes / (count * blocks * BLOCK_BYTES);
    assert.ok(ratio <= 1.05, `ratio ${ratio}`);
    assert.ok(ratio > 1.0, `ratio ${ratio}`);
    await pair.close();
  });
}

test.run();
