// Consistency points of more than one run, in every shape of a row: one run is written while the next is filled.
import { BLOCK_BYTES, RECORD_KIND_DATA } from "../../assembly/format.ts";
import type { DiskOperation, Storage } from "../../src/io/disk.ts";
import type { Transaction } from "../../src/volume/transaction.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { WrappedDisk } from "../support/wrapped_storage.ts";
import { expectSound, withStore } from "./checking.ts";
import { content, makeVolume, openVolume, smallConfig } from "./fixture.ts";

const test = suite("volume runs");

const BLOCKS = 400;
/** Of 3 + 1: 128 rows, less the summary. */
const RUN_BLOCKS = 3 * 128 - 4;
const MEMBERS = ["a", "b", "c", "d", "e"].map((disk) => `${disk}/member`);

class SlowDisk extends WrappedDisk {
  override async submit(batch: readonly DiskOperation[]): Promise<(Error | null)[]> {
    await new Promise((resolve) => setTimeout(resolve, 5));
    return super.submit(batch);
  }
}

/** As many rows in a segment as make the longest runs. */
function configOf(memberCount: number, parity: number) {
  return smallConfig({
    members: MEMBERS.slice(0, memberCount),
    parity,
    segmentStripes: 512,
    memberBytes: 40 * 1024 * 1024,
    sizeBytes: 2048 * BLOCK_BYTES,
    logBytes: 12 * 1024 * 1024,
  });
}

const shapes = [
  { memberCount: 1, parity: 0, lost: null },
  { memberCount: 2, parity: 1, lost: null },
  { memberCount: 3, parity: 2, lost: null },
  { memberCount: 4, parity: 3, lost: null },
  { memberCount: 4, parity: 1, lost: null },
  { memberCount: 5, parity: 3, lost: MEMBERS[4]! },
  { memberCount: 5, parity: 2, lost: MEMBERS[0]! },
];

for (const { memberCount, parity, lost } of shapes) {
  const what = `${memberCount - parity}+${parity}${lost === null ? "" : ", one member lost"}`;
  test(`${what}: a consistency point of several runs`, async () => {
    const storage = new MemoryStorage();
    const config = configOf(memberCount, parity);
    await makeVolume(storage, config);
    if (lost !== null) await storage.remove(lost);
    const volume = await openVolume(storage, config);
    for (let lba = 0; lba < BLOCKS; lba++) await volume.write(lba * BLOCK_BYTES, content(lba, 1));
    await volume.consistencyPoint();
    assert.is(volume.status().state, "serving");
    for (let lba = 0; lba < BLOCKS; lba++)
      assert.equal(await volume.read(lba * BLOCK_BYTES, BLOCK_BYTES), content(lba, 1));
    await volume.close();
    if (lost === null) await expectSound(storage, config);
  });
}

test("an abandoned transaction is on its way to no member when the next one begins there", async () => {
  const storage = new MemoryStorage();
  const config = configOf(4, 1);
  await makeVolume(storage, config);
  const writable = { open: async (path: string) => new SlowDisk(await storage.open(path)) };
  await withStore(writable as unknown as Storage, config, async (store) => {
    const { kernel } = store;
    const hash = new Uint32Array(4);
    const block = content(1, 1);
    kernel.hashBlock(block, hash);
    // One block more than the longest run has: it is on its way then.
    for (let count = RUN_BLOCKS - 3; count < RUN_BLOCKS + 3; count++) {
      const make = async (transaction: Transaction) => {
        for (let i = 0; i < count; i++) await transaction.placeNew(RECORD_KIND_DATA, 0, hash, block);
        return null;
      };
      assert.not.ok(await store.commitLock.run(() => store.transact(1, make)));
    }
    assert.is(store.raid.present, 0b1111);
  });
});

test.run();
