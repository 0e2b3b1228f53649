// Recovery, case by case: torn tails, holes with and without evidence, lost halves, lost copies.
import {
  BLOCK_BYTES,
  ENTRY_DURABLE_THROUGH,
  ENTRY_HEADER_BYTES,
  ENTRY_KIND_WRITE,
  HALF_HEADER_BYTES,
} from "../../assembly/format.ts";
import { readHeader } from "../../src/log/entry_codec.ts";
import { decodeHalfHeader } from "../../src/log/half_header.ts";
import type { Log } from "../../src/log/log.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import {
  appendWrite,
  flipBit,
  GENERATION,
  isEqual,
  isSameOnAllCopies,
  makeFiles,
  makeKernel,
  openLog,
  PREFIXES,
  readAll,
  rejection,
  seal,
  tagsOf,
  writeMany,
} from "./fixture.ts";

const test = suite("log recovery");

const ENTRY = 512 * Math.ceil((ENTRY_HEADER_BYTES + BLOCK_BYTES) / 512);
const at = (index: number) => 4096 + index * ENTRY;
const NOTHING = new Uint8Array(ENTRY);

async function fresh(prefixes: readonly string[] = PREFIXES) {
  const storage = new MemoryStorage();
  await makeFiles(storage, prefixes);
  return storage;
}

/** A storage with a log of so many entries, all durable, each in a batch of its own. */
async function written(count: number, prefixes: readonly string[] = PREFIXES) {
  const storage = await fresh(prefixes);
  const log = await openLog(storage, { prefixes });
  await writeMany(
    log,
    Array.from({ length: count }, (_unused, tag) => tag + 1),
  );
  await log.close();
  return storage;
}

function spoilBoth(storage: MemoryStorage, slot: number, offset: number, bytes: Uint8Array = NOTHING) {
  for (const prefix of PREFIXES) storage.poke(`${prefix}.${slot}`, offset, bytes);
}

test("a hole in one copy is mended from the other, whichever it is", async () => {
  const storage = await written(6);
  storage.poke("a/log.1", at(1), NOTHING);
  storage.poke("b/log.1", at(3) + 1000, new Uint8Array(100));
  storage.poke("a/log.1", at(5), NOTHING);
  const log = await openLog(storage);
  assert.equal(log.recovery, { tail: 6, torn: false, requiredThrough: 6, repaired: 3 });
  assert.ok(isSameOnAllCopies(storage, log));
  assert.equal(await tagsOf(log), [1, 2, 3, 4, 5, 6]);
  await log.close();
});

test("every bit of an entry's header and of a half's header counts", async () => {
  const storage = await written(3);
  const kernel = makeKernel();
  const place = kernel.arena.allocate(ENTRY);
  place.set(storage.peek("a/log.1", at(1), ENTRY));
  assert.ok(readHeader(kernel, place.byteOffset, ENTRY));
  forEachFlip(place, ENTRY_HEADER_BYTES, (bit) => {
    assert.is(readHeader(kernel, place.byteOffset, ENTRY), null, `bit ${bit} of the entry's header`);
  });
  const half = storage.peek("a/log.1", 0, HALF_HEADER_BYTES);
  assert.type(decodeHalfHeader(kernel, half), "object");
  forEachFlip(half, HALF_HEADER_BYTES, (bit) => {
    assert.type(decodeHalfHeader(kernel, half), "string", `bit ${bit} of the half's header`);
  });
});

function forEachFlip(bytes: Uint8Array, length: number, visit: (bit: number) => void) {
  for (let bit = 0; bit < 8 * length; bit += 1) {
    bytes[bit >> 3] = bytes[bit >> 3]! ^ (1 << (bit & 7));
    visit(bit);
    bytes[bit >> 3] = bytes[bit >> 3]! ^ (1 << (bit & 7));
  }
}

