// Blocks of zeros are holes, however they came to be: the root hash depends on the data alone.
import { BLOCK_BYTES, LEAF_FANOUT } from "../../assembly/format.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { withStore } from "./checking.ts";
import { content, expectBytes, Model, makeVolume, openVolume, smallConfig } from "./fixture.ts";

const test = suite("holes");

const WAYS: { name: string; empty: (volume: Volume, offset: number) => Promise<void> }[] = [
  { name: "never written", empty: async () => {} },
  { name: "written as zeros", empty: (volume, offset) => volume.write(offset, new Uint8Array(BLOCK_BYTES)) },
  {
    name: "written in part, then overwritten with zeros",
    empty: async (volume, offset) => {
      await volume.write(offset + 100, Uint8Array.of(1, 2, 3));
      await volume.write(offset + 100, new Uint8Array(3));
    },
  },
  {
    name: "committed, then written as zeros",
    empty: async (volume, offset) => {
      await volume.write(offset, content(1, 1));
      await volume.consistencyPoint();
      await volume.write(offset, new Uint8Array(BLOCK_BYTES));
    },
  },
  {
    name: "committed, then trimmed",
    empty: async (volume, offset) => {
      await volume.write(offset, content(1, 1));
      await volume.consistencyPoint();
      await volume.trim(offset, BLOCK_BYTES);
    },
  },
];

test("a block of zeros takes no room and hashes to the same, whichever way it became one", async () => {
  const roots = new Map<string, string>();
  const used = new Map<string, number>();
  for (const { name, empty } of WAYS) {
    const storage = new MemoryStorage();
    await makeVolume(storage);
    const volume = await openVolume(storage);
    await volume.write(0, content(0, 7));
    await empty(volume, 5 * BLOCK_BYTES);
    await volume.consistencyPoint();
    expectBytes(await volume.read(5 * BLOCK_BYTES, BLOCK_BYTES), new Uint8Array(BLOCK_BYTES));
    roots.set(name, Buffer.from(volume.rootHash).toString("hex"));
    await volume.close();
    await withStore(storage, smallConfig(), async (store) => {
      used.set(name, store.usedBlocks());
      assert.is(await store.isMapped(5), false, name);
    });
  }
  assert.is(new Set(roots.values()).size, 1, JSON.stringify([...roots]));
  assert.is(used.get("written as zeros"), used.get("never written"));
});

test("a trim takes its own blocks and no other, at the edges of nodes as elsewhere", async () => {
  const blocks = 4 * LEAF_FANOUT;
  const small = smallConfig({ sizeBytes: (blocks + LEAF_FANOUT) * BLOCK_BYTES });
  for (const [first, count] of [
    [LEAF_FANOUT, LEAF_FANOUT - 1],
    [LEAF_FANOUT, LEAF_FANOUT],
    [LEAF_FANOUT, LEAF_FANOUT + 1],
    [LEAF_FANOUT + 1, LEAF_FANOUT - 1],
    [LEAF_FANOUT - 1, LEAF_FANOUT + 1],
    [0, 2 * LEAF_FANOUT - 1],
    [1, blocks - 2],
  ] as const) {
    const storage = new MemoryStorage();
    await makeVolume(storage, small);
    const volume = await openVolume(storage, small);
    const model = new Model(volume.bytes);
    const data = Uint8Array.from({ length: blocks * BLOCK_BYTES }, (_, i) => 1 + ((i >> 12) % 250));
    await volume.write(0, data);
    model.write(0, data);
    await volume.consistencyPoint();
    await volume.trim(first * BLOCK_BYTES, count * BLOCK_BYTES);
    model.trim(first * BLOCK_BYTES, count * BLOCK_BYTES);
    await volume.consistencyPoint();
    await model.expectEqual(volume);
    // Parts of blocks at either end are left as they are.
    await volume.trim(3 * BLOCK_BYTES - 1, 40 * BLOCK_BYTES + 2);
    model.trim(3 * BLOCK_BYTES - 1, 40 * BLOCK_BYTES + 2);
    await volume.consistencyPoint();
    await model.expectEqual(volume);
    await volume.close();
  }
});

test.run();
