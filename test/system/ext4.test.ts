// A real kernel file system on a volume of a real node: ext4 over a loop device over nbdfuse. ext4 relies on
// what a disk promises about flushes and FUA, and e2fsck sees every block that is not what was written.
import { skip, suite } from "../support/harness.ts";
import { assertConsistent, assertFiles, FileWriter, replayJournal } from "../support/process_file_writer.ts";
import { mountObstacle, ProcessMount } from "../support/process_mount.ts";
import { run } from "../support/process_programs.ts";
import { MIB, ProcessSide } from "../support/process_side.ts";
import { isThorough } from "../support/thorough.ts";

export const deadlineMs = 120_000;

const SIZE_BYTES = 64 * MIB;
const FILES_BEFORE_KILL = 25;
const KILLS = isThorough ? 3 : 2;

const test = suite("ext4");

interface Ground {
  readonly side: ProcessSide;
  readonly mount: ProcessMount;
}

/** A running node whose volume has a fresh file system, attached and not mounted. */
async function withFileSystem(use: (ground: Ground) => Promise<void>): Promise<void> {
  const obstacle = mountObstacle();
  if (obstacle !== null) skip(obstacle);
  const side = await ProcessSide.create({ sizeBytes: SIZE_BYTES, memberCount: 3, parity: 1 });
  const mount = new ProcessMount(side.folder);
  try {
    await side.start();
    await mount.attach(side.uri);
    await run("mkfs.ext4", "-q", "-F", mount.device);
    await use({ side, mount });
  } finally {
    await mount.detach();
    await side.close();
  }
}

test("keeps files over an unmount and a restart", async () => {
  await withFileSystem(async ({ side, mount }) => {
    await mount.mount();
    const writer = new FileWriter(mount.files, 1, 60);
    await writer.ended;
    await mount.unmount();
    await assertConsistent(mount.device);
    await mount.detach();
    await side.stop();
    await side.start();
    await mount.attach(side.uri);
    await assertConsistent(mount.device);
    await mount.mount();
    assertFiles(mount.files, writer.hashes);
    await mount.unmount();
  });
});

test("keeps every synced file when the node is killed, again and again", async () => {
  await withFileSystem(async ({ side, mount }) => {
    const hashes = new Map<string, string>();
    for (let kill = 1; kill <= KILLS; kill++) {
      await mount.mount();
      assertFiles(mount.files, hashes);
      const writer = new FileWriter(mount.files, kill, 0);
      await writer.synced(FILES_BEFORE_KILL * kill);
      await side.kill();
      await writer.ended;
      for (const [name, hash] of writer.hashes) hashes.set(name, hash);
      await mount.detach();
      await side.start();
      await mount.attach(side.uri);
      await replayJournal(mount.device);
      await assertConsistent(mount.device);
    }
    await mount.mount();
    assertFiles(mount.files, hashes);
    await mount.unmount();
    await assertConsistent(mount.device);
  });
});

test.run();