test("a flipped bit in one copy is mended by recovery, in an entry and in the header of its half", async () => {
  const storage = await written(3);
  const good = storage.peek("a/log.1", 0, at(3));
  for (let bit = 0; bit < 8 * ENTRY_HEADER_BYTES; bit += 23) {
    for (const offset of [0, at(1), at(1) + ENTRY_HEADER_BYTES]) {
      const damaged = storage.afterCrash("drop");
      flipBit(damaged, "a/log.1", offset + (bit >> 3), bit & 7);
      const log = await openLog(damaged);
      assert.is(log.recovery.tail, 3);
      assert.ok(isEqual(damaged.peek("a/log.1", 0, at(3)), good), `bit ${bit} at ${offset}`);
      await log.close();
    }
  }
});

test("what both copies have lost is corruption when a later entry says that it was durable", async () => {
  const storage = await written(6);
  spoilBoth(storage, 1, at(2));
  const log = await openLog(storage);
  assert.equal(log.recovery, { tail: 2, torn: false, requiredThrough: 5, repaired: 0 });
  await log.close();
  const again = await openLog(storage);
  assert.is(again.recovery.requiredThrough, 5, "the evidence is still there");
  await again.close();
});

test("the evidence may lie in the header of the next half alone", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1, 2]);
  await seal(log, 1);
  await writeMany(log, [3]);
  await log.close();
  spoilBoth(storage, 1, at(1));
  spoilBoth(storage, 1, at(2));
  spoilBoth(storage, 2, at(0));
  const again = await openLog(storage);
  assert.is(again.recovery.tail, 1);
  assert.is(again.recovery.requiredThrough, 3);
  await again.close();
});

test("entries that nobody knew to be durable are a torn tail, cut and erased", async () => {
  const storage = await written(2);
  const log = await openLog(storage);
  for (const tag of [3, 4, 5]) appendWrite(log, tag);
  await Promise.race([log.whenDurable(5), storage.stopped]);
  const crashed = storage.afterCrash("keep");
  spoilBoth(crashed, 1, at(2));
  const again = await openLog(crashed);
  assert.equal(again.recovery, { tail: 2, torn: true, requiredThrough: 2, repaired: 0 });
  // The very same entry 3 again: what follows it must not come back.
  await writeMany(again, [3]);
  await again.close();
  const third = await openLog(crashed);
  assert.is(third.recovery.tail, 3);
  assert.equal(await tagsOf(third), [1, 2, 3]);
  await third.close();
});

test("what was cut stays cut, even if the crash comes before anything new is durable", async () => {
  const storage = await written(2);
  const log = await openLog(storage);
  for (const tag of [3, 4, 5]) appendWrite(log, tag);
  await log.close();
  const lost = storage.peek("a/log.1", at(2), ENTRY);
  spoilBoth(storage, 1, at(2));
  const cut = await openLog(storage);
  assert.ok(cut.recovery.torn);
  const crashed = storage.afterCrash("drop");
  // Entry 3 comes back to the last bit.
  for (const prefix of PREFIXES) crashed.poke(`${prefix}.1`, at(2), lost);
  const again = await openLog(crashed);
  assert.is(again.recovery.tail, 3, "4 and 5 were erased durably");
  await again.close();
});

test("a gap is closed by the entries of a peer, and the evidence stays until it is", async () => {
  const closed = await written(8);
  const peer = await openLog(closed.afterCrash("keep"));
  const storage = closed.afterCrash("keep");
  const entries: Uint8Array[] = [];
  for await (const { bytes } of peer.entries(1)) entries.push(bytes.slice());
  spoilBoth(storage, 1, at(3));
  spoilBoth(storage, 1, at(4));
  let log = await openLog(storage);
  assert.equal([log.recovery.tail, log.recovery.requiredThrough], [3, 7]);
  log.adopt(entries[3]!);
  await log.whenDurable(4);
  const crashed = storage.afterCrash("drop");
  log = await openLog(crashed);
  assert.equal([log.recovery.tail, log.recovery.requiredThrough], [4, 7], "a crash in the middle");
  for (const entry of entries.slice(4, 7)) log.adopt(entry);
  await log.whenDurable(7);
  // Entry 8 was not known to be durable. It must go before another 8 comes, and 5 to 7 must stay.
  await writeMany(log, [80]);
  await log.close();
  const again = await openLog(crashed);
  assert.equal(again.recovery, { tail: 8, torn: false, requiredThrough: 8, repaired: 0 });
  assert.equal(await tagsOf(again), [1, 2, 3, 4, 5, 6, 7, 80]);
  await again.close();
});

