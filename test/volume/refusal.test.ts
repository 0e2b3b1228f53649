// A volume that stops serving answers whoever waits for something that will never come.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import { MirrorvolError } from "../../src/kernel/errors.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { makeVolume, openVolume, smallConfig } from "./fixture.ts";

const test = suite("refusal");

const REFUSED = new MirrorvolError("ERR_FENCED", "an old copy");

/** A source that has asked its mirror, which confirms nothing. */
async function waitingForMirror(): Promise<Volume> {
  const storage = new MemoryStorage();
  const config = smallConfig();
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config, { hasMirror: true });
  volume.setGate("open");
  return volume;
}

test("a consistency point that waits for the mirror's confirmation is refused when the volume is fenced", async () => {
  const volume = await waitingForMirror();
  const write = volume.write(0, new Uint8Array(BLOCK_BYTES));
  write.catch(() => {});
  await volume.log.whenDurable(1);
  const point = codeOf(volume.consistencyPoint());
  await volume.log.whenDurable(2);
  volume.setGate({ refused: REFUSED });
  assert.is(await point, "ERR_FENCED");
});

test("a write that waits for room in the log is refused when the volume is fenced", async () => {
  const volume = await waitingForMirror();
  const data = new Uint8Array(512 * 1024).fill(1);
  const writes = Array.from({ length: 10 }, () => codeOf(volume.write(0, data)));
  // The halves are full, nothing is confirmed, so nothing becomes free.
  for (let tail = 0; tail < volume.log.tail.sequence; ) {
    tail = volume.log.tail.sequence;
    await volume.log.whenDurable(tail);
  }
  volume.setGate({ refused: REFUSED });
  assert.is(await writes.at(-1), "ERR_FENCED");
});

test.run();
