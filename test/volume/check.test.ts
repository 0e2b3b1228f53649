// The check of a closed volume: sound ones of every geometry have nothing wrong with them, whatever they went
// through; crashes and losses leave warnings at most; every kind of damage is named with its place.
import {
  BLOCK_BYTES,
  ENTRY_HEADER_BYTES,
  ENTRY_LBA,
  ENTRY_SEQUENCE,
  LOG_ENTRIES_OFFSET,
  SEGMENT_PAGE_HEADER_BYTES,
  SEGMENT_TABLE_OFFSET,
  SUPERBLOCK_BYTES,
} from "../../assembly/format.ts";
import { describeFinding } from "../../src/log/findings.ts";
import { LOGICAL, logicalHash, STORED } from "../../src/volume/block_map.ts";
import { type CheckReport, checkVolume } from "../../src/volume/check.ts";
import { slotOffsets } from "../../src/volume/members.ts";
import { decodeSuperblock, encodeSuperblock, type Superblock } from "../../src/volume/superblock.ts";
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import { Pair } from "../replication/pair.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { share } from "../support/thorough.ts";
import { Expectation, workload } from "./expectation.ts";
import { eio, FaultyStorage } from "./faults.ts";
import {
  content,
  Model,
  makeKernel,
  makeVolume,
  makeWorld,
  openVolume,
  randomFrom,
  randomOperation,
  smallConfig,
} from "./fixture.ts";
import { flipBit, type Structure, type StructureKind, structuresOf } from "./structures.ts";

export const deadlineMs = 600_000;

const test = suite("volume check");
const BLOCKS = 256;

const config = smallConfig({ sizeBytes: BLOCKS * BLOCK_BYTES, memberBytes: 4 * 1024 * 1024 });

function check(storage: MemoryStorage | FaultyStorage, of: VolumeConfig = config): Promise<CheckReport> {
  return checkVolume(makeWorld(storage), makeKernel(), of);
}

function texts({ faults, warnings }: CheckReport): { faults: string[]; warnings: string[] } {
  return { faults: faults.map(describeFinding), warnings: warnings.map(describeFinding) };
}

async function expectClean(storage: MemoryStorage, of: VolumeConfig, where: string): Promise<CheckReport> {
  const report = await check(storage, of);
  assert.equal(texts(report), { faults: [], warnings: [] }, where);
  return report;
}

/** Content in the image, more of it in the log behind two CPs; closed. */
async function prepare(of: VolumeConfig = config): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  await makeVolume(storage, of);
  const volume = await openVolume(storage, of);
  for (let lba = 0; lba < BLOCKS; lba += 3) await writeTo(volume, lba, 1);
  await volume.consistencyPoint();
  for (let lba = 0; lba < BLOCKS; lba += 9) await writeTo(volume, lba, 2);
  await volume.consistencyPoint();
  for (let lba = 1; lba < 40; lba += 4) await writeTo(volume, lba, 3);
  await volume.close();
  return storage;
}

async function writeTo(volume: Volume, lba: number, version: number): Promise<void> {
  await volume.write(lba * BLOCK_BYTES, content(lba, version));
}

const fork = (storage: MemoryStorage) => storage.ifPowerFailedNow("keep");

// ------------------------------------------------------------------------------------------------ sound

const members = (count: number) => Array.from({ length: count }, (_, i) => `${"abcdefgh"[i]}/m`);

const GEOMETRIES: { name: string; changes: Partial<VolumeConfig> }[] = [
  { name: "1+0", changes: { members: members(1), parity: 0, log: ["a/log"] } },
  { name: "2+0", changes: { members: members(2), parity: 0 } },
  { name: "1+1", changes: { members: members(2), parity: 1 } },
  { name: "1+2", changes: { members: members(3), parity: 2 } },
  { name: "3+1", changes: {} },
  { name: "2+1 and a spare", changes: { dataUnits: 2 } },
  { name: "4+2", changes: { members: members(6), parity: 2, log: ["a/log", "b/log", "c/log"] } },
  { name: "3+3", changes: { members: members(6), parity: 3 } },
];

