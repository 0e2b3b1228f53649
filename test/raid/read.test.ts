import { BLOCK_BYTES } from "../../assembly/format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { countOf, pvbnOf, RowLayout, slotsOf } from "../../src/raid/geometry.ts";
import { assert, suite } from "../support/harness.ts";
import { SeededRandom } from "../support/memory_random.ts";
import {
  allGeometries,
  byteAt,
  Fixture,
  isSame,
  plain,
  randomBlock,
  SEGMENT_STRIPES,
  sharedKernel,
  slotOf,
  stripeAt,
  stripeOf,
  subsets,
} from "./fixture.ts";

const test = suite("raid reads");

/** The block of data unit `unit` in a stripe. */
function blockOf(fixture: Fixture, stripe: number, unit: number): number {
  return pvbnOf(stripe, new RowLayout(fixture.geometry).slotOfUnit(stripe, unit));
}

test("every set of up to m lost members, every geometry up to 15+3: all blocks come back", async () => {
  const free = sharedKernel.arena.freeBytes;
  for (const { k, m } of allGeometries()) {
    const fixture = await Fixture.make({ slots: k + m, geometry: plain(k, m) });
    const rows = k + m > 8 ? 2 : k + m;
    const pvbns = await fixture.write(5, rows, rows * k);
    for (let size = 1; size <= m; size++) {
      for (const missing of subsets(k + m, size)) {
        fixture.reopen(missing);
        await fixture.check(pvbns);
        assert.equal(fixture.corrupt, [], "a missing member has no corruption");
      }
    }
    await fixture.group.close();
  }
  assert.is(sharedKernel.arena.freeBytes, free, "all memory is back");
});

test("a member that was missing and comes back during a repair has no corruption either", async () => {
  const fixture = await Fixture.make({ slots: 3, geometry: plain(2, 1) });
  const pvbns = await fixture.write(0, 4, 8);
  fixture.reopen(0b001);
  for (const disk of fixture.disks.slice(1)) {
    disk.judge = ({ kind }) => {
      if (kind === "read" && !(fixture.group.present & 1)) fixture.group.addMember(0, fixture.disks[0]!);
      return null;
    };
  }
  await fixture.check(pvbns.filter((pvbn) => slotOf(pvbn) === 0));
  assert.is(fixture.group.present, 0b111);
  assert.equal(fixture.corrupt, []);
});

test("one member too many: an error that names the block, never data", async () => {
  for (const { k, m } of [
    { k: 1, m: 0 },
    { k: 3, m: 0 },
    { k: 1, m: 1 },
    { k: 4, m: 1 },
    { k: 3, m: 3 },
  ]) {
    const fixture = await Fixture.make({ slots: k + m, geometry: plain(k, m) });
    const pvbns = await fixture.write(0, 6, 6 * k);
    for (const missing of subsets(k + m, m + 1)) {
      fixture.reopen(missing);
      for (const pvbn of pvbns) {
        if (!(missing & (1 << slotOf(pvbn)))) {
          await fixture.check([pvbn]);
          continue;
        }
        const error = await fixture.readError([pvbn]);
        assert.is(error.code, "ERR_UNRECOVERABLE");
        assert.match(error.message, `block ${pvbn} (stripe ${stripeOf(pvbn)}, member ${slotOf(pvbn)})`);
        assert.match(error.message, `of ${k}+${m} units ${m} others are missing`);
      }
    }
  }
});

test("with a block that cannot be had, the others of the call are filled all the same", async () => {
  const fixture = await Fixture.make({ slots: 4, geometry: plain(3, 1) });
  const pvbns = await fixture.write(0, 8, 24);
  fixture.damageBlock(pvbns[4]!);
  fixture.damage((slotOf(pvbns[4]!) + 1) % 4, stripeOf(pvbns[4]!));
  fixture.damageBlock(pvbns[20]!);
  const requests = fixture.requests([pvbns[20]!, pvbns[4]!, pvbns[0]!]);
  const error = await fixture.group.read(requests).then(
    () => assert.unreachable() as never,
    (thrown: Error) => thrown,
  );
  assert.match(error.message, `block ${pvbns[4]} `);
  assert.match(error.message, "combinations of erasures were tried");
  for (const { pvbn, out } of [requests[0]!, requests[2]!]) {
    assert.ok(isSame(out, fixture.stored.get(pvbn)!.content));
  }
  assert.equal(
    fixture.corrupt.map(({ pvbn }) => pvbn),
    [pvbns[20]],
  );
});

