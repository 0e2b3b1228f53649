import {
  BLOCK_BYTES,
  ENTRY_KIND_SEAL,
  ENTRY_KIND_TRIM,
  ENTRY_KIND_WRITE,
  ENTRY_PAYLOAD_MAX,
  LOG_ENTRIES_OFFSET,
} from "../../assembly/format.ts";
import { paddedBytes } from "../../src/log/entry_codec.ts";
import { inspectLog } from "../../src/log/inspect.ts";
import { createLog } from "../../src/log/log.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import {
  appendWrite,
  code,
  content,
  GENERATION,
  HALF_BYTES,
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
  VOLUME_ID,
  writeMany,
} from "./fixture.ts";

const test = suite("log");

async function fresh() {
  const storage = new MemoryStorage();
  await makeFiles(storage);
  return storage;
}

test("what was durable comes back, in order, and goes on", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  assert.equal(log.recovery, { tail: 0, torn: false, requiredThrough: 0, repaired: 0 });
  assert.is(log.firstSequence, 1);
  await writeMany(log, [10, 11, 12], 3);
  log.append(ENTRY_KIND_TRIM, 5, 1_000_000, null);
  await log.close();
  assert.is(log.durable, 4, "close writes what was appended");
  assert.ok(isSameOnAllCopies(storage, log));
  const again = await openLog(storage);
  assert.equal(again.recovery, { tail: 4, torn: false, requiredThrough: 4, repaired: 0 });
  assert.equal(again.tail, log.tail);
  await writeMany(again, [13]);
  assert.equal(await readAll(again), [
    { sequence: 1, kind: ENTRY_KIND_WRITE, lba: 10, blockCount: 3 },
    { sequence: 2, kind: ENTRY_KIND_WRITE, lba: 11, blockCount: 3 },
    { sequence: 3, kind: ENTRY_KIND_WRITE, lba: 12, blockCount: 3 },
    { sequence: 4, kind: ENTRY_KIND_TRIM, lba: 5, blockCount: 1_000_000 },
    { sequence: 5, kind: ENTRY_KIND_WRITE, lba: 13, blockCount: 1 },
  ]);
  await again.close();
  await again.close();
});

test("entries appended in one turn go out in one batch: a write and a sync for each copy", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1]);
  const events: string[] = [];
  storage.onEvent = ({ kind, path, length }) => events.push(`${kind} ${path} ${length}`);
  for (let tag = 0; tag < 8; tag += 1) appendWrite(log, tag);
  await log.whenDurable(log.tail.sequence);
  const bytes = 8 * (4096 + 512);
  assert.equal(events.sort(), [
    "sync a/log.1 0",
    "sync b/log.1 0",
    `write a/log.1 ${bytes}`,
    `write b/log.1 ${bytes}`,
  ]);
  await log.close();
});

test("a second batch gathers while the first is in flight", async () => {
  const storage = await fresh();
  const batches: number[] = [];
  const log = await openLog(storage, { onDurable: (sequence) => batches.push(sequence) });
  let sent = 0;
  storage.onEvent = ({ kind }) => {
    if (kind === "sync" && sent < 10) for (; sent < 10; sent += 1) appendWrite(log, sent);
  };
  appendWrite(log, 100);
  await log.whenDurable(1);
  await log.whenDurable(11);
  assert.equal(batches, [1, 11]);
  await log.close();
});

test("payload in several parts, or in the kernel's memory, is the same entry", async () => {
  const storage = await fresh();
  const log = await openLog(storage, { prefixes: PREFIXES });
  const whole = content(7, 2);
  log.append(ENTRY_KIND_WRITE, 7, 2, [whole.subarray(0, 5000), whole.subarray(5000)]);
  await log.whenDurable(1);
  assert.equal(await tagsOf(log), [7]);
  await log.close();
});