for (const { name, changes } of GEOMETRIES) {
  test(`${name}: sound from its creation on, through random operations, CPs and trims`, async () => {
    const of = smallConfig({ sizeBytes: BLOCKS * BLOCK_BYTES, memberBytes: 4 * 1024 * 1024, ...changes });
    const storage = new MemoryStorage();
    await makeVolume(storage, of);
    await expectClean(storage, of, "created");
    const model = new Model(of.sizeBytes);
    const random = randomFrom(name.length + 77);
    let blocks = 0;
    for (let round = 0; round < 3; round++) {
      const volume = await openVolume(storage, of);
      for (let i = 0; i < 25; i++) await randomOperation(volume, model, random);
      const { cp } = volume;
      await volume.close();
      const report = await expectClean(storage, of, `round ${round}`);
      assert.is(report.volume!.cp, cp);
      blocks = Math.max(blocks, report.blocks);
    }
    assert.ok(blocks > 5, `${blocks} blocks were in the image`);
  });
}

test("after a crash at any moment it is consistent, and after a recovery without a warning", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const points: { event: number; found: MemoryStorage }[] = [];
  const first = storage.eventCount;
  storage.onEvent = ({ number }) => {
    const event = number - first;
    points.push({ event, found: storage.ifPowerFailedNow(event % 5 === 0 ? "drop" : event) });
  };
  const volume = await openVolume(storage, config);
  await workload(volume, new Expectation(BLOCKS), 3, 120);
  await volume.close();
  assert.ok(points.length > 400, `${points.length} crash points`);
  let warnings = 0;
  for (const { event, found } of share(points, 70)) {
    const crashed = await check(found);
    assert.equal(texts(crashed).faults, [], `crash at event ${event}`);
    warnings += crashed.warningCount;
    await (await openVolume(found, config)).close();
    const recovered = texts(await check(found));
    // What is not in use any more stays as it is until the next commit.
    const notable = recovered.warnings.filter((text) => !text.includes("not in use"));
    assert.equal([recovered.faults, notable], [[], []], `recovered from event ${event}`);
  }
  assert.ok(warnings > 0, "some crash left traces");
});

test("both sides of a pair: in sync, crashed, promoted, and the old source", async () => {
  const pair = await Pair.inSync();
  const expectSides = async (where: string) => {
    const sides = [
      [pair.source.storage, pair.sourceConfig],
      [pair.mirror.storage, pair.mirrorConfig],
    ] as const;
    for (const [storage, of] of sides) {
      for (const how of ["keep", "drop", 5, 6] as const) {
        const { faults } = texts(await check(storage.ifPowerFailedNow(how), of));
        assert.equal(faults, [], `${where}, ${of.members[0]}, ${how}`);
      }
    }
  };
  for (let lba = 0; lba < 60; lba++) {
    await pair.write(lba, 1);
    if (lba % 20 === 7) await pair.consistencyPoint();
    if (lba % 9 === 0) await expectSides(`after block ${lba}`);
  }
  await pair.crashSource(3);
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  await pair.waitFor("promotion", pair.service.promote("orders"));
  await expectSides("promoted");
  await pair.closeMirror();
  assert.equal(texts(await check(pair.mirror.storage, pair.mirrorConfig)), { faults: [], warnings: [] });
});

test("reads only, and refuses a volume in use", async () => {
  const storage = await prepare();
  const { eventCount } = storage;
  const disks: string[] = [];
  const inner = storage.open.bind(storage);
  storage.open = (path, options) => {
    disks.push(path);
    assert.is(options?.readOnly, true, path);
    return inner(path, options);
  };
  await expectClean(storage, config, "closed");
  assert.is(storage.eventCount, eventCount);
  assert.ok(disks.length >= 4 + 8, disks.join());
  storage.open = inner;
  const volume = await openVolume(storage, config);
  assert.is(await codeOf(check(storage)), "ERR_LOCKED");
  await volume.close();
  await expectClean(storage, config, "closed again");
});

