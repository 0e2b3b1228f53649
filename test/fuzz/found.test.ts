// What fuzzing found in the engine, each as a test of its own: what was wrong, in the smallest form. (The inputs
// themselves are in the corpus, which every run of the tests replays.)

import { LOG_HALF_COUNT, SEGMENT_TABLE_OFFSET } from "../../assembly/format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { decodeHalfHeader, encodeHalfHeader, HALF_BYTES_MIN } from "../../src/log/half_header.ts";
import { parseConfig } from "../../src/node/config.ts";
import { isLoopback, parseHostPort } from "../../src/node/units.ts";
import { decodeFrame, encodeFrame } from "../../src/replication/frame.ts";
import { decodeFreeNode, encodeFreeNode } from "../../src/volume/free_list.ts";
import { readCandidate } from "../../src/volume/members.ts";
import { SegmentTable } from "../../src/volume/segments.ts";
import { decodeSummaryHeader, decodeSummaryRecords, encodeSummaryPart } from "../../src/volume/summary.ts";
import { decodeSuperblock, encodeSuperblock, type Superblock } from "../../src/volume/superblock.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { SUPERBLOCK, VOLUME_ID } from "./targets/volume_records.ts";

const test = suite("fuzz found");
const kernel = Kernel.createSync({ memoryBytes: 2 ** 21 });

test("a half's header with numbers that no log writes is none", () => {
  const good = {
    ...{ volumeId: VOLUME_ID, copy: 0, copyCount: 1, slot: 2, fileBytes: HALF_BYTES_MIN, number: 6 },
    ...{ startSequence: 4, startChain: 1n, generation: { number: 1, id: 2n } },
  };
  const decode = (changes: object) =>
    decodeHalfHeader(kernel, encodeHalfHeader(kernel, { ...good, ...changes }));
  assert.equal(decode({}), good);
  assert.type(decode({ number: 0, startSequence: 0 }), "object", "a half that is not in use has no number");
  // A size of 0 was taken for the size of the log, which then was empty and had no room for anything.
  for (const fileBytes of [0, 512, HALF_BYTES_MIN - 512, HALF_BYTES_MIN + 1, 2 ** 50]) {
    assert.match(String(decode({ fileBytes })), /no half has/);
  }
  assert.match(String(decode({ slot: LOG_HALF_COUNT, number: 8 })), /there is no file 4/);
  assert.match(String(decode({ number: 7 })), /half 7 does not lie in file 2/);
  assert.is(decode({ copy: 1 }), "no such copy");
});

test("a superblock with a shape that no volume has is none", () => {
  const decode = (changes: Partial<Superblock>) =>
    decodeSuperblock(kernel, encodeSuperblock(kernel, { ...SUPERBLOCK, ...changes }));
  assert.type(decode({}), "object");
  const shapes = [
    [0, 1],
    [16, 0],
    [2, 2],
    [1, 25],
  ];
  for (const [dataUnits, parityUnits] of shapes as [number, number][]) {
    assert.match(String(decode({ dataUnits, parityUnits })), /parity units on 3 members/);
  }
  assert.match(String(decode({ sizeBlocks: 0 })), /without blocks/);
});

test("a member is not taken for larger than its file, and its table is not allocated", async () => {
  const storage = new MemoryStorage();
  const disk = await storage.create("m", SUPERBLOCK.memberBytes, "zeros");
  const put = (changes: Partial<Superblock>) =>
    storage.poke("m", 0, encodeSuperblock(kernel, { ...SUPERBLOCK, ...changes }));
  put({});
  assert.type((await readCandidate(kernel, disk)).superblock, "object");
  const wrong = [
    { memberBytes: SUPERBLOCK.memberBytes * 2 },
    { segmentCount: 0xffffffff },
    { segmentCount: 0 },
    { segmentStripes: 0 },
    { segmentStripes: 64 },
    { dataOffset: SEGMENT_TABLE_OFFSET },
    { dataOffset: 2 ** 50 },
  ];
  for (const changes of wrong) {
    put(changes);
    const { superblock } = await readCandidate(kernel, disk);
    assert.match(String(superblock), /it describes a larger member/, JSON.stringify(changes));
  }
});

