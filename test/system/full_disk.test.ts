// Real file systems that are full: a tmpfs of a few megabytes under members or logs.
//
//   the log       is written in full when it is made: a disk that fills up later cannot hurt it, and one that is too
//                 small is found out before anything is served
//   the members   are sparse, and a consistency point may find no room: then a member is lost like any other. When too
//                 many are, the volume stops and says why; what was acknowledged is in the log, and in the image once
//                 there is room
import { readdirSync, statfsSync, writeFileSync } from "node:fs";
import { type Finished, runMirrorvol } from "../../examples/support/processes.ts";
import type { ServedStatus } from "../../src/node/status.ts";
import { assert, skip, suite } from "../support/harness.ts";
import { ProcessLoad } from "../support/process_load.ts";
import { ProcessPair } from "../support/process_pair.ts";
import { MIB, ProcessSide } from "../support/process_side.ts";
import { ProcessTmpfs, tmpfsObstacle } from "../support/process_tmpfs.ts";

export const deadlineMs = 120_000;

const SIZE_BYTES = 8 * MIB;
const SHAPE = { sizeBytes: SIZE_BYTES, memberCount: 3, parity: 1 };
/** So many writes are more than the small disk holds, and less than the volume does without one member. */
const WRITES = 250;
/** Where writing goes on until something happens: far more than that takes. */
const WRITES_MAX = 100 * WRITES;
const SMALL_BYTES = 3 * MIB;
const LARGE_BYTES = 64 * MIB;
const ERRNO_IO = 5;
const LOOK_MS = 20;

const test = suite("full disk");

async function withDisk(bytes: number, use: (disk: ProcessTmpfs) => Promise<void>): Promise<void> {
  const obstacle = tmpfsObstacle();
  if (obstacle !== null) skip(obstacle);
  const disk = await ProcessTmpfs.mount(bytes);
  try {
    await use(disk);
  } finally {
    await disk.close();
  }
}

async function withSide(volume: object, use: (side: ProcessSide) => Promise<void>): Promise<void> {
  const side = await ProcessSide.create({ ...SHAPE, volume: { cpInterval: "200ms", ...volume } });
  try {
    await use(side);
  } finally {
    await side.close();
  }
}

function membersOn(disk: ProcessTmpfs, count: number): string[] {
  return Array.from({ length: count }, (_, at) => disk.path(`member${at}`));
}

async function seen(side: ProcessSide, isWanted: (status: ServedStatus) => boolean): Promise<void> {
  while (!isWanted(await side.status())) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}

/** Until nothing fits any more. */
function fill(disk: ProcessTmpfs): void {
  const { bavail, bsize } = statfsSync(disk.folder);
  writeFileSync(disk.path("filler"), new Uint8Array(bavail * bsize));
  assert.is(statfsSync(disk.folder).bavail, 0);
}

test("create finds that the log does not fit, and leaves nothing", async () => {
  await withDisk(6 * MIB, async (disk) => {
    const file = disk.path("node.json");
    const volume = {
      size: SIZE_BYTES,
      members: membersOn(disk, 3),
      log: [disk.path("log")],
      logSize: "8MiB",
    };
    writeFileSync(file, JSON.stringify({ nbd: "127.0.0.1:0", volumes: { disk: volume } }));
    const { code, stderr } = await runMirrorvol("create", "--config", file);
    assert.is(code, 1);
    assert.match(stderr, /log\.\d: write at \d+: .*no space left/i);
    assert.equal(readdirSync(disk.folder), ["node.json"]);
  });
});

test("a log copy on a disk that is full goes on, through every half", async () => {
  await withDisk(9 * MIB, async (disk) => {
    const load = new ProcessLoad(SIZE_BYTES, 1);
    await withSide({ log: [disk.path("log")] }, async (side) => {
      fill(disk);
      await side.start();
      await load.throughout(side, 2 * WRITES, () => seen(side, ({ cp }) => cp >= 4));
      const { log, degraded } = await side.status();
      assert.equal([log[0]!.state, degraded], ["current", false]);
      await side.kill();
      await side.start();
      await load.verify(side, "after a kill");
    });
  });
});

test("a member whose disk is full is lost, and nothing else", async () => {
  await withDisk(MIB, async (disk) => {
    const load = new ProcessLoad(SIZE_BYTES, 2);
    const members = membersOn(disk, 3);
    await withSide({ members: ["member0", members[1], "member2"] }, async (side) => {
      await side.start();
      await load.throughout(side, WRITES, () => seen(side, (status) => status.degraded));
      const { state, members: found } = await side.status();
      assert.equal([state, found.map((each) => each.state)], ["serving", ["current", "missing", "current"]]);
      const { code, stderr } = await side.end();
      assert.is(code, 0);
      assert.match(stderr, /degraded: member 1 is lost: .*no space left/i);
      await side.start();
      await load.verify(side, "after a restart");
    });
  });
});

test("a volume whose members have no room stops, says why, and loses nothing", async () => {
  await withDisk(SMALL_BYTES, async (disk) => {
    const load = new ProcessLoad(SIZE_BYTES, 3);
    await withSide({ members: membersOn(disk, 3) }, async (side) => {
      await side.start();
      const failure = await load.tryToWrite(side, WRITES_MAX);
      assert.is((failure as { errno?: number } | null)?.errno, ERRNO_IO, String(failure));
      const { state, reason } = await side.status();
      assert.is(state, "failed");
      assert.match(reason!, "has stopped: too few members");
      const { code, stderr } = await side.end();
      assert.is(code, 0);
      assert.match(stderr, /is lost: .*no space left/i);
      assert.match(stderr, /has stopped: too few members/);
      await disk.resize(LARGE_BYTES);
      await side.start();
      await load.verify(side, "when there is room");
      assert.is(await side.consistencyPoint(), null);
      await load.throughout(side, 20, async () => {});
      await side.stop();
      await side.start();
      await load.verify(side, "from the image");
    });
  });
});

test("a mirror without room waits for it, and its source with it", async () => {
  await withDisk(SMALL_BYTES, async (disk) => {
    const load = new ProcessLoad(SIZE_BYTES, 4);
    const mirrorVolume = { members: membersOn(disk, 4) };
    const pair = await ProcessPair.create({ sizeBytes: SIZE_BYTES, portSeed: 7_000, mirrorVolume });
    try {
      await pair.start();
      await load.throughout(pair.source, 1, async () => {
        const { stderr } = await untilStopped(pair.mirror);
        assert.match(stderr, /is lost: .*no space left/i);
        await disk.resize(LARGE_BYTES);
        await pair.mirror.start();
      });
      await pair.inSync();
      await pair.source.kill();
      await pair.promote();
      await load.verify(pair.mirror, "on the promoted mirror");
    } finally {
      await pair.close();
    }
  });
});

/** Resolves with what the node said when its volume has stopped and it has ended. */
async function untilStopped(side: ProcessSide): Promise<Finished> {
  while ((await side.status()).state !== "failed")
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  return side.end();
}

test.run();