test("a configuration that does not fit is refused", async () => {
  const storage = await prepare();
  assert.is(await codeOf(check(storage, { ...config, sizeBytes: 4096 })), "ERR_CONFIG");
  assert.is(await codeOf(check(storage, { ...config, log: ["a/log"] })), "ERR_CONFIG");
});

// --------------------------------------------------------------------------------------------- degraded

test("what is missing, stale, blank or distrusted is a warning", async () => {
  const base = await prepare();
  const expectWarnings = async (storage: MemoryStorage, ...wanted: RegExp[]) => {
    const found = texts(await check(storage));
    assert.equal(found.faults, []);
    assert.is(found.warnings.length, wanted.length, found.warnings.join("\n"));
    for (const [i, pattern] of wanted.entries()) assert.match(found.warnings[i]!, pattern);
  };
  const noMember = fork(base);
  await noMember.remove("b/m");
  await expectWarnings(noMember, /^b\/m: member: .*no such file/, /^b\/m: member 1: .*found missing$/);

  const stale = fork(base);
  const bytes = stale.peek("b/m", 0, config.memberBytes!);
  await stale.remove("b/m");
  const volume = await openVolume(stale, config);
  await writeTo(volume, 7, 9);
  await volume.consistencyPoint();
  await volume.close();
  await (await stale.create("b/m", bytes.length, "sparse")).close();
  stale.poke("b/m", 0, bytes);
  await expectWarnings(stale, /^b\/m: member 1: .*recorded as missing/, /^b\/m: member: .*found stale: /);

  const blank = fork(base);
  blank.poke("c/m", 0, new Uint8Array(config.memberBytes!));
  await expectWarnings(blank, /^c\/m: member 2: .*missing/, /^c\/m: member: .*no superblock/);

  const noCopy = fork(base);
  await noCopy.remove("b/log.2");
  await expectWarnings(noCopy, /^b\/log: log copy 1: expected a complete copy, found .*no such file/);
  await (await openVolume(noCopy, config)).close();
  await expectWarnings(noCopy, /^b\/log: log copy 1: .*recorded as lost/);
});

test("a torn tail is a warning: what was never known to be durable", async () => {
  const storage = await prepare();
  const last = (await structuresOf(storage, config))
    .filter(({ kind, isInUse }) => kind === "payload" && isInUse)
    .at(-1)!;
  for (const prefix of config.log) flipBit(storage, { ...last, path: `${prefix}${last.path.slice(-2)}` }, 99);
  const { faults, warnings } = texts(await check(storage));
  assert.equal(faults, []);
  assert.is(warnings.length, 1);
  assert.match(warnings[0]!, /log, torn tail: .* 2 sectors of entries that were never known to be durable/);
});

// ----------------------------------------------------------------------------------------------- damage

/** One structure of each kind, damaged in one place: what the only fault says of it. */
const NAMED: { kind: StructureKind; isInUse?: boolean; says: RegExp }[] = [
  {
    kind: "superblock",
    says: /: superblock of member \d: expected commit \d, found checksum mismatch$/,
  },
  {
    kind: "table page",
    says: /: segment table page 0: expected the version of commit \d, found checksum mismatch$/,
  },
  {
    kind: "map node",
    says: /: block-map node of level \d, vvbn \d+: expected hash \w{32}, found hash \w{32}$/,
  },
  {
    kind: "container node",
    says: /: container-map node \d+ of level \d: expected hash \w{32}, found hash \w{32}$/,
  },
  { kind: "data", says: /: data block, vvbn \d+, block \d+: expected hash \w{32}, found hash \w{32}$/ },
  {
    kind: "data",
    isInUse: false,
    says: /: dead data block, vvbn \d+: expected hash \w{32}, found hash \w{32}$/,
  },
  {
    kind: "summary",
    says: /: part 0 of the summary of the run at stripe \d+: expected hash \w{32}, found hash/,
  },
  { kind: "parity", says: /: parity P of stripe \d+: expected hash \w{32}, found hash \w{32}$/ },
  { kind: "half header", says: /: header of the half from entry \d+ on: .*checksum is wrong$/ },
  {
    kind: "entry header",
    says: /: log entry \d+: expected what another copy has, found none that is valid$/,
  },
];

