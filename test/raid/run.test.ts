import fc from "fast-check";
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { pvbnOf } from "../../src/raid/geometry.ts";
import { assert, suite } from "../support/harness.ts";
import {
  allGeometries,
  byteAt,
  Fixture,
  isSame,
  plain,
  SEGMENT_STRIPES,
  sharedKernel,
  slotOf,
  stripeAt,
  stripeOf,
} from "./fixture.ts";

const test = suite("raid runs");
const code = (expected: string) => (error: unknown) => (error as { code?: string }).code === expected;
const failure = (promise: Promise<unknown>): Promise<Error & { code?: string }> =>
  promise.then(
    () => assert.unreachable("should have failed") as never,
    (error) => error,
  );

test("every geometry goes round: padded rows, blocks where pvbnAt says, parity that fits", async () => {
  const free = sharedKernel.arena.freeBytes;
  for (const { k, m } of allGeometries()) {
    const fixture = await Fixture.make({ slots: k + m, geometry: plain(k, m) });
    const rows = 2 * (k + m) + 1;
    const count = rows * k - (k >> 1);
    const run = await fixture.group.beginRun(0, 3, rows);
    assert.is(run.capacity, rows * k);
    const pvbns = fixture.fill(run, count);
    assert.is(run.count, count);
    assert.equal(
      pvbns,
      pvbns.map((_, index) => run.pvbnAt(index)),
    );
    assert.is(new Set(pvbns).size, count);
    assert.is(await run.write(), rows);
    run.release();
    for (const [index, pvbn] of pvbns.entries()) {
      assert.is(stripeOf(pvbn), 3 + Math.floor(index / k));
      assert.ok(isSame(fixture.peek(slotOf(pvbn), stripeOf(pvbn)), fixture.stored.get(pvbn)!.content));
    }
    await fixture.check(pvbns);
    for (const pvbn of pvbns.slice(0, 4)) await fixture.check([pvbn]);
    for (let stripe = 3; stripe < 3 + rows; stripe++) {
      assert.equal(await fixture.group.checkRow(stripe), { parityOk: true, unreadable: 0 });
    }
    await fixture.group.close();
  }
  assert.is(sharedKernel.arena.freeBytes, free, "all memory is back");
});

test("one write per member, of the used rows only, and the padding is zeros", async () => {
  const fixture = await Fixture.make({ slots: 5, geometry: plain(3, 2) });
  const pvbns = await fixture.write(7, 20, 3 * 4 + 1);
  assert.is(pvbns.length, 13);
  for (const disk of fixture.disks) {
    assert.is(disk.batches, 1);
    assert.equal(
      disk.submitted.map(({ kind, offset, buffer }) => [kind, offset, buffer.length]),
      [["write", byteAt(7), 5 * BLOCK_BYTES]],
    );
  }
  const used = new Set(pvbns);
  // Of the last row's five units two are zeros, and they are data.
  const zeros = [0, 1, 2, 3, 4].filter((slot) => isSame(fixture.peek(slot, 11), new Uint8Array(BLOCK_BYTES)));
  assert.is(zeros.length, 2);
  assert.not.ok(zeros.some((slot) => used.has(pvbnOf(11, slot))));
  assert.equal(await fixture.group.checkRow(11), { parityOk: true, unreadable: 0 });
});

test("an empty run writes nothing", async () => {
  const fixture = await Fixture.make({ slots: 3, geometry: plain(2, 1) });
  assert.equal(await fixture.write(0, 4, 0), []);
  assert.ok(fixture.disks.every((disk) => disk.batches === 0));
});

test("a narrow geometry leaves the other slots alone", async () => {
  const fixture = await Fixture.make({ slots: 6, geometry: { k: 2, m: 1, members: 0b101010 } });
  const pvbns = await fixture.write(0, 10, 20);
  assert.equal([...new Set(pvbns.map(slotOf))].sort(), [1, 3, 5]);
  assert.equal(
    fixture.disks.map((disk) => disk.batches),
    [0, 1, 0, 1, 0, 1],
  );
  await fixture.check(pvbns);
});