test("a batch does not go beyond the gap: the evidence behind it goes only when the gap is closed", async () => {
  const closed = await written(8);
  const peer = await openLog(closed.afterCrash("keep"));
  const entries: Uint8Array[] = [];
  for await (const { bytes } of peer.entries(1)) entries.push(bytes.slice());
  const storage = closed.afterCrash("keep");
  spoilBoth(storage, 1, at(3));
  const batches: number[] = [];
  const log = await openLog(storage, { onDurable: (sequence) => batches.push(sequence) });
  for (const entry of entries.slice(3)) assert.ok(log.adopt(entry));
  await log.whenDurable(8);
  assert.equal(batches, [7, 8]);
  assert.equal(await tagsOf(log), [1, 2, 3, 4, 5, 6, 7, 8]);
  await log.close();
});

test("an entry of our own behind a gap begins a branch: nothing behind the gap is taken after it", async () => {
  const storage = await written(8);
  spoilBoth(storage, 1, at(3));
  const log = await openLog(storage, { generation: { number: 2, id: 9n } });
  assert.is(log.recovery.requiredThrough, 7);
  await writeMany(log, [40]);
  await log.close();
  const again = await openLog(storage, { generation: { number: 2, id: 9n } });
  assert.equal(again.recovery, { tail: 4, torn: false, requiredThrough: 4, repaired: 0 });
  assert.equal(await tagsOf(again), [1, 2, 3, 40]);
  await again.close();
});

test("halves are found by their chain when every header is lost", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  const before = await filled(log, 6);
  await log.close();
  for (const slot of [0, 2, 3]) {
    const damaged = storage.afterCrash("drop");
    spoilBoth(damaged, slot, 0, new Uint8Array(512));
    const again = await openLog(damaged, { applied: before.applied });
    assert.equal(await readAll(again), before.entries, `slot ${slot}`);
    assert.equal(
      again.status().map(({ number }) => number),
      before.numbers,
      `slot ${slot}`,
    );
    assert.ok(isSameOnAllCopies(damaged, again));
    await again.close();
  }
});

/** Seals so many halves, frees all but the last two, and says what a recovery must find. */
async function filled(log: Log, count: number) {
  const seals = [];
  for (let cp = 1; cp <= count; cp += 1) {
    await writeMany(log, [cp, 100 + cp], 2);
    seals.push(await seal(log, cp));
    if (cp >= 3) log.freeThrough(seals[cp - 3]!.sequence);
  }
  await writeMany(log, [77]);
  const numbers = log.status().map(({ number }) => number);
  return { applied: seals[count - 3]!, entries: await readAll(log), numbers, seals };
}

test("a half of which nothing but the header was written goes on", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1]);
  const sealed = await seal(log, 1);
  await writeMany(log, [2]);
  await log.close();
  spoilBoth(storage, 2, at(0));
  const again = await openLog(storage);
  assert.equal(again.recovery, { tail: 2, torn: false, requiredThrough: 2, repaired: 0 });
  await writeMany(again, [3]);
  await again.close();
  const third = await openLog(storage, { applied: sealed });
  assert.equal(await tagsOf(third), [3]);
  assert.equal(third.status()[0]!.number, 2);
  await third.close();
});

