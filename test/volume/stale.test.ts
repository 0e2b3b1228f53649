// What an older state has left on the members, and must not be believed.
import { BLOCK_BYTES, SEGMENT_TABLE_OFFSET, SUPERBLOCK_BYTES } from "../../assembly/format.ts";
import { pvbnOf, RowLayout } from "../../src/raid/geometry.ts";
import { readSummary } from "../../src/volume/cleaner.ts";
import { slotOffsets } from "../../src/volume/members.ts";
import type { RunRecord } from "../../src/volume/summary.ts";
import { decodeSuperblock, encodeSuperblock } from "../../src/volume/superblock.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { expectSound, type Place, placeOf, withStore } from "./checking.ts";
import { copyOf, eio, FaultyStorage } from "./faults.ts";
import { content, Model, makeKernel, makeVolume, openVolume, smallConfig } from "./fixture.ts";

const test = suite("stale members");
const config = smallConfig();

async function fill(volume: Volume, model: Model, version: number): Promise<void> {
  for (let lba = 0; lba < 200; lba++) {
    await volume.write(lba * BLOCK_BYTES, content(lba, version));
    model.write(lba * BLOCK_BYTES, content(lba, version));
  }
}

async function prepare(): Promise<{ memory: MemoryStorage; model: Model }> {
  const memory = new MemoryStorage();
  await makeVolume(memory, config);
  const model = new Model(config.sizeBytes);
  const volume = await openVolume(memory, config);
  await fill(volume, model, 1);
  await volume.consistencyPoint();
  await volume.close();
  return { memory, model };
}

test("a member that was put back from an older copy is stale, although no absence was recorded", async () => {
  const { memory, model } = await prepare();
  const older = memory.peek("b/m", 0, config.memberBytes!);
  const volume = await openVolume(memory, config);
  for (let version = 2; version < 5; version++) {
    await fill(volume, model, version);
    await volume.consistencyPoint();
  }
  await volume.close();
  memory.poke("b/m", 0, older);
  const again = await openVolume(memory, config);
  const { state, reason } = again.status().members[1]!;
  assert.is(state, "missing");
  assert.match(reason!, "stale");
  await model.expectEqual(again);
  await again.close();
});

test("the table pages of a commit that was given up are written over before its number is used again", async () => {
  const { memory, model } = await prepare();
  const dataOffset = await withStore(memory, config, async (store) => store.superblock.dataOffset);
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage, config);
  await fill(volume, model, 2);
  // One member fails when the others have their table pages; the loss is recorded under the same number.
  let isBroken = false;
  let isRecorded = false;
  let found: MemoryStorage | null = null;
  storage.judge = (call) => {
    const isTable = call.kind === "write" && call.offset >= SEGMENT_TABLE_OFFSET && call.offset < dataOffset;
    if (call.path === "a/m" && isTable) isBroken = true;
    return isBroken && call.path === "a/m" ? eio(call) : null;
  };
  storage.gate = async (call) => {
    if (call.path.includes("log")) return;
    if (isBroken && call.kind === "write" && call.length === SUPERBLOCK_BYTES) isRecorded = true;
    else if (isRecorded && call.kind === "write" && found === null) found = await copyOf(memory);
  };
  await volume.consistencyPoint();
  await volume.close();
  assert.ok(found, "the commit was made again");
  // The process dies after the record, before the commit is made again.
  await expectSound(found!, config);
  const again = await openVolume(found!, config);
  await model.expectEqual(again);
  await again.consistencyPoint();
  await model.expectEqual(again);
  await again.close();
  await expectSound(found!, config);
});

test("members of two copies that each went on are two histories, although both count the same", async () => {
  const { memory } = await prepare();
  const copy = await copyOf(memory);
  for (const [version, storage] of [memory, copy].entries()) {
    const volume = await openVolume(storage, config);
    await volume.write(0, content(0, 10 + version));
    await volume.consistencyPoint();
    await volume.close();
  }
  memory.poke("b/m", 0, copy.peek("b/m", 0, config.memberBytes!));
  const code = await openVolume(memory, config).then(
    () => "opened",
    (error: { code: string }) => error.code,
  );
  assert.is(code, "ERR_MEMBERS_DIVERGED");
});

