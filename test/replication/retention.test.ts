// How long the log is kept: up to a seal until both sides have made its consistency point.

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

test.run();