test("a flipped bit is found, repaired from parity, counted and reported; nothing is written", async () => {
  for (const { k, m } of [
    { k: 1, m: 1 },
    { k: 4, m: 1 },
    { k: 3, m: 2 },
    { k: 15, m: 3 },
  ]) {
    const fixture = await Fixture.make({ slots: k + m, geometry: plain(k, m) });
    const pvbns = await fixture.write(2, 3, 3 * k);
    for (const pvbn of pvbns) {
      const before = fixture.peek(slotOf(pvbn), stripeOf(pvbn));
      fixture.damageBlock(pvbn);
      fixture.reopen(0);
      for (const disk of fixture.disks) disk.forget();
      await fixture.check([pvbn]);
      assert.equal(
        fixture.corrupt.map((each) => each.pvbn),
        [pvbn],
      );
      assert.match(fixture.corrupt[0]!.reason, "checksum");
      assert.is(fixture.group.memberErrors[slotOf(pvbn)]!.checksumErrors, 1);
      assert.ok(fixture.disks.every((disk) => disk.of("write").length === 0));
      fixture.poke(slotOf(pvbn), stripeOf(pvbn), before);
    }
    await fixture.check(pvbns);
    assert.is(fixture.corrupt.length, 1, "the last repair is the last");
  }
});

test("misdirected writes: both the block that was hit and the one that was missed come back", async () => {
  const fixture = await Fixture.make({ slots: 5, geometry: plain(3, 2) });
  const pvbns = await fixture.write(0, 20, 60);
  const missed = pvbns[7]!;
  const hit = pvbns.find((pvbn) => slotOf(pvbn) === slotOf(missed) && stripeOf(pvbn) > 9)!;
  // The write for `missed` went to the place of `hit`; its own place keeps what was there before: zeros.
  fixture.poke(slotOf(hit), stripeOf(hit), fixture.stored.get(missed)!.content);
  fixture.poke(slotOf(missed), stripeOf(missed), new Uint8Array(BLOCK_BYTES));
  await fixture.check(pvbns);
  assert.equal(fixture.corrupt.map(({ pvbn }) => pvbn).sort(), [missed, hit].sort());
});

test("lost writes: a member that kept a whole generation of old blocks gives none of them back", async () => {
  const fixture = await Fixture.make({ slots: 4, geometry: plain(2, 2) });
  await fixture.write(0, 10, 20);
  const old = Array.from({ length: 10 }, (_, stripe) => fixture.peek(1, stripe));
  // The rows are freed and used again; what member 1 says it wrote is lost.
  const pvbns = await fixture.write(0, 10, 20);
  for (const [stripe, content] of old.entries()) fixture.poke(1, stripe, content);
  await fixture.check(pvbns);
  const onMember = pvbns.filter((pvbn) => slotOf(pvbn) === 1);
  assert.equal(fixture.corrupt.map(({ pvbn }) => pvbn).sort(), onMember.sort());
  // With another member gone as well, old blocks are among the survivors: still found.
  fixture.reopen(0b1000);
  await fixture.check(pvbns);
});

