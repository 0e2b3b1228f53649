// A real kernel file system through the loss of a whole machine: ext4 on the source's export, the source is killed in
// the middle of the writing, its mirror is promoted, and the file system is taken from there. After its journal has
// been replayed e2fsck must find nothing, and every file that was synced must be there with its hash.
//
// Several times with the same volumes: the old source becomes the mirror of the new one before the next kill.
import { skip, suite } from "../support/harness.ts";
import { SeededRandom } from "../support/memory_random.ts";
import { assertConsistent, assertFiles, FileWriter, replayJournal } from "../support/process_file_writer.ts";
import { mountObstacle, ProcessMount } from "../support/process_mount.ts";
import { ProcessPair } from "../support/process_pair.ts";
import { run } from "../support/process_programs.ts";
import { MIB } from "../support/process_side.ts";
import { isThorough } from "../support/thorough.ts";

export const deadlineMs = 300_000;

const SIZE_BYTES = 48 * MIB;
const FAILOVERS = isThorough ? 12 : 1;
const FILES_MAX = 25;

const seed = Number(process.env["MIRRORVOL_SEED"] ?? Date.now() % 1_000_000);

const test = suite(`ext4 and a failover (MIRRORVOL_SEED=${seed})`);

test("every synced file is on the promoted mirror", async () => {
  const obstacle = mountObstacle();
  if (obstacle !== null) skip(obstacle);
  const random = new SeededRandom(seed);
  const hashes = new Map<string, string>();
  const pair = await ProcessPair.create({ sizeBytes: SIZE_BYTES, portSeed: seed });
  const mount = new ProcessMount(pair.source.folder);
  try {
    await pair.start();
    await mount.attach(pair.source.uri);
    await run("mkfs.ext4", "-q", "-F", mount.device);
    for (let failover = 1; failover <= FAILOVERS; failover++) {
      await mount.mount();
      const writer = new FileWriter(mount.files, seed + failover, 0);
      await writer.synced(1 + random.below(FILES_MAX));
      await pair.source.kill();
      await writer.ended;
      for (const [name, hash] of writer.hashes) hashes.set(name, hash);
      await mount.detach();

      await pair.promote();
      await mount.attach(pair.mirror.uri);
      await replayJournal(mount.device);
      await assertConsistent(mount.device);
      await mount.mount();
      assertFiles(mount.files, hashes);
      await mount.unmount();
      await mount.detach();
      if (failover === FAILOVERS) break;
      await rejoin(pair);
      await mount.attach(pair.source.uri);
    }
  } finally {
    await mount.detach();
    await pair.close();
  }
});

/** The old source gives up what it has, and becomes the mirror of the promoted one. */
async function rejoin(pair: ProcessPair): Promise<void> {
  await pair.mirror.stop();
  pair.exchange();
  await pair.mirror.createAnew();
  await pair.start();
}

test.run();
