// kill -9 at random moments, against real processes: a lone volume. What a round is, and what must hold after it,
// stands in test/support/process_rounds.ts; `npm run kill9` does a thousand of them.
//
// The moments are counts of acknowledged writes, so MIRRORVOL_SEED=N comes close to a run that failed, but two runs
// of real processes are never quite the same.
import { statSync } from "node:fs";
import { assert, suite } from "../support/harness.ts";
import { LoneRounds } from "../support/process_rounds.ts";
import { isThorough } from "../support/thorough.ts";

export const deadlineMs = 240_000;

const ROUNDS = isThorough ? 40 : 3;

const seed = Number(process.env["MIRRORVOL_SEED"] ?? Date.now() % 1_000_000);

const test = suite(`kill -9 (MIRRORVOL_SEED=${seed})`);

test("a lone volume", async () => {
  const rounds = await LoneRounds.create(seed);
  try {
    for (let round = 0; round < ROUNDS; round++) await rounds.round();
    await rounds.finish();
    if (!isThorough) return;
    // Live blocks are spread at random, so segments do not become empty by themselves.
    const written = rounds.load.acknowledgedBytes / rawBytes(rounds.side.members);
    assert.ok(written > 1.5, `the cleaner had nothing to do: ${written} times the members were written`);
  } finally {
    await rounds.close();
  }
});

/** What the members hold together. */
function rawBytes(members: readonly string[]): number {
  return members.reduce((sum, path) => sum + statSync(path).size, 0);
}

test.run();