test("silent damage beside known losses: m = 2 and 3 find every combination, m = 1 says so", async () => {
  for (const { k, m } of [
    { k: 3, m: 3 },
    { k: 2, m: 2 },
    { k: 4, m: 2 },
    { k: 6, m: 3 },
    { k: 1, m: 3 },
  ]) {
    const n = k + m;
    const fixture = await Fixture.make({ slots: n, geometry: plain(k, m) });
    const stripe = 3;
    await fixture.write(stripe, 1, k);
    const saved = Array.from({ length: n }, (_, slot) => fixture.peek(slot, stripe));
    for (const bad of subsets(n, m)) {
      for (const missing of [0, ...slotsOf(bad).map((slot) => 1 << slot)]) {
        for (const slot of slotsOf(bad & ~missing)) fixture.damage(slot, stripe);
        fixture.reopen(missing);
        for (let unit = 0; unit < k; unit++) await fixture.check([blockOf(fixture, stripe, unit)]);
        await fixture.check(Array.from({ length: k }, (_, unit) => blockOf(fixture, stripe, unit)));
        for (const slot of slotsOf(bad)) fixture.poke(slot, stripe, saved[slot]!);
      }
    }
  }
});

test("m + 1 wrong units: ERR_UNRECOVERABLE for what lies on them, whatever the combination", async () => {
  for (const { k, m } of [
    { k: 4, m: 1 },
    { k: 3, m: 2 },
    { k: 2, m: 3 },
  ]) {
    const n = k + m;
    const fixture = await Fixture.make({ slots: n, geometry: plain(k, m) });
    const pvbns = await fixture.write(9, 1, k);
    const saved = Array.from({ length: n }, (_, slot) => fixture.peek(slot, 9));
    for (const bad of subsets(n, m + 1)) {
      for (const slot of slotsOf(bad)) fixture.poke(slot, 9, randomBlock(1000 + slot));
      for (const pvbn of pvbns) {
        if (bad & (1 << slotOf(pvbn))) assert.is((await fixture.readError([pvbn])).code, "ERR_UNRECOVERABLE");
        else await fixture.check([pvbn]);
      }
      for (const slot of slotsOf(bad)) fixture.poke(slot, 9, saved[slot]!);
    }
  }
});

test("an unreadable sector: the block is reconstructed, its neighbours are read as they are", async () => {
  const fixture = await Fixture.make({ slots: 5, geometry: plain(4, 1) });
  const pvbns = await fixture.write(0, 30, 120);
  const bad = pvbns[50]!;
  fixture.disks[slotOf(bad)]!.judge = ({ offset, buffer }) => {
    const isHit = offset <= byteAt(stripeOf(bad)) && offset + buffer.length > byteAt(stripeOf(bad));
    return isHit ? new Error("EIO on one sector") : null;
  };
  await fixture.check(pvbns);
  assert.equal(
    fixture.corrupt.map(({ pvbn }) => pvbn),
    [bad],
  );
  assert.match(fixture.corrupt[0]!.reason, "EIO on one sector");
  assert.is(fixture.group.memberErrors[slotOf(bad)]!.readErrors, 1);
  assert.is(fixture.group.present, 0b11111, "a read error drops nobody");
  assert.equal(fixture.failed, []);
  // A sector that cannot be read on a survivor is one more loss.
  fixture.damage((slotOf(bad) + 1) % 5, stripeOf(bad));
  const error = await fixture.readError([bad]);
  assert.is(error.code, "ERR_UNRECOVERABLE");
  assert.is((error.cause as Error).message, "EIO on one sector");
});

test("the first choice of survivors may be unreadable: the rest is asked", async () => {
  const fixture = await Fixture.make({ slots: 6, geometry: plain(3, 3) });
  const [first] = await fixture.write(0, 1, 3);
  const layout = new RowLayout(fixture.geometry);
  for (const unit of [1, 2]) fixture.disks[layout.slotOfUnit(0, unit)]!.judge = () => new Error("EIO");
  fixture.damageBlock(first!);
  await fixture.check([first!]);
  assert.is(countOf(fixture.group.present), 6);
});

