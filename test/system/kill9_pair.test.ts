// kill -9 at random moments against a pair of real nodes: whichever side is killed, and whichever side serves
// afterwards, every acknowledged write is there. The seed is in the suite's name; MIRRORVOL_SEED=N repeats.
import { assert, suite } from "../support/harness.ts";
import { SeededRandom } from "../support/memory_random.ts";
import { ProcessLoad } from "../support/process_load.ts";
import { ProcessPair } from "../support/process_pair.ts";
import { MIB } from "../support/process_side.ts";

export const deadlineMs = 180_000;

const SIZE_BYTES = 8 * MIB;
/** Of each of the three; together more than the twenty that must be. */
const ROUNDS = 8;
/** A log half takes about a hundred such writes. */
const WRITES_MAX = 300;

const seed = Number(process.env["MIRRORVOL_SEED"] ?? Date.now() % 1_000_000);

const test = suite(`kill -9 of a pair (MIRRORVOL_SEED=${seed})`);

async function withPair(pair: ProcessPair, use: () => Promise<void>): Promise<void> {
  try {
    await pair.start();
    await use();
  } finally {
    await pair.close();
  }
}

/** The end of a pair's life: the mirror alone has everything, and is as good as its source was. */
async function promoteAndVerify(pair: ProcessPair, load: ProcessLoad, when: string): Promise<void> {
  await pair.promote();
  const { role, state, generation } = await pair.mirror.status();
  assert.equal({ role, state, generation }, { role: "source", state: "serving", generation: 2 });
  await load.verify(pair.mirror, when);
}

test("the source, restarted", async () => {
  const random = new SeededRandom(seed);
  const load = new ProcessLoad(SIZE_BYTES, seed);
  const pair = await ProcessPair.create({ sizeBytes: SIZE_BYTES, portSeed: seed });
  await withPair(pair, async () => {
    for (let round = 1; round <= ROUNDS; round++) {
      await load.untilKilled(pair.source, 1 + random.below(WRITES_MAX), () => pair.source.kill());
      await pair.source.start();
      // Clients wait until both sides have compared their positions.
      await load.verify(pair.source, `after kill ${round}`);
      await pair.inSync();
    }
    assert.ok(load.blocksInDoubt > 0, "no kill came in mid-write");
    await pair.source.kill();
    await promoteAndVerify(pair, load, "on the promoted mirror");
  });
});

test("the mirror, restarted under load", async () => {
  const random = new SeededRandom(seed + 1);
  const load = new ProcessLoad(SIZE_BYTES, seed + 1);
  const pair = await ProcessPair.create({ sizeBytes: SIZE_BYTES, portSeed: seed });
  await withPair(pair, async () => {
    for (let round = 1; round <= ROUNDS; round++) {
      await load.throughout(pair.source, 1 + random.below(WRITES_MAX), async () => {
        await pair.mirror.kill();
        await pair.mirror.start();
      });
      await pair.inSync();
    }
    await load.verify(pair.source, "on the source");
    await load.untilKilled(pair.source, WRITES_MAX, () => pair.source.kill());
    await promoteAndVerify(pair, load, "on the promoted mirror");
  });
});

test("the source, its mirror promoted", async () => {
  const random = new SeededRandom(seed + 2);
  const unused = await ProcessPair.create({ sizeBytes: SIZE_BYTES, portSeed: seed });
  let blocksInDoubt = 0;
  try {
    for (let round = 1; round <= ROUNDS; round++) {
      const load = new ProcessLoad(SIZE_BYTES, seed + 2 + round);
      const pair = await unused.copy();
      await withPair(pair, async () => {
        await load.untilKilled(pair.source, 1 + random.below(WRITES_MAX), () => pair.source.kill());
        blocksInDoubt += load.blocksInDoubt;
        await promoteAndVerify(pair, load, `round ${round}`);
        if (round % 5 !== 0) return;
        // It is a source like any other: it takes writes and keeps them.
        await load.untilKilled(pair.mirror, 1 + random.below(WRITES_MAX), () => pair.mirror.kill());
        await pair.mirror.start();
        await load.verify(pair.mirror, `round ${round}, after the promoted mirror was killed`);
      });
    }
  } finally {
    await unused.close();
  }
  assert.ok(blocksInDoubt > 0, "no kill came in mid-write");
});

test.run();
