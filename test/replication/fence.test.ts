// Fencing a source: it serves nothing from the first moment on, whatever happens until that is recorded, and after it.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { fence } from "../../src/replication/fence.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { content, makeVolume, openVolume } from "../volume/fixture.ts";
import { override } from "./pair.ts";

const test = suite("fence");
const NEWER = { number: 2, id: 77n, startSequence: 1, startChain: 5n };

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "resolved",
    (error: { code?: string }) => error.code ?? String(error),
  );

/** A volume that serves, whose next record is held until the returned function is called. */
async function serving(): Promise<{
  storage: MemoryStorage;
  volume: Volume;
  held: Volume;
  release: () => void;
}> {
  const storage = new MemoryStorage();
  await makeVolume(storage);
  const volume = await openVolume(storage);
  await volume.write(0, content(0, 1));
  let release = (): void => {};
  const isReleased = new Promise<void>((resolve) => {
    release = resolve;
  });
  const held = override(volume, {
    persist: async (changes) => {
      await isReleased;
      await volume.persist(changes);
    },
  });
  return { storage, volume, held, release };
}

test("a source stops at once, before the record of its fence is durable", async () => {
  const { volume, held, release } = await serving();
  const fencing = fence(held, NEWER);
  assert.is(await codeOf(volume.write(0, content(0, 2))), "ERR_FENCED");
  assert.is(await codeOf(volume.read(0, BLOCK_BYTES)), "ERR_FENCED");
  release();
  await fencing;
  await volume.close();
});

test("whoever opens the gate meanwhile finds it closed again, and after a restart as well", async () => {
  const { storage, volume, held, release } = await serving();
  const fencing = fence(held, NEWER);
  // Going on alone was decided before, and comes to its end only now.
  volume.setGate("open");
  release();
  await fencing;
  assert.is(await codeOf(volume.write(0, content(0, 2))), "ERR_FENCED");
  assert.is(volume.role, "mirror");
  await volume.close();
  const again = await openVolume(storage);
  assert.equal(again.persisted.fencedBy, NEWER);
  assert.is(await codeOf(again.read(0, BLOCK_BYTES)), "ERR_FENCED");
  await again.close();
});

test.run();