test("a healthy block costs one disk read, straight into the caller's memory", async () => {
  const fixture = await Fixture.make({ slots: 4, geometry: plain(2, 2) });
  const pvbns = await fixture.write(0, 4, 8);
  for (const disk of fixture.disks) disk.forget();
  const requests = fixture.requests([pvbns[3]!]);
  await fixture.group.read(requests);
  const reads = fixture.disks.flatMap((disk) => disk.submitted);
  assert.is(reads.length, 1);
  assert.is(reads[0]!.buffer, requests[0]!.out);
});

test("a lost block costs k disk reads, not one from every survivor", async () => {
  const fixture = await Fixture.make({ slots: 7, geometry: plain(4, 3) });
  const pvbns = await fixture.write(0, 7, 28);
  for (const missing of [0b1, 0b101, 0b1000011]) {
    fixture.reopen(missing);
    for (const pvbn of pvbns.filter((each) => slotOf(each) === 0)) {
      for (const disk of fixture.disks) disk.forget();
      await fixture.check([pvbn]);
      assert.is(fixture.disks.flatMap((disk) => disk.of("read")).length, 4);
      assert.ok(
        fixture.disks.every((disk) => disk.batches <= 1),
        "all in one go",
      );
    }
  }
});

test("a long repair takes a bounded piece of the arena, and one batch per member and window", async () => {
  const fixture = await Fixture.make({ slots: 4, geometry: plain(3, 1) });
  const pvbns = await fixture.write(0, 40, 120);
  fixture.reopen(0b1);
  await fixture.closed;
  for (const disk of fixture.disks) disk.forget();
  const { arena } = fixture.kernel;
  const free = arena.freeBytes;
  let taken = 0;
  fixture.disks[1]!.judge = () => {
    taken = Math.max(taken, free - arena.freeBytes);
    return null;
  };
  await fixture.check(pvbns.filter((pvbn) => slotOf(pvbn) === 0));
  assert.ok(taken > 0 && taken <= 3 * (4 * 16 + 1) * BLOCK_BYTES, `${taken} bytes`);
  assert.ok(fixture.disks[1]!.batches === 3, `${fixture.disks[1]!.batches} windows`);
  assert.is(arena.freeBytes, free);
});

test("neighbouring stripes of different geometries are repaired each by its own", async () => {
  const fixture = await Fixture.make({ slots: 6, geometry: plain(4, 2) });
  fixture.geometryOf.set(1, { k: 4, m: 2, members: 0b111111 });
  fixture.geometryOf.set(2, { k: 2, m: 1, members: 0b100101 });
  const pvbns = [...(await fixture.write(70, 10, 40)), ...(await fixture.write(80, 10, 20))];
  for (const missing of [0b1, 0b100, 0b100000]) {
    fixture.reopen(missing);
    await fixture.check(pvbns);
  }
  fixture.geometryOf.set(1, { k: 2, m: 1, members: 0b010101 });
  const narrow = await fixture.write(60, 5, 10);
  fixture.reopen(0b1);
  await fixture.check([...narrow, ...pvbns.slice(40)]);
});

test("many blocks: one batch per member, gaps of parity are read along, far ones are not joined", async () => {
  const fixture = await Fixture.make({ slots: 5, geometry: plain(3, 2) });
  const pvbns = await fixture.write(0, 30, 90);
  for (const disk of fixture.disks) disk.forget();
  const near = pvbns.filter((pvbn) => stripeOf(pvbn) < 10);
  const far = pvbns.filter((pvbn) => stripeOf(pvbn) >= 25);
  await fixture.check([...far, ...near].sort((a, b) => (a % 7) - (b % 7)));
  for (const disk of fixture.disks) {
    assert.is(disk.batches, 1);
    const stripes = disk.submitted
      .flatMap(({ offset, buffer }) => {
        const blocks = buffer.length / BLOCK_BYTES;
        return Array.from({ length: blocks }, (_, index) => stripeAt(offset) + index);
      })
      .sort((a, b) => a - b);
    assert.is(new Set(stripes).size, stripes.length, "nothing is read twice");
    const runs = stripes.filter((stripe, index) => stripe !== stripes[index - 1]! + 1);
    assert.is(runs.length, 2, `two runs, not ${stripes}`);
    assert.ok(
      stripes.every((stripe) => stripe < 10 || stripe >= 25),
      "nothing is read between them",
    );
  }
});

