// kill -9 at random moments against a pair of real nodes: whichever side is killed, and whichever side serves
// afterwards, every acknowledged write is there (test/support/process_rounds.ts). The seed is in the suite's name;
// MIRRORVOL_SEED=N repeats.
import { suite } from "../support/harness.ts";
import { PairRounds } from "../support/process_rounds.ts";
import { isThorough } from "../support/thorough.ts";

export const deadlineMs = 300_000;

/** Each of the four kinds at least once. */
const ROUNDS = isThorough ? 60 : 4;

const seed = Number(process.env["MIRRORVOL_SEED"] ?? Date.now() % 1_000_000);

const test = suite(`kill -9 of a pair (MIRRORVOL_SEED=${seed})`);

test("the source, the mirror, both, and the source for good", async () => {
  const rounds = await PairRounds.create(seed);
  try {
    for (let round = 0; round < ROUNDS; round++) await rounds.round();
    await rounds.finish();
  } finally {
    await rounds.close();
  }
});

test.run();
