// A mirror that has entries behind the point where its source branched off gets an image that lies below the end of
// its own log. Power may fail at any write and sync while it takes that image over: what the old branch left in
// its log is then neither taken for entries of the new one, nor missed.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";
import type { MemoryStorage } from "../support/memory_storage.ts";
import { share } from "../support/thorough.ts";
import { Pair, type PairOptions, TIMEOUT_MS } from "./pair.ts";

export const deadlineMs = 120_000;

const test = suite("image below the old log's end");

const BLOCKS = 192;
const sizes = { sizeBytes: BLOCKS * BLOCK_BYTES, memberBytes: 4 * 1024 * 1024 };
const options: PairOptions = {
  target: { onMirrorLoss: "continue" },
  source: { ...sizes, log: ["log"] },
  mirror: { ...sizes, members: ["x", "y", "z", "u"] },
};
const ACKNOWLEDGED = 5;
/** Only the mirror gets them; nobody is told. They fill more than a half of the log. */
const UNACKNOWLEDGED = 20;
const UNACKNOWLEDGED_BLOCKS = 16;

/** The image that the mirror gets: of the empty volume, or of one of these CPs. */
type LastCp = "none" | "before the branch" | "after the branch";

/** The source is back, alone, in a generation of its own; the mirror has more, which was never acknowledged. */
async function branched(lastCp: LastCp): Promise<Pair> {
  const pair = await Pair.inSync(options);
  for (let lba = 0; lba < ACKNOWLEDGED; lba++) await pair.write(lba, 1);
  if (lastCp === "before the branch") {
    await pair.consistencyPoint();
    await pair.untilEqual();
  }
  const { sequence } = pair.source.volume.position;
  // Its disks do nothing any more, its network does.
  pair.source.storage.stop();
  const data = new Uint8Array(UNACKNOWLEDGED_BLOCKS * BLOCK_BYTES).fill(7);
  for (let i = 0; i < UNACKNOWLEDGED; i++) {
    void pair.source.volume.write(i * BLOCK_BYTES, data);
    await settle();
  }
  // The seal of the half that they fill is among them.
  assert.is(pair.mirror.volume.durable, sequence + UNACKNOWLEDGED + 1);
  pair.network.isDown = true;
  await pair.crashSource("drop");
  await pair.openSource();
  await pair.clock.advance(2 * TIMEOUT_MS);
  await pair.write(0, 2);
  if (lastCp === "after the branch") await pair.consistencyPoint();
  assert.is(pair.source.volume.generation.number, 2);
  assert.is(pair.source.volume.history[1]!.startSequence, sequence);
  return pair;
}

interface CrashPoint {
  readonly event: number;
  readonly source: MemoryStorage;
  readonly mirror: MemoryStorage;
}

/** Every event on the mirror's disks until it is in sync again. */
async function crashPoints(lastCp: LastCp): Promise<CrashPoint[]> {
  const pair = await branched(lastCp);
  const points: CrashPoint[] = [];
  pair.mirror.storage.onEvent = ({ number: event }) => {
    const mirror = pair.mirror.storage.ifPowerFailedNow(event % 3 === 0 ? "drop" : event);
    points.push({ event, source: pair.source.storage.ifPowerFailedNow("keep"), mirror });
  };
  pair.network.isDown = false;
  await pair.untilInSync();
  pair.mirror.storage.onEvent = () => {};
  await pair.close();
  return points;
}

/** The pair is mended, and the mirror is as good as any other: no force is needed to promote it. */
async function recover({ source, mirror }: CrashPoint): Promise<void> {
  const pair = Pair.of(source, mirror, options);
  await pair.openMirror();
  await pair.openSource();
  await pair.until("in sync", () => pair.state === "in sync" || pair.state === "diverged");
  assert.is(pair.state, "in sync", pair.relationship.status().detail);
  await pair.write(1, 3);
  await pair.crashSource("drop");
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  const promotion = await pair.waitFor("promotion", pair.service.promote("orders"));
  assert.not.ok(promotion.isForced);
  await pair.expect(pair.mirror.volume, 0, 2);
  await pair.expect(pair.mirror.volume, 1, 3);
  for (let lba = 2; lba < UNACKNOWLEDGED + UNACKNOWLEDGED_BLOCKS; lba++) {
    await pair.expect(pair.mirror.volume, lba, lba < ACKNOWLEDGED ? 1 : 0);
  }
  await pair.closeMirror();
}

for (const lastCp of ["none", "before the branch", "after the branch"] as const) {
  test(`last consistency point: ${lastCp}; power fails at every write and sync of the mirror`, async () => {
    const points = await crashPoints(lastCp);
    assert.ok(points.length > 20, `only ${points.length} events`);
    for (const point of share(points, 16)) {
      await recover(point).catch((error: unknown) => {
        throw new Error(`event ${point.event}: ${String(error)}`, { cause: error });
      });
    }
  });
}

test.run();
