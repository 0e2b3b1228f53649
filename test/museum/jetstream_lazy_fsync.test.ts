// NATS JetStream 2.12.1 (nats-server issue 7564, found by Jepsen in 2025): a server acknowledges a message
// when it is in the page cache, and by default syncs its files every two minutes only. Several copies do not
// help when all nodes lose power at about the same time, as machines in one rack do: what was acknowledged
// within the last minutes, or the whole stream, is gone.
//
// Ours: in the mode `sync` a write is acknowledged when the log files of both sides are synced. So both may
// lose power in the moment of any acknowledgement, with all that was not synced gone, and either side alone
// has it.

import { Pair } from "../replication/pair.ts";
import { assert, suite } from "../support/harness.ts";
import type { MemoryStorage } from "../support/memory_storage.ts";

const test = suite("museum: acknowledged before it is synced");
const WRITES = 12;
/** A consistency point in between: the newest writes lie in the log, the older ones in the image. */
const CP_AFTER = 5;

interface Blackout {
  /** So many writes had been acknowledged. */
  readonly acknowledged: number;
  readonly source: MemoryStorage;
  readonly mirror: MemoryStorage;
}

let once: Promise<Blackout[]> | null = null;

/** The power of both sides fails in the very turn in which each write is acknowledged. */
async function blackouts(): Promise<Blackout[]> {
  once ??= lose();
  const copy = (storage: MemoryStorage) => storage.ifPowerFailedNow("keep");
  return (await once).map((each) => ({ ...each, source: copy(each.source), mirror: copy(each.mirror) }));
}

async function lose(): Promise<Blackout[]> {
  const pair = await Pair.inSync();
  const found: Blackout[] = [];
  for (let lba = 0; lba < WRITES; lba++) {
    await pair.write(lba, lba + 1);
    const source = pair.source.storage.ifPowerFailedNow("drop");
    const mirror = pair.mirror.storage.ifPowerFailedNow("drop");
    found.push({ acknowledged: lba + 1, source, mirror });
    if (lba === CP_AFTER) await pair.consistencyPoint();
  }
  await pair.close();
  return found;
}

test("both sides lose power at every acknowledgement, and come back", async () => {
  for (const { acknowledged, source, mirror } of await blackouts()) {
    const pair = Pair.of(source, mirror);
    await pair.openMirror();
    await pair.openSource();
    await pair.untilInSync();
    for (let lba = 0; lba < acknowledged; lba++) await pair.expect(pair.source.volume, lba, lba + 1);
    await pair.close();
  }
});

test("both sides lose power at every acknowledgement, and only the mirror comes back", async () => {
  for (const { acknowledged, source, mirror } of await blackouts()) {
    const pair = Pair.of(source, mirror);
    await pair.openMirror();
    const promotion = await pair.waitFor("promotion", pair.service.promote("orders"));
    assert.not.ok(promotion.isForced);
    for (let lba = 0; lba < acknowledged; lba++) await pair.expect(pair.mirror.volume, lba, lba + 1);
    await pair.closeMirror();
  }
});

test("both sides lose power at every acknowledgement, and only the source comes back", async () => {
  for (const { acknowledged, source, mirror } of await blackouts()) {
    const pair = Pair.of(source, mirror, { target: { onMirrorLoss: "continue" } });
    await pair.openSource();
    for (let lba = 0; lba < acknowledged; lba++) await pair.expect(pair.source.volume, lba, lba + 1);
    await pair.closeSource();
  }
});

test.run();