test("a seal that is the last entry, at the applied position, or behind it", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1]);
  const sealed = await seal(log, 1);
  await log.close();
  const behind = await openLog(storage);
  assert.is(behind.recovery.tail, 2);
  await behind.close();
  const applied = await openLog(storage, { applied: sealed, appliedHalf: 1 });
  assert.equal(applied.recovery, { tail: 2, torn: false, requiredThrough: 2, repaired: 0 });
  assert.is(applied.firstSequence, 3);
  assert.is(await applied.chainAt(2), sealed.chain);
  await writeMany(applied, [5]);
  await applied.close();
  const again = await openLog(storage, { applied: sealed });
  assert.equal(await tagsOf(again), [5]);
  await again.close();
});

test("all four halves in use, the last of them full", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  const expected: number[] = [];
  const seals = [];
  for (let cp = 1; cp <= 4; cp += 1) {
    while (!log.needsSeal(64 * 4096)) {
      expected.push(expected.length);
      await writeMany(log, [expected.length - 1], 64);
    }
    if (cp < 4) seals.push(await seal(log, cp));
  }
  assert.not.ok(log.canSeal);
  await log.close();
  const again = await openLog(storage);
  assert.equal(await tagsOf(again), expected);
  assert.ok(again.needsSeal(64 * 4096));
  assert.not.ok(again.canSeal);
  again.freeThrough(seals[0]!.sequence);
  await seal(again, 4);
  await writeMany(again, [1000], 64);
  await again.close();
  const third = await openLog(storage, { applied: seals[0]! });
  assert.is((await tagsOf(third)).at(-1), 1000);
  await third.close();
});

test("copies that were written apart are refused", async () => {
  const closed = await written(2);
  const [storage, apart] = [closed.afterCrash("drop"), closed.afterCrash("drop")];
  const left = await openLog(storage, { trustedCopies: [true, false] });
  await writeMany(left, [30]);
  await left.close();
  const right = await openLog(apart, { trustedCopies: [false, true] });
  await writeMany(right, [40]);
  await right.close();
  storage.poke("b/log.1", 4096, apart.peek("b/log.1", 4096, 4 * ENTRY));
  assert.is((await rejection(openLog(storage))).code, "ERR_LOG_DIVERGED");
});

test("a log that was written into its own volume is payload: a valid entry is passed over as a whole", async () => {
  const storage = await written(2);
  const older = await written(12);
  const log = await openLog(storage);
  appendWrite(log, 3);
  const payload = new Uint8Array(8 * BLOCK_BYTES);
  // In the file the payload begins behind its header, so this puts the older entries on sectors.
  payload.set(older.peek("a/log.1", at(8), 3 * ENTRY), 512 - ENTRY_HEADER_BYTES);
  log.append(ENTRY_KIND_WRITE, 4, 8, [payload]);
  await log.close();
  spoilBoth(storage, 1, at(2));
  const again = await openLog(storage);
  assert.equal(again.recovery, { tail: 2, torn: true, requiredThrough: 2, repaired: 0 });
  await again.close();
});

test("a valid entry of another history is not taken, though it has the sequence and the place", async () => {
  const other = await fresh();
  const log = await openLog(other);
  await writeMany(log, [1, 20, 30]);
  await log.close();
  const storage = await written(2);
  spoilBoth(storage, 1, at(2), other.peek("a/log.1", at(2), ENTRY));
  const again = await openLog(storage);
  assert.equal(await tagsOf(again), [1, 2]);
  assert.equal(again.recovery, { tail: 2, torn: true, requiredThrough: 2, repaired: 0 });
  await again.close();
  const elsewhere = await openLog(storage, { applied: { sequence: 0, chain: 5n } });
  assert.equal([elsewhere.recovery.tail, elsewhere.firstSequence], [0, 1], "not the history of that image");
  await elsewhere.close();
});

