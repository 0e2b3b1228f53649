// Power fails on either side at many points of a workload: what was acknowledged is there afterwards, what was in
// doubt is either there or not and then stays, and both sides come to the same root hash.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";
import { content, expectBytes } from "../volume/fixture.ts";
import { Pair, TIMEOUT_MS } from "./pair.ts";

export const deadlineMs = 240_000;

const test = suite("replication crash");
const LBAS = 24;

/** What each block may hold: the acknowledged version and those under way since. */
class Versions {
  readonly acknowledged = new Array<number>(LBAS).fill(0);
  readonly underWay: number[][] = Array.from({ length: LBAS }, () => []);
}

/** Writes that nobody waits for: they end when they can. */
function writeAll(pair: Pair, versions: Versions, from: number, count: number): Promise<void>[] {
  return Array.from({ length: count }, async (_, i) => {
    const version = from + i;
    const lba = (version * 7) % LBAS;
    versions.underWay[lba]!.push(version);
    await pair.source.volume.write(lba * BLOCK_BYTES, content(lba, version));
    versions.acknowledged[lba] = version;
    const passed = versions.underWay[lba]!.indexOf(version);
    versions.underWay[lba]!.splice(0, passed + 1);
  });
}

/** Reads every block: one of the versions it may have; that one is settled from now on. */
async function readBack(pair: Pair, versions: Versions): Promise<void> {
  for (let lba = 0; lba < LBAS; lba++) {
    const offset = lba * BLOCK_BYTES;
    const block = await pair.waitFor("a read", pair.source.volume.read(offset, BLOCK_BYTES));
    const allowed = [versions.acknowledged[lba]!, ...versions.underWay[lba]!];
    const found = allowed.find((version) => isEqual(block, expected(lba, version)));
    assert.ok(found !== undefined, `block ${lba} holds none of ${allowed}`);
    versions.acknowledged[lba] = found!;
    versions.underWay[lba] = [];
  }
}

const expected = (lba: number, version: number) =>
  version === 0 ? new Uint8Array(BLOCK_BYTES) : content(lba, version);
const isEqual = (a: Uint8Array, b: Uint8Array) => a.every((byte, i) => byte === b[i]);

/** A workload that is stopped after so many storage events on one side. */
async function runUntilStop(pair: Pair, versions: Versions, events: number, side: "source" | "mirror") {
  const { storage } = pair[side];
  storage.stopAt(storage.eventCount + events);
  let version = 1;
  for (let round = 0; round < 12 && !storage.isStopped; round++) {
    const writes = writeAll(pair, versions, version, 8);
    for (const write of writes) write.catch(() => {});
    version += 8;
    if (round % 4 === 3) pair.source.volume.consistencyPoint().catch(() => {});
    for (let turn = 0; turn < 12 && !storage.isStopped; turn++) await settle();
  }
  for (const list of versions.underWay) list.sort((a, b) => a - b);
}

async function checkAgreement(pair: Pair, versions: Versions): Promise<void> {
  await pair.untilInSync();
  await readBack(pair, versions);
  await pair.write(3, 9000);
  versions.acknowledged[3] = 9000;
  await pair.consistencyPoint();
  await pair.untilEqual();
  await pair.crashSource();
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  await pair.waitFor("promotion", pair.service.promote("orders"));
  for (let lba = 0; lba < LBAS; lba++) {
    const block = await pair.waitFor("a read", pair.mirror.volume.read(lba * BLOCK_BYTES, BLOCK_BYTES));
    expectBytes(block, expected(lba, versions.acknowledged[lba]!), lba * BLOCK_BYTES);
  }
  await pair.closeMirror();
}

for (const how of ["drop", "keep", 77] as const) {
  test(`the source stops at many points and comes back (unsynced sectors: ${how})`, async () => {
    for (let events = 1; events < 160; events += 17) {
      const pair = await Pair.inSync();
      const versions = new Versions();
      await runUntilStop(pair, versions, events, "source");
      await pair.crashSource(how);
      await pair.openSource();
      await checkAgreement(pair, versions);
    }
  });

  test(`the mirror stops at many points and comes back (unsynced sectors: ${how})`, async () => {
    for (let events = 1; events < 160; events += 19) {
      const pair = await Pair.inSync();
      const versions = new Versions();
      await runUntilStop(pair, versions, events, "mirror");
      await pair.crashMirror(how);
      await pair.openMirror();
      await checkAgreement(pair, versions);
    }
  });
}

test("continue: the source stops, comes back alone, and the mirror rejoins", async () => {
  for (let events = 5; events < 160; events += 31) {
    const pair = await Pair.inSync({ target: { onMirrorLoss: "continue" } });
    const versions = new Versions();
    await runUntilStop(pair, versions, events, "source");
    await pair.crashSource(events);
    pair.network.isDown = true;
    await pair.openSource();
    await pair.clock.advance(2 * TIMEOUT_MS);
    await readBack(pair, versions);
    pair.network.isDown = false;
    await checkAgreement(pair, versions);
  }
});

test("the first sync stops at many points, on either side, and is completed", async () => {
  for (const side of ["source", "mirror"] as const) {
    for (let events = 1; events < 90; events += 13) {
      const pair = await Pair.create();
      const { storage } = pair[side];
      const versions = new Versions();
      await pair.openSource();
      await pair.openMirror();
      storage.stopAt(storage.eventCount + events);
      for (let turn = 0; turn < 40 && !storage.isStopped; turn++) {
        await settle();
        await pair.clock.advance(20);
      }
      if (side === "source") {
        await pair.crashSource(events);
        await pair.openSource();
      } else {
        await pair.crashMirror(events);
        await pair.openMirror();
      }
      await checkAgreement(pair, versions);
    }
  }
});

test.run();
