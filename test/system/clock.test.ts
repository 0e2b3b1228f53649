// Nothing depends on the wall clock: two nodes whose clocks are decades apart are a pair like any other, and clocks
// that jump, forth and back, change nothing that a client, a consistency point or a timeout can notice.
import { assert, skip, suite } from "../support/harness.ts";
import { faketimeObstacle, ProcessClock } from "../support/process_faketime.ts";
import { ProcessLoad } from "../support/process_load.ts";
import { ProcessPair } from "../support/process_pair.ts";
import { MIB } from "../support/process_side.ts";

export const deadlineMs = 120_000;

const SIZE_BYTES = 4 * MIB;
const WRITES = 150;
const JUMPS = ["+5y", "-20y", "-1s", "+36h", "-40y", "+0"];
const JUMP_MS = 250;
/** Shorter than any of the jumps but one: a timeout that looked at the wall clock would be over at once. */
const MIRROR_TIMEOUT_MS = 5_000;

const test = suite("wall clocks");

test("decades apart, and jumping, they decide nothing", async () => {
  const obstacle = faketimeObstacle();
  if (obstacle !== null) skip(obstacle);
  const volume = { cpInterval: "200ms" };
  const options = { sizeBytes: SIZE_BYTES, volume, mirrorTimeoutMs: MIRROR_TIMEOUT_MS, portSeed: 6_000 };
  const pair = await ProcessPair.create(options);
  const { source, mirror } = pair;
  const clocks = [new ProcessClock(source.folder, "+10y"), new ProcessClock(mirror.folder, "-25y")] as const;
  const load = new ProcessLoad(SIZE_BYTES, 1);
  try {
    await mirror.start(clocks[1].command);
    await source.start(clocks[0].command);
    await pair.inSync();
    const before = (await source.status()).cp;
    await load.throughout(source, WRITES, async () => {
      for (const [at, offset] of JUMPS.entries()) {
        clocks[at % 2]!.jump(offset);
        await new Promise((resolve) => setTimeout(resolve, JUMP_MS));
      }
    });
    const { cp, mirror: relation } = await source.status();
    assert.ok(cp >= before + 3, `${cp - before} consistency points while the clocks jumped`);
    assert.is(relation!.state, "in sync");

    // Back to before everything that is on the disks.
    await source.kill();
    clocks[0].jump("-50y");
    await source.start(clocks[0].command);
    await load.verify(source, "with a clock from before it was made");
    await pair.inSync();
    const { stderr } = await source.end();
    assert.match(stderr, `${new Date().getFullYear() - 50}-`, "its clock was not set back");
    assert.not.match(stderr, "the mirror is lost");
    await pair.promote();
    await load.verify(mirror, "on the promoted mirror");
    await load.throughout(mirror, WRITES, async () => clocks[1].jump("+60y"));
    await mirror.kill();
    clocks[1].jump("-30y");
    await mirror.start(clocks[1].command);
    await load.verify(mirror, "after its own kill");
  } finally {
    await pair.close();
  }
});

test.run();