for (const { kind, isInUse = true, says } of NAMED) {
  test(`names a damaged ${isInUse ? "" : "dead "}${kind} with its file and place, and nothing else`, async () => {
    const base = await prepare();
    const found = (await structuresOf(base, config)).filter(
      (each) => each.kind === kind && each.isInUse === isInUse,
    );
    assert.ok(found.length > 0, `there is a ${kind}`);
    for (const structure of new Set([found[0]!, found[found.length >> 1]!])) {
      const storage = fork(base);
      flipBit(storage, structure, 8 * 20 + 3);
      const { faults, warnings } = texts(await check(storage));
      assert.equal([faults.length, warnings], [1, []], faults.join("\n"));
      assert.ok(faults[0]!.startsWith(`${structure.path} @${structure.offset}: `), faults[0]);
      assert.match(faults[0]!, says);
    }
  });
}

test("says when the other units of a stripe cannot restore one: m of them, and one more", async () => {
  const of = smallConfig({ ...config, members: members(4), parity: 2 });
  const base = await prepare(of);
  const structures = await structuresOf(base, of);
  const data = structures.find(({ kind, isInUse }) => kind === "data" && isInUse)!;
  const row = structures.filter(({ offset, path }) => offset === data.offset && path !== data.path);
  const storage = fork(base);
  flipBit(storage, data, 5);
  const expectRestorable = async (count: number, isRestorable: boolean) => {
    const { faults } = texts(await check(storage));
    const about = faults.filter((text) => text.includes("data block, ") && text.startsWith(data.path));
    assert.is(about.length, 1, faults.join("\n"));
    assert.is(!/the other units of its stripe do not restore it/.test(about[0]!), isRestorable);
    if (isRestorable) assert.is(faults.length, count);
  };
  await expectRestorable(1, true);
  flipBit(storage, row[0]!, 6);
  await expectRestorable(2, true);
  flipBit(storage, row[1]!, 7);
  await expectRestorable(3, false);
  // With a member missing, one damaged unit is as many as two were.
  const degraded = fork(base);
  await degraded.remove(row[0]!.path);
  flipBit(degraded, data, 5);
  assert.equal((await check(degraded, of)).faultCount, 1);
});

test("too few members, members of two volumes, and two histories are faults", async () => {
  const base = await prepare();
  const few = fork(base);
  await few.remove("a/m");
  await few.remove("b/m");
  assert.match(
    texts(await check(few)).faults.join(),
    /image: .*too few members to read everything; missing: a\/m, b\/m/,
  );

  const mixed = fork(base);
  const other = new MemoryStorage();
  await makeVolume(other, config, 99);
  mixed.poke("d/m", 0, other.peek("d/m", 0, config.memberBytes!));
  assert.match(texts(await check(mixed)).faults.join(), /members: .*belong to different volumes/);

  const none = new MemoryStorage();
  const report = await check(none);
  assert.equal([report.volume, report.faultCount, report.warningCount], [null, 1, 4]);
});