test("a volume within the volume: its log entries in a torn payload are no evidence", async () => {
  const storage = await written(2);
  const inner = await fresh(["inner"]);
  const innerLog = await openLog(inner, { prefixes: ["inner"], generation: { number: 1, id: 4n } });
  await writeMany(
    innerLog,
    Array.from({ length: 40 }, (_unused, tag) => tag),
  );
  // An entry of ours whose payload shows the inner log, and whose own header never reached the disk.
  const shown = inner.peek("inner.1", at(20), 20 * ENTRY);
  spoilBoth(storage, 1, at(2) + 512, shown);
  const log = await openLog(storage);
  assert.equal([log.recovery.tail, log.recovery.requiredThrough], [2, 2]);
  await log.close();
  const ours = await openLog(inner, { prefixes: ["inner"], generation: { number: 1, id: 4n } });
  assert.is(ours.recovery.tail, 40);
  await ours.close();
});

test("what cannot be read at the tail is not taken for a torn tail", async () => {
  const storage = await written(3);
  const broken = failingReads(storage, (path, offset, length) => {
    return path.endsWith(".1") && offset < at(3) && at(2) < offset + length;
  });
  const log = await openLog(broken);
  assert.equal([log.recovery.tail, log.recovery.requiredThrough], [2, 3]);
  await log.close();
  const one = failingReads(storage, (path, offset, length) => {
    return path === "a/log.1" && offset < at(3) && at(2) < offset + length;
  });
  const mended = await openLog(one);
  assert.equal([mended.recovery.tail, mended.recovery.requiredThrough, mended.recovery.repaired], [3, 3, 1]);
  await mended.close();
});

/** The same storage, with reads that fail where the function says so. */
function failingReads(
  storage: MemoryStorage,
  isBad: (path: string, offset: number, length: number) => boolean,
): MemoryStorage {
  return new Proxy(storage, {
    get(target, key) {
      if (key !== "open") {
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return async (path: string) => {
        const disk = await target.open(path);
        return {
          path,
          bytes: disk.bytes,
          submit: async (batch: Parameters<typeof disk.submit>[0]) => {
            const isRefused = batch.some(
              (each) => each.kind === "read" && isBad(path, each.offset, each.buffer.length),
            );
            return isRefused ? batch.map(() => new Error("EIO")) : disk.submit(batch);
          },
          sync: () => disk.sync(),
          discard: (offset: number, length: number) => disk.discard(offset, length),
          close: () => disk.close(),
        };
      };
    },
  });
}

test("what recovery found in a page cache is durable before it is served", async () => {
  const storage = await written(1);
  const log = await openLog(storage);
  appendWrite(log, 2);
  // The process dies between the writes and the syncs, the machine goes on.
  let writes = 0;
  storage.onEvent = ({ kind }) => {
    writes += kind === "write" ? 1 : 0;
    if (kind === "sync") storage.stop();
  };
  await storage.stopped;
  assert.is(writes, 2);
  const next = await restartWithCache(storage);
  const again = await openLog(next);
  assert.is(again.recovery.tail, 2);
  const crashed = next.afterCrash("drop");
  const third = await openLog(crashed);
  assert.is(third.recovery.tail, 2);
  await third.close();
});

/** A new process on the same machine: what was written and not synced is seen, and still not durable. */
async function restartWithCache(storage: MemoryStorage): Promise<MemoryStorage> {
  const durable = storage.afterCrash("drop");
  for (const path of storage.paths) {
    const disk = await durable.open(path);
    for (const { offset, data } of storage.unsynced(path)) {
      await disk.submit([{ kind: "write", offset, buffer: data }]);
    }
    await disk.close();
  }
  return durable;
}

test("no entry says that more was durable than was", async () => {
  const storage = await fresh();
  let durable = 0;
  const log = await openLog(storage, { onDurable: (sequence) => (durable = sequence) });
  for (let tag = 0; tag < 30; tag += 1) {
    const entry = appendWrite(log, tag)!;
    const view = new DataView(entry.view.buffer, entry.view.byteOffset);
    assert.is(view.getUint32(ENTRY_DURABLE_THROUGH, true), durable);
    if (tag % 4 === 0) await log.whenDurable(entry.sequence);
  }
  assert.is(GENERATION.number, 1);
  await log.close();
});

test.run();
