// A mirror whose members have no room for two images that differ in most blocks.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { assert, suite } from "../support/harness.ts";
import { BLOCKS, Pair, TIMEOUT_MS } from "./pair.ts";

const test = suite("room for an image");

/** Everything written again, with other contents, more than the log holds. */
async function overwrite(pair: Pair, version: number): Promise<void> {
  for (let lba = 0; lba < BLOCKS; lba += 64) await pair.write(lba, version, 64);
  await pair.consistencyPoint();
}

test("the mirror gives up its old image, gets the new one, and is in sync", async () => {
  const options = {
    target: { onMirrorLoss: "continue" as const },
    mirror: { memberBytes: 2.5 * 1024 * 1024 },
  };
  const pair = await Pair.inSync(options);
  await overwrite(pair, 1);
  await pair.untilEqual();
  pair.network.isDown = true;
  pair.cut();
  await pair.clock.advance(3 * TIMEOUT_MS);
  for (let version = 2; version < 5; version++) await overwrite(pair, version);
  let startedOver = 0;
  pair.mirror.volume.addEventListener("startedover", () => {
    startedOver++;
    const { inSync, everInSync } = pair.mirror.volume.persisted;
    assert.not.ok(inSync || everInSync, "an emptied mirror must not count as a copy");
    assert.is(pair.mirror.volume.cp, 0);
  });
  pair.network.isDown = false;
  await pair.untilInSync();
  await pair.untilEqual();
  assert.is(startedOver, 1, "the members had room for both images: the test proves nothing");
  await pair.write(3, 9);
  await pair.consistencyPoint();
  await pair.untilEqual();
  const { usedBytes } = pair.mirror.volume.status();
  assert.ok(usedBytes < 1.2 * BLOCKS * BLOCK_BYTES, `${usedBytes} bytes are used`);
  await pair.close();
});

test.run();