test("an entry that was durable and is gone from every copy is a fault", async () => {
  const storage = await prepare();
  const structures = await structuresOf(storage, config);
  const headers = structures.filter(({ kind, isInUse }) => kind === "entry header" && isInUse);
  const second = headers.filter(({ path }) => path === headers[0]!.path)[1]!;
  for (const prefix of config.log)
    flipBit(storage, { ...second, path: `${prefix}${second.path.slice(-2)}` }, 200);
  const { faults } = texts(await check(storage));
  assert.is(faults.length, 1);
  assert.match(
    faults[0]!,
    /^log: expected entries through \d+, which were durable, found none behind entry \d+ in any/,
  );
});

test("a member that cannot be read is named where it matters", async () => {
  const memory = await prepare();
  const data = (await structuresOf(memory, config)).find(({ kind, isInUse }) => kind === "data" && isInUse)!;
  const storage = new FaultyStorage(memory);
  storage.judge = (call) => {
    const isTouched = call.offset <= data.offset && data.offset < call.offset + call.length;
    return call.kind === "read" && call.path === data.path && isTouched ? eio(call) : null;
  };
  const { faults } = texts(await check(storage));
  assert.is(faults.length, 1, faults.join("\n"));
  assert.match(faults[0]!, /data block, vvbn \d+, block \d+: expected hash \w{32}, found unreadable$/);
});

// -------------------------------------------------------------------------------------- contradictions

/** Writes the newest superblock of every member anew, changed, with a checksum that is right. */
function changeSuperblocks(
  storage: MemoryStorage,
  change: (superblock: Superblock) => Partial<Superblock>,
  paths: readonly string[] = config.members,
): void {
  const kernel = makeKernel();
  const superblockAt = (path: string, offset: number) =>
    decodeSuperblock(kernel, storage.peek(path, offset, SUPERBLOCK_BYTES)) as Superblock;
  const offsetsOf = (slot: number) => slotOffsets(config.memberBytes!, slot);
  const [first, second] = [0, 1].map((slot) => superblockAt(paths[0]!, offsetsOf(slot)[0]!).commit);
  for (const path of paths) {
    for (const offset of offsetsOf(first! > second! ? 0 : 1)) {
      const found = superblockAt(path, offset);
      storage.poke(path, offset, encodeSuperblock(kernel, { ...found, ...change(found) }));
    }
  }
}

const words = (from: Uint32Array, at: number, value: number) => from.with(at, value);

