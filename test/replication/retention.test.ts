// How long the log is kept: up to a seal until both sides have made its consistency point.

import { SUPERBLOCK_BYTES } from "../../assembly/format.ts";
import { assert, suite } from "../support/harness.ts";
import { override, Pair } from "./pair.ts";

const test = suite("retention");

const usedHalves = (pair: Pair) => pair.source.volume.log.status().filter(({ free }) => !free).length;

test("a source that was opened anew keeps its log until the mirror has made its consistency point too", async () => {
  const pair = await Pair.create();
  let release = (): void => {};
  let isHeld = false;
  pair.wrapMirror = (volume) =>
    override(volume, {
      applyConsistencyPoint: async (data, options) => {
        isHeld = true;
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return volume.applyConsistencyPoint(data, options);
      },
    });
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  await pair.closeSource();
  await pair.openSource();
  await pair.untilInSync();
  await pair.write(1, 1);
  await pair.consistencyPoint();
  await pair.until("the mirror's consistency point", () => isHeld);
  assert.is(pair.source.volume.cp, 1);
  assert.is(pair.mirror.volume.cp, 0);
  assert.is(usedHalves(pair), 2, "the sealed half and the one that is written now");
  release();
  await pair.untilEqual();
  await pair.until("let go", () => usedHalves(pair) === 1);
  await pair.close();
});

test("a mirror that is ahead keeps the entries of a consistency point that its source has not made", async () => {
  const pair = await Pair.inSync();
  await pair.write(0, 1);
  const { source, mirror } = pair;
  const before = source.storage.ifPowerFailedNow("keep");
  for (let lba = 1; lba < 20; lba++) await pair.write(lba, 5);
  // The source fails as it moves its superblocks: the mirror has made the consistency point by then, or makes it.
  source.storage.onEvent = ({ kind, length, path }) => {
    if (kind === "write" && length === SUPERBLOCK_BYTES && !path.startsWith("log")) source.storage.stop();
  };
  source.volume.consistencyPoint().catch(() => {});
  await pair.until("the mirror has made it", () => mirror.volume.cp === 1);
  await pair.crashSource();
  // What comes back is a state of before the last writes.
  source.storage = before;
  await pair.openSource();
  for (let lba = 1; lba < 20; lba++) await pair.expect(source.volume, lba, 5);
  await pair.untilInSync();
  await pair.untilEqual();
  await pair.close();
});

test.run();