test("halves take turns: a seal ends one, and its file is used again when it was freed", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  let tag = 0;
  const seals: number[] = [];
  const expected: number[] = [];
  for (let cp = 1; cp <= 9; cp += 1) {
    while (!log.needsSeal(64 * 4096)) {
      expected.push(tag);
      await writeMany(log, [tag++], 64);
    }
    assert.is(appendWrite(log, tag, 64), null, "a half that needs a seal takes nothing else");
    assert.ok(log.canSeal);
    seals.push((await seal(log, cp)).sequence);
    if (seals.length >= 3) log.freeThrough(seals.at(-3)!);
  }
  assert.is(log.firstSequence, seals.at(-3)! + 1);
  const tags = await tagsOf(log);
  assert.equal(tags, expected.slice(-tags.length));
  const status = log.status();
  assert.equal(
    status.map(({ number, slot, sealed, free }) => [number, slot, sealed, free]),
    [
      [8, 0, true, false],
      [9, 1, true, false],
      [10, 2, false, false],
      [11, 3, false, true],
    ],
  );
  await log.close();
});

test("with every half in use the log refuses, and says when there is room again", async () => {
  const storage = await fresh();
  let offers = 0;
  const log = await openLog(storage, { onSpace: () => (offers += 1) });
  const first = await seal(log, 1);
  await seal(log, 2);
  await seal(log, 3);
  assert.not.ok(log.canSeal);
  assert.is(log.append(ENTRY_KIND_SEAL, 4, 0, null), null);
  await writeMany(log, [1]);
  assert.is(offers, 1, "the ring gave space back after a refusal");
  assert.is(log.append(ENTRY_KIND_SEAL, 4, 0, null), null);
  log.freeThrough(first.sequence);
  assert.is(offers, 2);
  assert.ok(log.canSeal);
  await seal(log, 4);
  assert.is(log.firstSequence, first.sequence + 1);
  await log.close();
});

test("the ring refuses when it is full, and is free again when entries are durable and released", async () => {
  const storage = await fresh();
  let offers = 0;
  const log = await openLog(storage, { ringBytes: 2304 * 1024, onSpace: () => (offers += 1) });
  assert.ok(appendWrite(log, 0, 220));
  log.append(ENTRY_KIND_SEAL, 1, 0, null);
  assert.ok(appendWrite(log, 1, 220));
  log.append(ENTRY_KIND_SEAL, 2, 0, null);
  assert.is(appendWrite(log, 2, 220), null);
  log.releaseThrough(2);
  assert.is(offers, 0, "released, but not durable");
  await log.whenDurable(4);
  assert.is(offers, 1);
  // The room is at the ring's start now, the entry does not fit behind the last one.
  assert.ok(appendWrite(log, 2, 220));
  assert.ok(log.append(ENTRY_KIND_SEAL, 3, 0, null), "the last 512 bytes");
  assert.is(appendWrite(log, 3, 220), null);
  await log.whenDurable(6);
  assert.is(offers, 1, "durable, but not released");
  log.releaseThrough(4);
  assert.is(offers, 2);
  assert.ok(appendWrite(log, 3, 220));
  await log.whenDurable(7);
  assert.equal(await tagsOf(log), [0, 1, 2, 3]);
  await log.close();
});

test("views of entries stay until they are released", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  const kept = appendWrite(log, 1, 100)!;
  const before = kept.view.slice();
  await log.whenDurable(1);
  for (let round = 0; round < 20; round += 1) {
    const entry = appendWrite(log, 2, 10);
    if (entry === null) break;
    await log.whenDurable(entry.sequence);
  }
  assert.ok(isEqual(kept.view, before));
  await log.close();
});

test("read finds blocks by location and heals a copy that has lost them", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  const entry = appendWrite(log, 3, 5)!;
  await log.whenDurable(1);
  const wanted = content(3, 5).subarray(2 * 4096, 4 * 4096);
  const out = new Uint8Array(2 * 4096);
  const verify = (bytes: Uint8Array) => isEqual(bytes, wanted);
  await log.read(entry.location + 2, out.length, out, verify);
  assert.ok(isEqual(out, wanted));
  storage.poke("a/log.1", 4096 + 80 + 2 * 4096 + 100, new Uint8Array(10));
  await log.read(entry.location + 2, out.length, out, verify);
  assert.ok(isEqual(out, wanted));
  assert.ok(isSameOnAllCopies(storage, log), "healed");
  for (const prefix of PREFIXES) storage.poke(`${prefix}.1`, 4096 + 80 + 2 * 4096, new Uint8Array(10));
  const error = await rejection(log.read(entry.location + 2, out.length, out, verify));
  assert.is(error.code, "ERR_LOG_CORRUPT");
  await log.close();
});

