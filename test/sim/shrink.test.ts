// The shrinker, on histories of a made-up kind: one fails when two of its steps are there, in that order.

import { assert, suite } from "../support/harness.ts";
import type { Outcome } from "./history.ts";
import { shrink } from "./shrink.ts";
import { Tape } from "./tape.ts";

const test = suite("simulator's shrinker");

const STEPS = 60;
const FIRST = 17;
const SECOND = 23;

/** Each step is a kind and a number that says nothing. */
async function play(tape: Tape): Promise<Outcome> {
  const { plan } = tape;
  const kinds: number[] = [];
  for (let step = 0; step < STEPS && !plan.isOver; step++) {
    await plan.span(async () => {
      kinds.push(plan.below(30));
      plan.below(1000);
    });
  }
  const at = kinds.indexOf(FIRST);
  const isFailure = at >= 0 && kinds.indexOf(SECOND, at) >= 0;
  const nothing = { trace: 0, events: 0, operations: kinds.length, acknowledged: 0 };
  return { failure: isFailure ? "both" : null, tape, ...nothing, situations: new Set(), log: [] };
}

test("leaves the steps that matter, and nothing of the others", async () => {
  let tried = 0;
  for (let seed = 1; tried < 5; seed++) {
    const failed = await play(Tape.ofSeed(seed));
    if (failed.failure === null) continue;
    tried += 1;
    const small = await shrink(failed, 10, play);
    assert.is(small.failure, "both");
    assert.equal(small.tape.content.plan, [FIRST, 0, SECOND, 0], `seed ${seed}`);
  }
});

test("gives back what failed when it has no time", async () => {
  const seed = 5;
  const failed = { ...(await play(Tape.ofSeed(seed))), failure: "so" };
  assert.is((await shrink(failed, -1, play)).tape, failed.tape);
});

test.run();