const CONTRADICTIONS: { name: string; damage: (storage: MemoryStorage) => void; says: RegExp }[] = [
  {
    name: "one member with another member list",
    damage: (storage) =>
      changeSuperblocks(storage, ({ vvbnCursor }) => ({ vvbnCursor: vvbnCursor + 1 }), ["c/m"]),
    says: /^c\/m @\d+: superblock of member 2: expected commit \d, found another content than elsewhere$/,
  },
  {
    name: "a generation left out",
    damage: (storage) =>
      changeSuperblocks(storage, ({ history }) => ({ history: [...history, { ...history[0]!, number: 3 }] })),
    says: /^generation history: expected generation 2, found generation 3$/,
  },
  {
    name: "another history than the commit before had",
    damage: (storage) =>
      changeSuperblocks(storage, ({ history }) => ({ history: [{ ...history[0]!, id: 5n }] })),
    says: /^generation history: expected that of the commit before, and more, found another one$/,
  },
  {
    name: "entries of a generation that is not in the history",
    damage: (storage) =>
      changeSuperblocks(storage, ({ history }) => ({ history: [{ ...history[0]!, id: 5n }] })),
    says: /^log: expected one that can be opened, found log: it holds generation 1 \(\w+\), .* an old copy$/,
  },
  {
    name: "entries of an older generation that is not in the history",
    damage: (storage) =>
      changeSuperblocks(storage, ({ history }) => {
        const [first] = history;
        return {
          history: [
            { ...first!, id: 5n },
            { ...first!, number: 2 },
          ],
        };
      }),
    says: /^log entry \d+: expected a generation of this volume, found generation 1 with id /,
  },
  {
    name: "a generation that begins behind the end of the log",
    damage: (storage) =>
      changeSuperblocks(storage, ({ history }) => ({
        history: [...history, { ...history[0]!, number: 2, startSequence: 5000 }],
      })),
    says: /^generation 2: expected the log through entry 5000, where it begins, found its end at entry \d+$/,
  },
  {
    name: "a root hash that is not that of the map",
    damage: (storage) => changeSuperblocks(storage, ({ mapRoot }) => ({ mapRoot: words(mapRoot, 5, 7) })),
    says: /^root hash: expected \w{32}, that of its children, found \w{32}$/,
  },
  {
    name: "a birth that is not that of the newest child",
    damage: (storage) => changeSuperblocks(storage, ({ mapRoot }) => ({ mapRoot: words(mapRoot, 2, 1) })),
    says: /^block-map node 0 of level 1, birth: expected CP 2, that of its newest child, found CP 1$/,
  },
  {
    name: "blocks that nothing refers to",
    damage: (storage) => changeSuperblocks(storage, () => ({ mapRoot: new Uint32Array(16) })),
    says: /^container map, vvbn \d+: expected free, as nothing refers to it, found pvbn \d+$/,
  },
  {
    name: "places that nothing refers to",
    damage: (storage) => changeSuperblocks(storage, () => ({ containerRoot: new Uint32Array(8) })),
    says: /^segment 0, live blocks: expected 0, as are referred to, found \d+$/,
  },
  {
    name: "blocks that the container map has free",
    damage: (storage) => changeSuperblocks(storage, () => ({ containerRoot: new Uint32Array(8) })),
    says: /^container map, vvbn \d+: expected a place, as it is referred to, found free$/,
  },
  {
    name: "a free list that is none",
    damage: (storage) => changeSuperblocks(storage, ({ mapRoot }) => ({ freeList: mapRoot })),
    says: /^image: expected one that can be read, found a block of the free list is none$/,
  },
  {
    name: "a live count that is wrong",
    damage: changeLiveCount,
    says: /^segment 0, live blocks: expected \d+, as are referred to, found \d+$/,
  },
  {
    name: "seals of other CPs than those that come next",
    damage: (storage) => changeSuperblocks(storage, () => ({ cp: 40 })),
    says: /^log entry \d+: expected the seal of CP 41, found that of CP 3$/,
  },
  {
    name: "an image that does not lead on to its log",
    damage: (storage) => changeSuperblocks(storage, () => ({ appliedChain: 1n })),
    says: /^log: expected entries through \d+, which were durable, found none behind entry \d+ in any copy$/,
  },
  {
    name: "a log of halves of another size",
    damage: (storage) =>
      changeSuperblocks(storage, ({ logHalfBytes }) => ({ logHalfBytes: logHalfBytes * 2 })),
    says: /^a\/log\.0 @0: half header, size of a half: expected 2113536 bytes, found 1056768$/,
  },
];

/** In the page that counts, on every member. */
function changeLiveCount(storage: MemoryStorage): void {
  const kernel = makeKernel();
  const pages = [0, 1].map((slot) => SEGMENT_TABLE_OFFSET + slot * BLOCK_BYTES);
  const commitAt = (offset: number) =>
    new DataView(storage.peek("a/m", offset, BLOCK_BYTES).buffer).getUint32(24, true);
  const offset = commitAt(pages[0]!) > commitAt(pages[1]!) ? pages[0]! : pages[1]!;
  for (const path of config.members) {
    const page = storage.peek(path, offset, BLOCK_BYTES);
    page[SEGMENT_PAGE_HEADER_BYTES]! -= 1;
    kernel.checksum64(page.subarray(8), new Uint32Array(page.buffer, 0, 2));
    storage.poke(path, offset, page);
  }
}

