// etcd 3.5.0 to 3.5.2 (postmortem "v3.5 data inconsistency"): a refactoring let the consistent index, which
// says up to which entry of the log the database is, be saved apart from the data of that entry. After a
// crash between the two an entry was skipped or applied twice, and the members of the cluster differed from
// then on without noticing.
//
// Ours: an image and the position that it includes are in one superblock, and move together. A crash at any
// event of a consistency point is followed by a replay that gives the very image that an undisturbed volume
// gets: root hashes are equal exactly when the data is. On the mirror too, where the source's root hash is
// the judge.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { Pair } from "../replication/pair.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { share } from "../support/thorough.ts";
import { content, makeVolume, openVolume, smallConfig } from "../volume/fixture.ts";

const test = suite("museum: an applied index apart from what was applied");
const config = smallConfig({ sizeBytes: 128 * BLOCK_BYTES, memberBytes: 4 * 1024 * 1024 });

/** Entries whose order matters: a trim between two writes of the same blocks. */
async function entries(volume: Volume, round: number): Promise<void> {
  for (let lba = 0; lba < 12; lba++) await volume.write(lba * BLOCK_BYTES, content(lba, round));
  await volume.trim(2 * BLOCK_BYTES, 8 * BLOCK_BYTES);
  for (let lba = 4; lba < 7; lba++) await volume.write(lba * BLOCK_BYTES, content(lba, round + 1));
}

test("a volume: a crash at any event of a consistency point changes nothing in its result", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  await entries(volume, 1);
  await volume.consistencyPoint();
  await entries(volume, 5);
  const crashes: MemoryStorage[] = [];
  storage.onEvent = ({ number }) =>
    crashes.push(storage.ifPowerFailedNow(number % 2 === 0 ? "drop" : number));
  await volume.consistencyPoint();
  storage.onEvent = () => {};
  const { rootHash } = volume;
  await volume.close();
  assert.ok(crashes.length > 10);
  for (const crashed of share(crashes, 20)) {
    const again = await openVolume(crashed, config);
    // One more entry behind the crash, so that a skipped one cannot hide behind the end of the log.
    await again.write(100 * BLOCK_BYTES, content(100, 1));
    await again.trim(100 * BLOCK_BYTES, BLOCK_BYTES);
    await again.consistencyPoint();
    assert.equal(again.rootHash, rootHash);
    await again.close();
  }
});

test("a pair: after a crash of the mirror at any event both come to the same root hash", async () => {
  const pair = await Pair.inSync();
  await pair.waitFor("entries", entries(pair.source.volume, 1));
  const source: MemoryStorage[] = [];
  const mirror: MemoryStorage[] = [];
  pair.mirror.storage.onEvent = ({ number }) => {
    source.push(pair.source.storage.ifPowerFailedNow("keep"));
    mirror.push(pair.mirror.storage.ifPowerFailedNow(number % 2 === 0 ? "drop" : number));
  };
  await pair.consistencyPoint();
  await pair.untilEqual();
  pair.mirror.storage.onEvent = () => {};
  await pair.close();
  assert.ok(mirror.length > 10);
  for (const at of share([...mirror.keys()], 8)) {
    const again = Pair.of(source[at]!, mirror[at]!);
    await again.openMirror();
    await again.openSource();
    await again.untilInSync();
    await again.write(100, 1);
    await again.consistencyPoint();
    await again.untilEqual();
    const events = [...again.source.events, ...again.mirror.events].join("\n");
    assert.not.match(events, /image|differ|mismatch/);
    await again.close();
  }
});

test.run();
