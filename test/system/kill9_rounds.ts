// npm run kill9 -- [--rounds N] [--seed N]
//
// kill -9 at random moments against real processes, over and over on the same volumes: a fifth of the rounds on a
// lone volume, the others on a pair, whose four kinds take turns (test/support/process_rounds.ts). Ends with 1 at
// the first thing that is not as it must be; the same seed repeats the load and comes close to the moments.
import { parseArgs } from "node:util";
import { LoneRounds, PairRounds, type Rounds } from "../support/process_rounds.ts";

const ROUNDS = 1000;
/** One round in so many is on the lone volume. */
const LONE_EVERY = 5;
/** Fresh volumes after so many rounds: old ones must last, new ones see what only happens once. */
const ROUNDS_PER_VOLUME = 100;

const { values } = parseArgs({
  options: { rounds: { type: "string" }, seed: { type: "string" } },
});
const rounds = Number(values.rounds ?? ROUNDS);
const firstSeed = Number(values.seed ?? Date.now() % 1_000_000);
const startMs = performance.now();

const seconds = () => ((performance.now() - startMs) / 1000).toFixed(1);

process.on("SIGINT", () => process.exit(1)).on("SIGTERM", () => process.exit(1));
console.log(`${rounds} rounds from seed ${firstSeed}`);
for (let done = 0; done < rounds; ) {
  const seed = firstSeed + done;
  done += await runVolumes(seed, Math.min(ROUNDS_PER_VOLUME, rounds - done), done);
}
console.log(`${rounds} rounds of kill -9 in ${seconds()} s, nothing lost`);

async function runVolumes(seed: number, count: number, before: number): Promise<number> {
  const volumes: Rounds[] = [];
  try {
    volumes.push(await LoneRounds.create(seed), await PairRounds.create(seed));
    for (let round = 1; round <= count; round++) {
      const what = await volumes[round % LONE_EVERY === 0 ? 0 : 1]!.round();
      console.log(`${seconds()} s: round ${before + round}: ${what}`);
    }
    for (const each of volumes) await each.finish();
    return count;
  } catch (error) {
    console.error(`seed ${seed}, after ${seconds()} s:`);
    throw error;
  } finally {
    await Promise.all(volumes.map((each) => each.close()));
  }
}