test("the same block may be asked for twice", async () => {
  const fixture = await Fixture.make({ slots: 3, geometry: plain(2, 1) });
  const pvbns = await fixture.write(0, 4, 8);
  await fixture.check([...pvbns, ...pvbns]);
  fixture.reopen(0b010);
  await fixture.check([...pvbns, ...pvbns]);
});

test("verify decides instead of the hash, on what was read and on what was reconstructed", async () => {
  const fixture = await Fixture.make({ slots: 3, geometry: plain(2, 1) });
  const [pvbn] = await fixture.write(0, 1, 2);
  const wanted = fixture.stored.get(pvbn!)!.content;
  const request = (verify: (block: Uint8Array) => boolean) => ({
    pvbn: pvbn!,
    out: new Uint8Array(BLOCK_BYTES),
    hash: new Uint32Array(4),
    hashIndex: 0,
    verify,
  });
  await fixture.group.read([request((block) => isSame(block, wanted))]);
  fixture.damageBlock(pvbn!);
  await fixture.group.read([request((block) => isSame(block, wanted))]);
  assert.is(fixture.corrupt.length, 1);
  await fixture.group.read([request(() => false)]).then(
    () => assert.unreachable(),
    (error) => assert.is(error.code, "ERR_UNRECOVERABLE"),
  );
});

test("repairs go on when the arena is full, block by block in the reserve", async () => {
  const kernel = Kernel.createSync({ memoryBytes: 1024 * 1024 });
  const fixture = await Fixture.make({ slots: 6, geometry: plain(4, 2), kernel });
  const pvbns = await fixture.write(0, 20, 80);
  fixture.reopen(0b101);
  await fixture.group.sync();
  const hog: Uint8Array[] = [];
  while (kernel.arena.freeBytes > 0) hog.push(kernel.arena.allocate(BLOCK_BYTES));
  fixture.damageBlock(pvbns.find((pvbn) => slotOf(pvbn) === 1)!);
  await Promise.all([fixture.check(pvbns.slice(10)), fixture.check(pvbns.slice(0, 50))].map(settle));
  await fixture.check(pvbns.slice(10));
  // A proof that throws ends its own read, and leaves the reserve to the next.
  const lost = pvbns.slice(10).find((pvbn) => slotOf(pvbn) === 0)!;
  const verify = () => {
    throw new Error("no proof");
  };
  const [request] = fixture.requests([lost]);
  await fixture.group.read([{ ...request!, verify }]).then(
    () => assert.unreachable(),
    (error) => assert.is(error.message, "no proof"),
  );
  await fixture.check([lost]);
  for (const piece of hog) kernel.arena.free(piece);
});

/** The damaged block may be more than the parity allows; then nothing but that error is right. */
function settle(work: Promise<void>): Promise<void> {
  return work.catch((error) => assert.is(error.code, "ERR_UNRECOVERABLE"));
}

test("an aborted read rejects with the reason, after the disks are done", async () => {
  const fixture = await Fixture.make({ slots: 3, geometry: plain(2, 1) });
  const pvbns = await fixture.write(0, 4, 8);
  const reason = new Error("enough");
  const refused = (signal: AbortSignal) =>
    fixture.group.read(fixture.requests(pvbns), signal).then(
      () => assert.unreachable(),
      (error) => assert.is(error, reason),
    );
  for (const disk of fixture.disks) disk.forget();
  await refused(AbortSignal.abort(reason));
  assert.ok(fixture.disks.every((disk) => disk.batches === 0));
  fixture.reopen(0b001);
  const abort = new AbortController();
  let open = () => {};
  fixture.disks[1]!.gate = new Promise((resolve) => (open = resolve));
  const reading = refused(abort.signal);
  abort.abort(reason);
  open();
  await reading;
  // In the middle of a repair: what was not tried is not called unrecoverable.
  const late = new AbortController();
  fixture.reopen(0);
  const many = await fixture.write(0, 40, 80);
  fixture.reopen(0b001);
  fixture.disks[1]!.judge = () => {
    late.abort(reason);
    return null;
  };
  await fixture.group.read(fixture.requests(many.filter((pvbn) => slotOf(pvbn) === 0)), late.signal).then(
    () => assert.unreachable(),
    (error) => assert.is(error, reason),
  );
});

