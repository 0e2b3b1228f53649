// kill -9 at random moments, against real processes: what was acknowledged is there after the restart, over
// and over on the same volume, so that each recovery builds on the one before.
//
// The seed is printed when a test fails; MIRRORVOL_SEED=N repeats its loads. The moments are counts of
// acknowledged writes, so a repetition comes close, but two runs of real processes are never quite the same.
import { statSync } from "node:fs";
import { assert, suite } from "../support/harness.ts";
import { SeededRandom } from "../support/memory_random.ts";
import { ProcessLoad } from "../support/process_load.ts";
import { MIB, ProcessSide } from "../support/process_side.ts";

export const deadlineMs = 180_000;

const SIZE_BYTES = 8 * MIB;
const ROUNDS = 20;
/** A log half takes about a hundred such writes. */
const WRITES_MAX = 500;

const seed = Number(process.env["MIRRORVOL_SEED"] ?? Date.now() % 1_000_000);

const test = suite(`kill -9 (MIRRORVOL_SEED=${seed})`);

test("a lone volume", async () => {
  const random = new SeededRandom(seed);
  const load = new ProcessLoad(SIZE_BYTES, seed);
  const side = await ProcessSide.create({ sizeBytes: SIZE_BYTES, memberCount: 3, parity: 1 });
  let lastCp = 0;
  try {
    for (let round = 1; round <= ROUNDS; round++) {
      await side.start();
      await load.verify(side, `after kill ${round - 1}`);
      const { state, cp } = await side.status();
      assert.is(state, "serving");
      assert.ok(cp >= lastCp, `consistency point ${lastCp} was there before kill ${round - 1}, now ${cp} is`);
      lastCp = cp;
      await load.untilKilled(side, 1 + random.below(WRITES_MAX), () => side.kill());
    }
    await side.start();
    await load.verify(side, "after the last kill");
    const { cp } = await side.status();
    assert.ok(cp >= ROUNDS, `too few consistency points: ${cp}`);
    // Live blocks are spread at random, so segments do not become empty by themselves.
    const written = load.acknowledgedBytes / rawBytes(side);
    assert.ok(written > 1.5, `the cleaner had nothing to do: ${written} times the members were written`);
    assert.ok(load.blocksInDoubt > 0, "no kill came in mid-write");
    await side.stop();
    await side.start();
    await load.verify(side, "after an orderly end");
  } finally {
    await side.close();
  }
});

/** What the members hold together. */
function rawBytes({ members }: ProcessSide): number {
  return members.reduce((sum, path) => sum + statSync(path).size, 0);
}

test.run();
