// Every target on its kept corpus and on fresh inputs from a fixed seed; a thorough run takes fifty times as many.
// `npm run fuzz` goes on from here: with coverage, for as long as one likes.

import { assert, suite } from "../support/harness.ts";
import { isThorough } from "../support/thorough.ts";
import { corpusOf } from "./corpus.ts";
import { Fuzzer } from "./fuzzer.ts";
import { TARGETS } from "./targets.ts";

export const deadlineMs = 600_000;

const SEED = 20_261;
const THOROUGH = 50;

const test = suite("fuzz");
const nowMs = () => performance.now();

for (const target of TARGETS) {
  test(target.name, async () => {
    const fuzzer = new Fuzzer({ target, nowMs });
    const kept = corpusOf(target.name).map(({ input }) => input);
    const inputs = target.share * (isThorough ? THOROUGH : 1);
    const { found, accepted, inputs: tried } = await fuzzer.run(kept, { inputs, seed: SEED });
    if (found !== null) {
      const shown = Buffer.from(found.input).toString("hex").slice(0, 400);
      throw new Error(`npm run fuzz -- ${target.name} finds it too; input ${shown}`, { cause: found.error });
    }
    assert.ok(tried >= inputs, "all inputs were tried");
    assert.ok(accepted > 0, "some input is accepted, or nothing behind the first check was tried");
  });
}

test.run();