/** Content in the image, and a CP in the log that the image does not include; closed. */
async function prepareSealed(): Promise<MemoryStorage> {
  const storage = await prepare();
  const volume = await openVolume(storage, config);
  const sealing = storage.eventCount;
  let sealed: MemoryStorage | null = null;
  storage.onEvent = ({ number, kind, path }) => {
    // The seal is durable and the first block of the CP is not yet on a member.
    if (number > sealing && kind === "write" && path.endsWith("/m"))
      sealed ??= storage.ifPowerFailedNow("drop");
  };
  await volume.consistencyPoint();
  await volume.close();
  return sealed!;
}

for (const { name, damage, says } of CONTRADICTIONS) {
  test(`names ${name}`, async () => {
    const storage = await prepareSealed();
    assert.equal(texts(await check(storage)).faults, [], "before");
    damage(storage);
    const { faults } = texts(await check(storage));
    assert.ok(
      faults.some((text) => says.test(text)),
      `none says ${says}:\n${faults.join("\n")}`,
    );
  });
}

test("names blocks that two nodes refer to", async () => {
  const storage = await prepare();
  const kernel = makeKernel();
  const isRoot = ({ kind, isInUse, index }: Structure) => kind === "map node" && isInUse && index === 1;
  const { path, offset } = (await structuresOf(storage, config)).find(isRoot)!;
  const root = storage.peek(path, offset, BLOCK_BYTES);
  // The second leaf is the first one again.
  root.copyWithin(64, 0, 64);
  storage.poke(path, offset, root);
  changeSuperblocks(storage, ({ mapRoot }) => {
    const logical = logicalHash(kernel, 1, new Uint32Array(root.buffer));
    const stored = new Uint32Array(4);
    kernel.hashBlock(root, stored);
    const changed = mapRoot.slice();
    changed.set(logical, LOGICAL);
    changed.set(stored, STORED);
    return { mapRoot: changed };
  });
  const { faults } = texts(await check(storage));
  const twice = faults.filter((text) => /^vvbn \d+: expected one reference, found several$/.test(text));
  assert.ok(twice.length > 40, faults.join("\n"));
  const lost = faults.filter((text) => text.includes("expected free, as nothing refers to it"));
  assert.ok(lost.length > 40, faults.join("\n"));
});

test("names an entry beyond the end of the volume", async () => {
  const storage = await prepare();
  const structures = await structuresOf(storage, config);
  const first = structures.find(({ kind, isInUse }) => kind === "entry header" && isInUse)!;
  assert.is(first.offset, LOG_ENTRIES_OFFSET);
  const last = lastEntry(structures);
  const kernel = makeKernel();
  for (const prefix of config.log) {
    const path = `${prefix}${last.path.slice(-2)}`;
    const header = storage.peek(path, last.offset, ENTRY_HEADER_BYTES);
    new DataView(header.buffer).setUint32(ENTRY_LBA, BLOCKS + 4, true);
    kernel.checksum64(header.subarray(8), new Uint32Array(header.buffer, 0, 2));
    storage.poke(path, last.offset, header);
  }
  const header = new DataView(storage.peek(last.path, last.offset, ENTRY_HEADER_BYTES).buffer);
  const sequence = header.getUint32(ENTRY_SEQUENCE, true);
  const fault = `log entry ${sequence}: expected blocks below 256, found blocks 260 to 260`;
  assert.equal(texts(await check(storage)).faults, [fault]);
});

function lastEntry(structures: readonly Structure[]): Structure {
  return structures.filter(({ kind, isInUse }) => kind === "entry header" && isInUse).at(-1)!;
}

test("a small volume is checked quickly", async () => {
  const storage = await prepare();
  let quickestMs = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 12; round++) {
    const startMs = performance.now();
    await check(storage);
    quickestMs = Math.min(quickestMs, performance.now() - startMs);
  }
  console.log(`    a volume of ${BLOCKS} blocks is checked in ${quickestMs.toFixed(1)} ms`);
  assert.ok(quickestMs < 100, `${quickestMs} ms`);
});

test.run();
