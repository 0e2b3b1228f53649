// A mirror's log after a torn tail: what the source had synced is no reason to call it corruption, what the mirror
// had confirmed is.
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { appendWrite, makeFiles, openLog, PREFIXES } from "./fixture.ts";

const test = suite("log of a mirror");

const LAST = 6;

/** A source's entries, each encoded when all before it were durable there and `mirrorDurable` on the mirror. */
async function entriesOf(mirrorDurable: number): Promise<Uint8Array[]> {
  const storage = new MemoryStorage();
  await makeFiles(storage);
  const log = await openLog(storage);
  log.mirrorDurable = mirrorDurable;
  const entries: Uint8Array[] = [];
  for (let tag = 1; tag <= LAST; tag++) {
    const entry = appendWrite(log, tag)!;
    entries.push(entry.view.slice());
    await log.whenDurable(entry.sequence);
  }
  await log.close();
  return entries;
}

/** A mirror that adopted them all, with entry `hole` destroyed in every copy. */
async function reopenedWithHole(entries: readonly Uint8Array[], hole: number, isMirror: boolean) {
  const storage = new MemoryStorage();
  await makeFiles(storage);
  const log = await openLog(storage, { isMirror });
  let location = 0;
  for (const bytes of entries) {
    const entry = log.adopt(bytes)!;
    if (entry.sequence === hole) location = log.status()[0]!.bytesUsed;
    await log.whenDurable(entry.sequence);
  }
  await log.close();
  const offset = 4096 + location - 4608;
  for (const prefix of PREFIXES)
    storage.poke(`${prefix}.${log.status()[0]!.slot}`, offset, new Uint8Array(512));
  return openLog(storage, { isMirror });
}

test("a tail that the mirror had not confirmed is torn, not corrupt", async () => {
  const log = await reopenedWithHole(await entriesOf(2), 4, true);
  assert.is(log.recovery.tail, 3);
  assert.is(log.recovery.requiredThrough, 3);
  await log.close();
});

test("an entry that the mirror had confirmed is missed", async () => {
  const log = await reopenedWithHole(await entriesOf(4), 4, true);
  assert.is(log.recovery.tail, 3);
  assert.is(log.recovery.requiredThrough, 4);
  await log.close();
});

test("a source counts what it had synced itself", async () => {
  const log = await reopenedWithHole(await entriesOf(2), 4, false);
  assert.is(log.recovery.tail, 3);
  assert.is(log.recovery.requiredThrough, LAST - 1);
  await log.close();
});

test.run();