test("entries heals what one copy has lost, and says so when both have", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1, 2, 3, 4], 8);
  const places = [4096, 4096 + 33280, 4096 + 2 * 33280, 4096 + 3 * 33280];
  storage.poke("a/log.1", places[1]! + 500, new Uint8Array(100));
  storage.poke("b/log.1", places[2]! + 20, new Uint8Array(100));
  storage.poke("a/log.1", places[3]!, new Uint8Array(100));
  assert.equal(await tagsOf(log), [1, 2, 3, 4]);
  // The iteration reads copy a; what only b had lost is left for whoever reads b.
  storage.poke("a/log.1", places[1]!, new Uint8Array(100));
  storage.poke("b/log.1", places[1]!, new Uint8Array(100));
  assert.is((await rejection(tagsOf(log))).code, "ERR_LOG_CORRUPT");
  await log.close();
});

test("chainAt knows the held entries and the position before them", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  const chains: bigint[] = [0n];
  for (let tag = 0; tag < 5; tag += 1) {
    await writeMany(log, [tag]);
    chains.push(log.tail.chain);
  }
  const sealed = await seal(log, 1);
  await writeMany(log, [9]);
  appendWrite(log, 10);
  for (const [sequence, chain] of chains.entries())
    assert.is(await log.chainAt(sequence), chain, `at ${sequence}`);
  assert.is(await log.chainAt(6), sealed.chain);
  assert.is(await log.chainAt(8), log.tail.chain, "not durable yet");
  assert.is(await log.chainAt(9), null);
  await log.whenDurable(8);
  log.freeThrough(6);
  assert.is(await log.chainAt(6), sealed.chain, "the position before the first");
  assert.is(await log.chainAt(5), null);
  assert.is((await rejection(readAll(log, 3))).code, "ERR_LOG_RANGE");
  await log.close();
});

test("a half that is read from is not used again before that ends", async () => {
  const storage = await fresh();
  let offers = 0;
  const log = await openLog(storage, { onSpace: () => (offers += 1) });
  await writeMany(log, [1, 2]);
  const first = await seal(log, 1);
  await seal(log, 2);
  await seal(log, 3);
  const reading = log.entries(1)[Symbol.asyncIterator]();
  await reading.next();
  log.freeThrough(first.sequence);
  assert.not.ok(log.canSeal, "its file is still read");
  assert.is(log.append(ENTRY_KIND_SEAL, 4, 0, null), null);
  await reading.return!();
  assert.is(offers, 1);
  assert.ok(log.canSeal);
  await log.close();
});

test("a mirror adopts the same bytes into the same places", async () => {
  const source = await fresh();
  const mirror = await fresh();
  const from = await openLog(source);
  const to = await openLog(mirror);
  for (let tag = 0; tag < 5; tag += 1) assert.ok(to.adopt(appendWrite(from, tag, tag + 1)!.view.slice()));
  assert.ok(to.adopt(from.append(ENTRY_KIND_SEAL, 1, 0, null)!.view.slice()));
  assert.ok(to.adopt(appendWrite(from, 6)!.view.slice()));
  assert.equal(to.tail, from.tail);
  await Promise.all([from.close(), to.close()]);
  for (const slot of [1, 2]) {
    const left = source.peek(`a/log.${slot}`, 4096, HALF_BYTES - 4096);
    assert.ok(isEqual(left, mirror.peek(`a/log.${slot}`, 4096, HALF_BYTES - 4096)));
  }
});