test("no write ever touches a row outside its run, or a slot outside its geometry", async () => {
  const runs = fc.array(
    fc.record({
      first: fc.nat(SEGMENT_STRIPES - 1),
      rows: fc.integer({ min: 1, max: SEGMENT_STRIPES }),
      segment: fc.nat(2),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      k: fc.integer({ min: 1, max: 4 }),
      m: fc.integer({ min: 0, max: 3 }),
      shift: fc.nat(3),
    }),
    { minLength: 1, maxLength: 4 },
  );
  await fc.assert(
    fc.asyncProperty(runs, async (list) => {
      const fixture = await Fixture.make({ slots: 10, geometry: plain(1, 0) });
      for (const { first, segment, share, k, m, shift, ...run } of list) {
        fixture.geometry = { k, m, members: plain(k, m).members << shift };
        const rows = Math.min(run.rows, SEGMENT_STRIPES - first);
        const stripe = segment * SEGMENT_STRIPES + first;
        const count = Math.floor(share * rows * k);
        const before = fixture.disks.map((_, slot) => snapshot(fixture, slot));
        const pvbns = await fixture.write(stripe, rows, count);
        const end = stripe + Math.ceil(count / k);
        for (const [slot, old] of before.entries()) {
          const isUsed = fixture.geometry.members & (1 << slot);
          const now = snapshot(fixture, slot);
          for (const [index, block] of now.entries()) {
            const isMine = isUsed && index >= stripe && index < end;
            assert.ok(isMine || isSame(block, old[index]!), `stripe ${index} of slot ${slot} was changed`);
          }
        }
        await fixture.check(pvbns);
      }
      await fixture.group.close();
    }),
    { numRuns: 25 },
  );
});

function snapshot(fixture: Fixture, slot: number): Uint8Array[] {
  return Array.from({ length: 3 * SEGMENT_STRIPES }, (_, stripe) => fixture.peek(slot, stripe));
}

test("a member that fails the write is dropped, reported once, and the run rejects", async () => {
  for (const slot of [0, 2, 3]) {
    const fixture = await Fixture.make({ slots: 4, geometry: plain(3, 1) });
    const broken = new Error("EIO");
    fixture.disks[slot]!.judge = ({ kind }) => (kind === "write" ? broken : null);
    const run = await fixture.group.beginRun(0, 0, 2);
    fixture.fill(run, 6);
    const error = await failure(run.write());
    assert.is(error.code, "ERR_MEMBER_FAILED");
    assert.is(error.cause, broken);
    assert.match(error.message, `member ${slot}`);
    assert.equal(fixture.failed, [{ slot, error: broken }]);
    assert.is(fixture.group.present, 0b1111 & ~(1 << slot));
    assert.is(fixture.group.memberErrors[slot]!.state, "failed");
    // It is not used any more, and no run may count on it.
    const batches = fixture.disks[slot]!.batches;
    run.release();
    assert.is((await failure(fixture.group.beginRun(0, 2, 1))).code, "ERR_MEMBER_FAILED");
    assert.is(await fixture.group.sync(), fixture.group.present);
    await fixture.group.discardSegment(0);
    assert.is(fixture.disks[slot]!.batches, batches);
    assert.is(fixture.disks[slot]!.syncs, 0);
    assert.equal(fixture.disks[slot]!.discarded, []);
    fixture.geometry = { k: 2, m: 1, members: fixture.group.present };
    await fixture.check(await fixture.write(5, 3, 6));
  }
});

test("a member that is dropped while the run is open or under way fails the run, replaced or not", async () => {
  for (const when of ["before", "replaced", "during"]) {
    const fixture = await Fixture.make({ slots: 3, geometry: plain(2, 1) });
    const run = await fixture.group.beginRun(0, 0, 1);
    fixture.fill(run, 2);
    let open = () => {};
    if (when === "during") fixture.disks[1]!.gate = new Promise((resolve) => (open = resolve));
    const written = when === "during" ? failure(run.write()) : undefined;
    fixture.group.dropMember(1, new Error("pulled"));
    const spare = await fixture.newDisk("spare");
    if (when === "replaced") fixture.group.addMember(1, spare);
    open();
    assert.is((await (written ?? failure(run.write()))).code, "ERR_MEMBER_FAILED");
    assert.is(spare.batches, 0);
    assert.is(fixture.disks[1]!.batches, when === "during" ? 1 : 0, "a dropped disk is left alone");
    assert.is(fixture.failed.length, 1);
    run.release();
  }
});

test("what a replaced disk did late is not held against the new one, nor for it", async () => {
  const fixture = await Fixture.make({ slots: 3, geometry: plain(2, 1) });
  const { group } = fixture;
  const run = await group.beginRun(0, 0, 1);
  fixture.fill(run, 2);
  let open = () => {};
  fixture.disks[1]!.gate = new Promise((resolve) => (open = resolve));
  fixture.disks[1]!.judge = () => new Error("EIO, late");
  const written = failure(run.write());
  const synced = group.sync();
  const reading = fixture.check([run.pvbnAt(1)]).catch(() => {});
  group.dropMember(1, new Error("pulled"));
  group.addMember(1, await fixture.newDisk("spare"));
  open();
  assert.is((await written).code, "ERR_MEMBER_FAILED");
  assert.is(await synced, 0b101, "the spare was not synced");
  await reading;
  assert.is(group.present, 0b111);
  assert.equal(
    fixture.failed.map(({ error }) => error.message),
    ["pulled"],
  );
  assert.equal(group.memberErrors[1], { readErrors: 0, checksumErrors: 0, state: "present" });
  run.release();
});

