// Maps with more nodes than the cache holds: what a transaction has placed may have to be read back before it is
// written.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { NodeCache } from "../../src/volume/node_cache.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { expectSound } from "./checking.ts";
import { content, expectBytes, makeVolume, openVolume, smallConfig } from "./fixture.ts";

const test = suite("small cache");

/** Of the container map alone, more leaves than the sixteen nodes that are always kept. */
const BLOCKS = 9216;
const BLOCKS_PER_WRITE = 128;
/** So that the changed blocks are more than one batch of a consistency point (cp_apply.ts), across many leaves. */
const SCATTERED = 23;
/** So that a batch ends in the middle of a leaf, which is opened again for the next one. */
const TOGETHER = { from: 64, to: 100 };

test("a consistency point that changes blocks all over the volume reads back nodes that it placed itself", async () => {
  const config = smallConfig({
    sizeBytes: BLOCKS * BLOCK_BYTES,
    memberBytes: 20 * 1024 * 1024,
    cacheBytes: BLOCK_BYTES,
    // A round of writes is one consistency point.
    logBytes: 16 * 1024 * 1024,
  });
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  const filling = (lba: number) => 1 + lba / BLOCKS_PER_WRITE;
  for (let lba = 0; lba < BLOCKS; lba += BLOCKS_PER_WRITE) {
    const data = new Uint8Array(BLOCKS_PER_WRITE * BLOCK_BYTES).fill(filling(lba));
    await volume.write(lba * BLOCK_BYTES, data);
  }
  await volume.consistencyPoint();
  for (let round = 0; round < 4; round++) {
    for (let lba = round; lba < BLOCKS; lba += SCATTERED)
      await volume.write(lba * BLOCK_BYTES, content(lba, round));
    for (let lba = TOGETHER.from; lba < TOGETHER.to; lba++)
      await volume.write(lba * BLOCK_BYTES, content(lba, round));
    await volume.consistencyPoint();
  }
  for (let lba = 0; lba < SCATTERED; lba++) {
    const expected = lba < 4 ? content(lba, lba) : new Uint8Array(BLOCK_BYTES).fill(filling(0));
    expectBytes(await volume.read(lba * BLOCK_BYTES, BLOCK_BYTES), expected, lba * BLOCK_BYTES);
  }
  await volume.close();
  const report = await expectSound(storage, config);
  assert.ok(report.nodes > 64, `${report.nodes} nodes`);
});

test("a node that is kept counts only with the hash that is asked for: places are used again", () => {
  const cache = new NodeCache(BLOCK_BYTES);
  const hashes = Uint32Array.of(1, 2, 3, 4, 1, 2, 3, 5);
  const words = new Uint32Array(BLOCK_BYTES / 4).fill(9);
  cache.put(77, hashes, 0, words);
  assert.is(cache.get(77, hashes, 0), words);
  assert.is(cache.get(77, hashes, 4), null);
  assert.is(cache.get(78, hashes, 0), null);
  for (let place = 100; place < 116; place++) cache.put(place, hashes, 4, words);
  assert.is(cache.get(77, hashes, 0), null, "the oldest one makes room");
});

test.run();