test("a mirror refuses what does not come next", async () => {
  const from = await openLog(await fresh());
  const to = await openLog(await fresh());
  const first = appendWrite(from, 1)!.view.slice();
  const second = appendWrite(from, 2)!.view.slice();
  from.generation = { number: 2, id: 5n };
  const third = appendWrite(from, 3)!.view.slice();
  const refused = (entry: Uint8Array, expected: string) => {
    assert.throws(() => to.adopt(entry), code(expected));
    assert.is(to.tail.sequence, 0);
  };
  refused(second, "ERR_ENTRY_SEQUENCE");
  refused(first.subarray(0, 79), "ERR_ENTRY_FORMAT");
  refused(first.subarray(0, 1000), "ERR_ENTRY_FORMAT");
  for (const at of [0, 8, 30, 79]) {
    const bad = first.slice();
    bad[at] = bad[at]! ^ 4;
    refused(bad, "ERR_ENTRY_CHECKSUM");
  }
  const bad = first.slice();
  bad[200] = bad[200]! ^ 1;
  refused(bad, "ERR_ENTRY_CHECKSUM");
  const other = await openLog(await fresh());
  appendWrite(other, 77);
  const foreign = appendWrite(other, 2)!.view.slice();
  to.adopt(first);
  assert.throws(() => to.adopt(foreign), code("ERR_ENTRY_CHAIN"));
  to.adopt(second);
  assert.throws(() => to.adopt(third), code("ERR_ENTRY_GENERATION"));
  to.generation = { number: 2, id: 6n };
  assert.throws(() => to.adopt(third), code("ERR_ENTRY_GENERATION"));
  assert.is(to.tail.sequence, 2);
});

test("waiting ends with the signal, and with the log", async () => {
  const log = await openLog(await fresh());
  const abort = new AbortController();
  const aborted = log.whenDurable(5, abort.signal);
  const left = log.whenDurable(5);
  abort.abort(new Error("enough"));
  assert.is((await rejection(aborted)).message, "enough");
  await log.close();
  assert.is((await rejection(left)).code, "ERR_LOG_CLOSED");
  assert.is((await rejection(log.whenDurable(7))).code, "ERR_LOG_CLOSED");
  assert.throws(() => appendWrite(log, 1), code("ERR_LOG_CLOSED"));
});

test("createLog refuses what exists, and takes away only what it made", async () => {
  const storage = new MemoryStorage();
  await (await storage.create("b/log.2", 10, "zeros")).close();
  const options = { kernel: makeKernel(), volumeId: VOLUME_ID, halfBytes: HALF_BYTES };
  assert.is((await rejection(createLog(storage, PREFIXES, options))).code, "ERR_EXISTS");
  assert.equal(storage.paths, ["b/log.2"]);
  const small = createLog(storage, ["c/log"], { ...options, halfBytes: 4096 });
  assert.is((await rejection(small)).code, "ERR_LOG_SIZE");
});

test("files of another volume, copy or slot are refused; blank ones count as missing", async () => {
  const storage = await fresh();
  const swapped = openLog(storage, { prefixes: [...PREFIXES].reverse() });
  assert.is((await rejection(swapped)).code, "ERR_LOG_FOREIGN");
  const header = storage.peek("a/log.0", 0, 512);
  storage.poke("a/log.1", 0, header);
  assert.is((await rejection(openLog(storage))).code, "ERR_LOG_FOREIGN");
  for (const slot of [0, 1, 2, 3]) storage.poke(`a/log.${slot}`, 0, new Uint8Array(512));
  const failed: number[] = [];
  const log = await openLog(storage, { onCopyFailed: async (copy) => void failed.push(copy) });
  assert.equal(failed, [0]);
  assert.equal(
    log.copies.map(({ state }) => state),
    ["missing", "current"],
  );
  await log.close();
});

test("a copy that is not there is reported before the log is served; without any there is no log", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1, 2]);
  await log.close();
  await storage.remove("b/log.3");
  const failed: number[] = [];
  const alone = await openLog(storage, { onCopyFailed: async (copy) => void failed.push(copy) });
  assert.equal(failed, [1]);
  assert.equal(await tagsOf(alone), [1, 2]);
  await alone.close();
  const none = openLog(storage, { trustedCopies: [false, true] });
  assert.is((await rejection(none)).code, "ERR_LOG_MISSING");
});

