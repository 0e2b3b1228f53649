// "Protocol-Aware Recovery for Consensus-Based Storage" (Alagappan and others, FAST '18): asked what to do
// about a log entry whose checksum does not fit, several replicated systems cut the log there, as after a
// torn write. But when later entries follow, it was not the last write that was torn: an entry that had been
// acknowledged is damaged, and the cut throws it away together with all that follows.
//
// Ours: every entry says how far the log was durable when it was made. So a torn tail and a damaged entry can
// be told apart: the tail is cut, the damage is repaired from the other copy or from the mirror, or nothing
// is served.
import { BLOCK_BYTES, LOG_ENTRIES_OFFSET } from "../../assembly/format.ts";
import { Pair } from "../replication/pair.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { content, makeVolume, openVolume, smallConfig } from "../volume/fixture.ts";
import { versionOf } from "./support.ts";

const test = suite("museum: a log that is cut at a damaged entry");
const WRITES = 6;
/** An entry of one block, with its padding. */
const ENTRY_BYTES = 4608;

/** The header of the entry, or its payload. */
function damage(storage: MemoryStorage, path: string, entry: number, within: number): void {
  const offset = LOG_ENTRIES_OFFSET + entry * ENTRY_BYTES + within;
  storage.poke(
    path,
    offset,
    storage.peek(path, offset, 4).map((byte) => byte ^ 0xff),
  );
}

async function written(log: readonly string[]) {
  const config = smallConfig({ log });
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  for (let lba = 0; lba < WRITES; lba++) await volume.write(lba * BLOCK_BYTES, content(lba, 1));
  await volume.close();
  return { config, storage };
}

for (const [what, within] of [
  ["header", 24],
  ["payload", 2000],
] as const) {
  test(`one copy, no mirror: with a damaged ${what} nothing is served, and nothing is cut`, async () => {
    for (let entry = 0; entry < WRITES - 1; entry++) {
      const { config, storage } = await written(["a/log"]);
      damage(storage, "a/log.1", entry, within);
      const last = storage.peek("a/log.1", LOG_ENTRIES_OFFSET + (WRITES - 1) * ENTRY_BYTES, ENTRY_BYTES);
      assert.is(await codeOf(openVolume(storage, config)), "ERR_LOG_CORRUPT");
      const after = storage.peek("a/log.1", LOG_ENTRIES_OFFSET + (WRITES - 1) * ENTRY_BYTES, ENTRY_BYTES);
      assert.equal(after, last, "the entries behind it are still there");
    }
  });

  test(`two copies: a different ${what} is damaged in each, and none is missing`, async () => {
    for (let entry = 0; entry < WRITES; entry++) {
      const { config, storage } = await written(["a/log", "b/log"]);
      damage(storage, "a/log.1", entry, within);
      damage(storage, "b/log.1", (entry + 3) % WRITES, within);
      const volume = await openVolume(storage, config);
      for (let lba = 0; lba < WRITES; lba++) assert.is(await versionOf(volume, lba, [0, 1]), 1);
      await volume.close();
    }
  });

  test(`a source whose ${what} is damaged in every copy gets the entry back from its mirror`, async () => {
    for (const entry of [0, 2, WRITES - 2]) {
      const pair = await Pair.inSync();
      for (let lba = 0; lba < WRITES; lba++) await pair.write(lba, 1);
      await pair.crashSource();
      const { storage } = pair.source;
      for (const path of ["log0.1", "log1.1"]) damage(storage, path, entry, within);
      await pair.openSource();
      for (let lba = 0; lba < WRITES; lba++) await pair.expect(pair.source.volume, lba, 1);
      await pair.untilInSync();
      await pair.close();
    }
  });
}

test("a mirror whose log is damaged is not promoted as if it had everything", async () => {
  const pair = await Pair.inSync();
  for (let lba = 0; lba < WRITES; lba++) await pair.write(lba, 1);
  await pair.crashSource();
  await pair.crashMirror();
  const { storage } = pair.mirror;
  const hasEntries = (path: string) =>
    storage.peek(path, LOG_ENTRIES_OFFSET, ENTRY_BYTES).some((byte) => byte !== 0);
  damage(storage, storage.paths.find((path) => path.startsWith("log.") && hasEntries(path))!, 1, 2000);
  await pair.openMirror();
  assert.is(await codeOf(pair.service.promote("orders")), "ERR_NOT_IN_SYNC");
  await pair.closeMirror();
});

test.run();