test("memory comes back once, and not while a disk still reads from it", async () => {
  const fixture = await Fixture.make({ slots: 3, geometry: plain(2, 1) });
  const { arena } = fixture.kernel;
  const free = arena.freeBytes;
  const run = await fixture.group.beginRun(0, 0, 2);
  assert.is(arena.freeBytes, free - 6 * BLOCK_BYTES);
  fixture.fill(run, 4);
  let open = () => {};
  fixture.disks[2]!.gate = new Promise((resolve) => (open = resolve));
  const written = run.write();
  run.release();
  run.release();
  assert.is(arena.freeBytes, free - 6 * BLOCK_BYTES, "a write is under way");
  assert.throws(() => run.next(), code("ERR_ASSERTION"));
  open();
  assert.is(await written, 2);
  assert.is(arena.freeBytes, free);
  run.release();
  assert.is(arena.freeBytes, free);
  const unused = await fixture.group.beginRun(0, 0, 2);
  unused.release();
  assert.is(arena.freeBytes, free);
});

test("misuse is refused: too many blocks, a second write, rows elsewhere, rows of an open run", async () => {
  const fixture = await Fixture.make({ slots: 3, geometry: plain(2, 1) });
  const { group } = fixture;
  const run = await group.beginRun(0, 10, 2);
  fixture.fill(run, 4);
  assert.throws(() => run.next(), /full with 4/);
  assert.throws(() => run.pvbnAt(4), code("ERR_ASSERTION"));
  await run.write();
  assert.is((await failure(run.write())).code, "ERR_ASSERTION");
  for (const [segment, first, rows] of [
    [0, 9, 2],
    [0, 11, 1],
    [0, 39, 2],
    [1, 39, 1],
    [0, 0, 0],
    [3, 120, 1],
  ] as const) {
    assert.is(
      (await failure(group.beginRun(segment, first, rows))).code,
      "ERR_ASSERTION",
      `${first}+${rows}`,
    );
  }
  assert.is((await failure(group.discardSegment(0))).code, "ERR_ASSERTION");
  run.release();
  (await group.beginRun(0, 9, 2)).release();
  await group.discardSegment(1);
  const range = { offset: byteAt(SEGMENT_STRIPES), length: SEGMENT_STRIPES * BLOCK_BYTES };
  assert.equal(
    fixture.disks.map((disk) => disk.discarded),
    [[range], [range], [range]],
  );
});

test("a sync that fails drops the member; the others are durable", async () => {
  const fixture = await Fixture.make({ slots: 4, geometry: plain(3, 1) });
  const pvbns = await fixture.write(0, 4, 12);
  fixture.disks[2]!.syncError = new Error("EIO");
  assert.is(await fixture.group.sync(0b0011), 0b0011);
  assert.equal(
    fixture.disks.map((disk) => disk.syncs),
    [1, 1, 0, 0],
  );
  assert.is(await fixture.group.sync(), 0b1011);
  assert.equal(
    fixture.failed.map(({ slot }) => slot),
    [2],
  );
  assert.is(await fixture.group.sync(), 0b1011);
  assert.is(fixture.disks[2]!.syncs, 1, "it is not retried");
  await fixture.check(pvbns);
  assert.equal(fixture.corrupt, [], "what lies on a failed member is missing, not corrupt");
  assert.ok(fixture.disks[2]!.of("read").length === 0);
  assert.ok(fixture.disks[0]!.of("read").every(({ offset }) => stripeAt(offset) < 4));
});

test("a member can be dropped and added again, with counters from zero", async () => {
  const fixture = await Fixture.make({ slots: 3, geometry: plain(2, 1) });
  const pvbns = await fixture.write(0, 3, 6);
  const { group } = fixture;
  fixture.disks[0]!.judge = () => new Error("EIO");
  await fixture.check(pvbns);
  assert.ok(group.memberErrors[0]!.readErrors > 0);
  assert.throws(() => group.addMember(0, fixture.disks[0]!), /in use/);
  group.dropMember(0, new Error("pulled"));
  group.dropMember(0, new Error("again"));
  assert.equal(
    fixture.failed.map(({ error }) => error.message),
    ["pulled"],
  );
  const spare = await fixture.newDisk("spare");
  group.addMember(0, spare);
  assert.equal(group.memberErrors[0], { readErrors: 0, checksumErrors: 0, state: "present" });
  assert.is(group.present, 0b111);
  // The new one is blank: everything on it is found wrong and reconstructed.
  await fixture.check(pvbns);
  assert.is(group.memberErrors[0]!.checksumErrors, pvbns.filter((pvbn) => slotOf(pvbn) === 0).length);
  assert.throws(() => group.addMember(3, spare), /no slot 3/);
});

test.run();