test("a page of the segment table with an impossible geometry is damaged, not an assertion later", async () => {
  const geometry = { k: 2, m: 1, members: 0b111 };
  const load = async (changes: object) => {
    const storage = new MemoryStorage();
    const disk = await storage.create("m", 1 << 20, "zeros");
    const table = new SegmentTable(kernel, VOLUME_ID, 3);
    const record = { used: true, geometry, written: 5, live: 10, ...changes };
    table.markAllDirty();
    table.set(1, record);
    const sum = table.sumAt(1);
    await table.writeDirty([disk], 1);
    const again = new SegmentTable(kernel, VOLUME_ID, 3);
    await again.load([disk], 1, sum);
    return again.live;
  };
  assert.is(await load({}), 10);
  const wrong = [
    { geometry: { k: 0, m: 1, members: 1 } },
    { geometry: { k: 16, m: 0, members: 0xffff } },
    { geometry: { k: 1, m: 4, members: 31 } },
    { geometry: { k: 2, m: 1, members: 3 } },
    { geometry: { k: 2, m: 1, members: 0x3000001 } },
    { live: 11 },
  ];
  for (const changes of wrong) {
    const error = await load(changes).catch((thrown) => thrown);
    assert.is(error.code, "ERR_SEGMENT_TABLE", JSON.stringify(changes));
  }
});

test("a run summary without rows is none: the cleaner walked from it to itself for ever", () => {
  const record = { kind: 1, level: 0, id: 5, hash: new Uint32Array(4) };
  const block = new Uint8Array(4096);
  const good = { firstStripe: 9, rows: 1, blocks: 1, part: 0, parts: 1, commit: 3 };
  const decode = (changes: object, changed = {}) => {
    const header = { ...good, ...changes };
    encodeSummaryPart(kernel, VOLUME_ID, header, [{ ...record, ...changed }], block);
    const found = decodeSummaryHeader(kernel, VOLUME_ID, block);
    return found === null ? null : decodeSummaryRecords(found, block).length;
  };
  assert.is(decode({}), 1);
  assert.is(decode({ rows: 0, firstStripe: 10 }), null);
  assert.is(
    decode({ blocks: 0xffffffff, parts: Math.ceil(0xffffffff / 126) }),
    null,
    "more than fits its rows",
  );
  assert.is(decode({ firstStripe: 2 ** 53 - 1 }), null);
  for (const changed of [{ kind: 0 }, { kind: 5 }, { id: 2 ** 53 }]) {
    assert.throws(
      () => decode({}, changed),
      (error: { code?: string }) => error.code === "ERR_SUMMARY",
    );
  }
});

test("a node of the free list that frees nothing, or subtrees higher than any map, is none", () => {
  const entry = { vvbn: 5, birth: 3, level: 8, hash: new Uint32Array(4) };
  const decode = (changes: object, nextVvbn = 0) =>
    decodeFreeNode(
      encodeFreeNode({ nextVvbn, nextHash: new Uint32Array(4), entries: [{ ...entry, ...changes }] }),
    );
  assert.is(decode({}).entries.length, 1);
  const refused = (error: { code?: string }) => error.code === "ERR_FREE_LIST";
  for (const changes of [{ vvbn: 0 }, { vvbn: 2 ** 53 }, { birth: 2 ** 55 }, { level: 9 }]) {
    assert.throws(() => decode(changes), refused);
  }
  assert.throws(() => decode({}, 2 ** 60), refused);
});

test("a text in a frame is taken as it is, a byte order mark included", () => {
  const generation = { number: 1, id: 2n };
  const body = {
    protocol: 1,
    hasSecret: false,
    timeoutMs: 5000,
    nonce: new Uint8Array(32),
    volume: "\ufefforders",
  };
  const { message } = decodeFrame(kernel, encodeFrame(kernel, generation, "hello", body));
  assert.equal(message, { name: "hello", body });
});

test("what looks like an address, and is none for the system, is refused", () => {
  for (const address of [
    "127.1:80",
    "7.0.06.1:8",
    "127.0.0.256:1",
    "1:1",
    "1.2.3.4.:1",
    "[:::]:1",
    "[12]:1",
    "[1.2.3.4]:1",
  ]) {
    assert.is(parseHostPort(address), null, address);
  }
  assert.equal(parseHostPort("[fe80::1]:80"), { host: "fe80::1", port: 80 });
  assert.equal(parseHostPort("1.2.3.x:80"), { host: "1.2.3.x", port: 80 });
  for (const host of ["127.0.0.999", "127.01.0.1", "127.0.0.1.evil.example"])
    assert.not(isLoopback(host), host);
  assert.ok(isLoopback("127.3.2.1"));
});

test("a configuration is refused by name, however deep it is nested, and with a password in an address", () => {
  const nested = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;
  const refused = (text: string, message: RegExp) =>
    assert.throws(
      () => parseConfig(text, "/x/node.json"),
      (error: { code?: string; message: string }) =>
        error.code === "ERR_CONFIG" && message.test(error.message),
    );
  refused(`{"name":${nested},"volumes":{}}`, /name: ./);
  refused(`{"volumes":{"v":{"members":[${nested}]}}}`, /members\[0\]: ./);
  const mirror = { url: "ws://:secret@10.0.0.2:8750" };
  refused(
    JSON.stringify({ volumes: { v: { size: "1GiB", members: ["m"], log: ["l"], mirror } } }),
    /mirror\.url/,
  );
});

test.run();