test("reset forgets everything, goes on from the new position, and counts halves further", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1, 2, 3]);
  await seal(log, 1);
  await writeMany(log, [4, 5]);
  const position = { sequence: 2, chain: 99n };
  await log.reset(position, { number: 2, id: 7n });
  assert.equal(log.tail, position);
  assert.is(log.firstSequence, 3);
  await writeMany(log, [30, 31]);
  assert.equal(await tagsOf(log), [30, 31]);
  assert.is(log.status()[0]!.number, 3);
  await log.close();
  const again = await openLog(storage, { applied: position, generation: { number: 2, id: 7n } });
  assert.equal(again.recovery, { tail: 4, torn: false, requiredThrough: 4, repaired: 0 });
  assert.equal(await tagsOf(again), [30, 31]);
  assert.is(again.status()[0]!.number, 3);
  await again.close();
});

test("inspect shows every file as it lies there", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1, 2]);
  await seal(log, 4);
  await log.close();
  storage.poke("a/log.1", 4096 + 600, new Uint8Array(50));
  const halves = await inspectLog(makeKernel(), storage, "a/log");
  assert.is(halves.length, 4);
  const half = halves[1]!;
  assert.is(half.header!.number, 1);
  assert.is(half.header!.generationId, GENERATION.id.toString(16));
  assert.equal(
    half.entries.map(({ offset, sequence, kind, lba, durableThrough }) => [
      offset,
      sequence,
      kind,
      lba,
      durableThrough,
    ]),
    [
      [4096, 1, "write", 1, 0],
      [8704, 2, "write", 2, 1],
      [13312, 3, "seal", 4, 2],
    ],
  );
  assert.equal(half.faults, ["entry 1 at 4096: the payload's checksum is wrong"]);
  assert.not.ok(halves[0]!.header!.inUse);
  const missing = await inspectLog(makeKernel(), storage, "c/log");
  assert.match(missing[0]!.faults[0]!, /c\/log.0/);
});

test("the room of a seal is given to no other entry", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1], ENTRY_PAYLOAD_MAX / BLOCK_BYTES);
  assert.ok(log.needsSeal(0), "what is left is a seal's");
  assert.is(log.append(ENTRY_KIND_TRIM, 0, 1, null), null);
  await seal(log, 1);
  await writeMany(log, [2]);
  assert.equal(await tagsOf(log), [1, 2]);
  await log.close();
});

test("a valid entry of another history in one copy is not taken: it does not chain", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1, 2, 3]);
  const others = await fresh();
  const other = await openLog(others);
  await writeMany(other, [7, 8, 9]);
  await other.close();
  const second = LOG_ENTRIES_OFFSET + paddedBytes(BLOCK_BYTES);
  storage.poke("a/log.1", second, others.peek("a/log.1", second, paddedBytes(BLOCK_BYTES)));
  assert.equal(await tagsOf(log), [1, 2, 3]);
  assert.ok(isSameOnAllCopies(storage, log), "what did not chain was healed");
  await log.close();
});

test("a reset is durable when it resolves", async () => {
  const storage = await fresh();
  const log = await openLog(storage);
  await writeMany(log, [1, 2]);
  await seal(log, 1);
  await writeMany(log, [3, 4]);
  await log.reset({ sequence: 100, chain: 7n }, GENERATION);
  const applied = { sequence: 100, chain: 7n };
  for (const fate of ["drop", "keep", 1, 2, 3] as const) {
    const found = storage.ifPowerFailedNow(fate);
    for (const prefix of PREFIXES) {
      const halves = await inspectLog(makeKernel(), found, prefix);
      assert.equal(halves.filter(({ header }) => header?.inUse).length, 1, `${fate}: one half is in use`);
    }
    const again = await openLog(found, { applied });
    assert.equal(again.recovery, { tail: 100, torn: false, requiredThrough: 100, repaired: 0 });
    await again.close();
  }
  await log.close();
});

test.run();