test("checkRow sees a wrong unit with any u < m units missing, and counts what it cannot read", async () => {
  for (const { k, m } of [
    { k: 3, m: 0 },
    { k: 3, m: 1 },
    { k: 2, m: 2 },
    { k: 4, m: 3 },
    { k: 1, m: 2 },
  ]) {
    const n = k + m;
    const fixture = await Fixture.make({ slots: n, geometry: plain(k, m) });
    await fixture.write(6, 1, k);
    for (let size = 0; size <= m + 1 && size <= n; size++) {
      for (const missing of subsets(n, size)) {
        fixture.reopen(missing);
        assert.equal(await fixture.group.checkRow(6), { parityOk: size <= m, unreadable: size });
        for (let slot = 0; slot < n && size < m; slot++) {
          if (missing & (1 << slot)) continue;
          fixture.damage(slot, 6);
          assert.equal(await fixture.group.checkRow(6), { parityOk: false, unreadable: size });
          fixture.damage(slot, 6);
        }
      }
    }
  }
});

test("checkRow counts units that give read errors like those that are missing", async () => {
  const fixture = await Fixture.make({ slots: 6, geometry: plain(3, 3) });
  await fixture.write(6, 1, 3);
  for (const bad of [...subsets(6, 1), ...subsets(6, 2)]) {
    for (const [slot, disk] of fixture.disks.entries()) {
      disk.judge = () => (bad & (1 << slot) ? new Error("EIO") : null);
    }
    assert.equal(await fixture.group.checkRow(6), { parityOk: true, unreadable: countOf(bad) });
  }
});

test("a parity unit is nothing that can be asked for once it has to be reconstructed", async () => {
  const fixture = await Fixture.make({ slots: 3, geometry: plain(2, 1) });
  await fixture.write(0, 1, 2);
  const pvbn = pvbnOf(0, 2);
  fixture.learn(pvbn, randomBlock(7));
  assert.is((await fixture.readError([pvbn])).code, "ERR_ASSERTION");
});

test("random faults within m per row, over several geometries in one group: reads never lie", async () => {
  const seed = 20_260_101;
  const random = new SeededRandom(seed);
  for (let round = 0; round < 40; round++) {
    const m = 1 + random.below(3);
    const k = 1 + random.below(6);
    const fixture = await Fixture.make({ slots: k + m + 1, geometry: { ...plain(k, m) } });
    const pvbns = await fixture.write(random.below(10), 20, 20 * k - random.below(k));
    const missing = random.chance(0.5) ? 1 << random.below(k + m) : 0;
    fixture.reopen(missing);
    const stripes = new Set(pvbns.map(stripeOf));
    for (const stripe of stripes) {
      const bad = random.below(m + (missing ? 0 : 1));
      const candidates = [...Array(k + m).keys()].filter((slot) => !(missing & (1 << slot)));
      for (let count = 0; count < bad; count++) {
        const [slot] = candidates.splice(random.below(candidates.length), 1);
        fixture.damage(slot!, stripe);
      }
    }
    const wanted = pvbns.filter(() => random.chance(0.7));
    if (wanted.length > 0) await fixture.check(wanted);
    for (const { pvbn } of fixture.corrupt)
      assert.ok(wanted.includes(pvbn), `round ${round} of seed ${seed}`);
    await fixture.group.close();
  }
  assert.ok(SEGMENT_STRIPES >= 30);
});

test.run();
