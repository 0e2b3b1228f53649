// What a mirror says of itself is durable: a source builds on it.

import { ENTRY_KIND_WRITE } from "../../assembly/format.ts";
import { describeMirror } from "../../src/replication/mirror_state.ts";
import { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { FaultyStorage } from "../volume/faults.ts";
import { content, makeKernel, makeVolume, makeWorld, openVolume, smallConfig } from "../volume/fixture.ts";

const test = suite("mirror state");

test("a position is told when everything up to it is synced", async () => {
  const memory = new MemoryStorage();
  await Volume.create(makeWorld(memory), makeKernel(), smallConfig(), "mirror");
  const storage = new FaultyStorage(memory);
  const mirror = await openVolume(storage);
  const other = new MemoryStorage();
  await makeVolume(other);
  const source = await openVolume(other);
  await mirror.persist({ history: [...source.history] });
  let release = (): void => {};
  const isReleased = new Promise<void>((resolve) => {
    release = resolve;
  });
  storage.gate = ({ path, kind }) => (path.includes("log") && kind === "sync" ? isReleased : undefined);
  mirror.adopt(source.log.append(ENTRY_KIND_WRITE, 0, 1, [content(0, 1)])!.view.slice());
  let isTold = false;
  const state = describeMirror(mirror).finally(() => {
    isTold = true;
  });
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.not.ok(isTold);
  release();
  const { tail, durable } = await state;
  assert.equal([tail.sequence, durable], [1, 1]);
  await source.close();
  await mirror.close();
});

test.run();