test("a part of an older summary is not taken for one of the run that is there now", async () => {
  // Segments so long that a run's summary has several parts.
  const long = smallConfig({ segmentStripes: 128, memberBytes: 16 * 1024 * 1024 });
  const memory = new MemoryStorage();
  await makeVolume(memory, long);
  const volume = await openVolume(memory, long);
  const data = Uint8Array.from({ length: 250 * BLOCK_BYTES }, (_, i) => i % 251);
  for (let lba = 0; lba < 1000; lba += 250) await volume.write(lba * BLOCK_BYTES, data);
  await volume.consistencyPoint();
  await volume.close();
  // Runs whose summaries have several parts, with the places of their first parts.
  const runs = await withStore(memory, long, async (store) => {
    const found: { last: number; layout: RowLayout; place: Place; records: RunRecord[] }[] = [];
    for (let segment = 0; segment < store.table.count; segment++) {
      const { used, written, geometry } = store.table.get(segment);
      if (!used || written === 0) continue;
      const layout = new RowLayout(geometry);
      const last = segment * store.superblock.segmentStripes + written - 1;
      const { header, records } = await readSummary(store, layout, last);
      if (header.parts < 2) continue;
      const index = header.rows * layout.k - header.parts;
      const stripe = header.firstStripe + Math.floor(index / layout.k);
      const place = placeOf(store, long, pvbnOf(stripe, layout.slotOfUnit(stripe, index % layout.k)));
      found.push({ last, layout, place, records });
    }
    return found;
  });
  assert.ok(runs.length > 1, `${runs.length} runs`);
  const [one, other] = runs as [(typeof runs)[0], (typeof runs)[0]];
  memory.poke(
    one.place.path,
    one.place.offset,
    memory.peek(other.place.path, other.place.offset, BLOCK_BYTES),
  );
  const again = await withStore(memory, long, (store) => readSummary(store, one.layout, one.last));
  assert.equal(again.records, one.records);
});

test("a member with another id than the volume has for its slot is left out", async () => {
  const { memory, model } = await prepare();
  const kernel = makeKernel();
  const places = [0, 1].flatMap((slot) => slotOffsets(config.memberBytes!, slot));
  for (const offset of places) {
    const found = decodeSuperblock(kernel, memory.peek("b/m", offset, SUPERBLOCK_BYTES));
    if (typeof found === "string") continue;
    const members = found.members.map((member, slot) =>
      slot === 1 ? { ...member, id: new Uint8Array(16).fill(0xab) } : member,
    );
    memory.poke("b/m", offset, encodeSuperblock(kernel, { ...found, members }).slice());
  }
  const volume = await openVolume(memory, config);
  const { state, reason } = volume.status().members[1]!;
  assert.is(state, "missing");
  assert.match(reason!, "replaced by another");
  await model.expectEqual(volume);
  await volume.close();
});

/** What a consistency point leaves when the process dies at the n-th write of its superblocks. */
async function dyingAtSuperblock(write: number): Promise<{ found: MemoryStorage; model: Model }> {
  const { memory, model } = await prepare();
  const volume = await openVolume(memory, config);
  await fill(volume, model, 2);
  let found: MemoryStorage | null = null;
  let count = 0;
  memory.onEvent = ({ kind, path, length }) => {
    if (kind !== "write" || path.includes("log") || length !== SUPERBLOCK_BYTES) return;
    count += 1;
    if (count === write) found = memory.ifPowerFailedNow("keep");
  };
  await volume.consistencyPoint();
  await volume.close();
  assert.ok(found);
  return { found: found!, model };
}

test("the table pages of a commit that never came to be are written over by the next one, whatever it is", async () => {
  const { found, model } = await dyingAtSuperblock(1);
  // Its mirror is not there, so that nothing but a record is committed, with nothing changed in the table.
  const waiting = await openVolume(found, config, { hasMirror: true });
  await waiting.persist({ aloneSince: 3 });
  await waiting.close();
  await expectSound(found, config);
  const volume = await openVolume(found, config);
  await volume.consistencyPoint();
  await model.expectEqual(volume);
  await volume.close();
});

test("a superblock that a crash left on one member only goes to all of them before another one moves", async () => {
  // Both copies are on the first member, and nothing on the others.
  const { found, model } = await dyingAtSuperblock(3);
  // The power fails again while the volume is opened, and tears whatever was not synced.
  const torn: MemoryStorage[] = [];
  found.onEvent = () => {
    torn.push(found.ifPowerFailedNow(() => (sector) => sector % 2 === 0));
  };
  await (await openVolume(found, config)).close();
  assert.ok(torn.length > 10, `${torn.length} crashes`);
  for (const each of torn) {
    const volume = await openVolume(each, config);
    assert.equal(
      volume.status().members.map(({ state }) => state),
      config.members.map(() => "current"),
    );
    await volume.close();
  }
  const volume = await openVolume(torn.at(-1)!, config);
  await model.expectEqual(volume);
  await volume.close();
});

test.run();
