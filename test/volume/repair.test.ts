// Damage behind the volume's back: found at the next read, repaired from parity, moved into free space by the
// cleaner; and what cannot be repaired is an error that names the block.
import {
  BLOCK_BYTES,
  RECORD_KIND_CONTAINER,
  RECORD_KIND_DATA,
  RECORD_KIND_MAP,
  SEGMENT_TABLE_OFFSET,
} from "../../assembly/format.ts";
import { pvbnOf, RowLayout } from "../../src/raid/geometry.ts";
import { LEAF_WORDS, STORED, VVBN } from "../../src/volume/block_map.ts";
import { readSummary } from "../../src/volume/cleaner.ts";
import type { Store } from "../../src/volume/store.ts";
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import { bytesOf, newNode, readU64 } from "../../src/volume/words.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { expectSound, type Place, placeOf, withStore } from "./checking.ts";
import { copyOf, eio, FaultyStorage } from "./faults.ts";
import { content, Model, makeVolume, openVolume, preparedOnce, randomFrom, smallConfig } from "./fixture.ts";

const test = suite("volume repair");
const BLOCKS = 1024;

const prepare = preparedOnce(async (config) => {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const model = new Model(config.sizeBytes);
  const volume = await openVolume(storage, config);
  for (let lba = 0; lba < BLOCKS; lba += 3) await writeTo(volume, model, lba, 1);
  await volume.consistencyPoint();
  await volume.close();
  return { storage, model };
});

async function writeTo(volume: Volume, model: Model, lba: number, version: number): Promise<void> {
  await volume.write(lba * BLOCK_BYTES, content(lba, version));
  model.write(lba * BLOCK_BYTES, content(lba, version));
}

async function dataPlaces(store: Store, config: VolumeConfig): Promise<Map<number, Place>> {
  const places = new Map<number, Place>();
  const { image } = store;
  for (let lba = 0; lba < BLOCKS; lba++) {
    const leaf = await store.mapNode(image, image.mapRoot, 0, Math.floor(lba / 128));
    const vvbn = leaf === null ? 0 : readU64(leaf, (lba % 128) * LEAF_WORDS + VVBN);
    if (vvbn === 0) continue;
    places.set(lba, placeOf(store, config, await store.containers.lookup(image.containerRoot, vvbn)));
  }
  return places;
}

/** Places of everything that the summaries describe as live, by kind; and of the summaries themselves. */
async function allPlaces(store: Store, config: VolumeConfig): Promise<Map<string, Place[]>> {
  const places = new Map<string, Place[]>();
  const add = (kind: string, pvbn: number) =>
    places.set(kind, [...(places.get(kind) ?? []), placeOf(store, config, pvbn)]);
  const { segmentStripes } = store.superblock;
  for (let segment = 0; segment < store.table.count; segment++) {
    const { used, written, geometry } = store.table.get(segment);
    if (!used) continue;
    const layout = new RowLayout(geometry);
    for (let end = written; end > 0; ) {
      const { header, records } = await readSummary(store, layout, segment * segmentStripes + end - 1);
      const place = (index: number) => {
        const stripe = header.firstStripe + Math.floor(index / layout.k);
        return pvbnOf(stripe, layout.slotOfUnit(stripe, index % layout.k));
      };
      for (const [index, record] of records.entries()) add(String(record.kind), place(index));
      for (let part = 0; part < header.parts; part++)
        add("summary", place(header.rows * layout.k - 1 - part));
      end = header.firstStripe - segment * segmentStripes;
    }
  }
  return places;
}

function flip(storage: MemoryStorage, { path, offset }: Place, bit: number): void {
  const bytes = storage.peek(path, offset + (bit >> 3), 1);
  bytes[0]! ^= 1 << (bit & 7);
  storage.poke(path, offset + (bit >> 3), bytes);
}

/** Waits until the cleaner has nothing to do. */
async function heal(volume: Volume): Promise<void> {
  let commit = -1;
  while (commit !== volume.status().commit) {
    commit = volume.status().commit;
    for (let turn = 0; turn < 400; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
}

const SEVERAL: { name: string; changes: Partial<VolumeConfig>; damages: number }[] = [
  { name: "3+1", changes: {}, damages: 1 },
  { name: "2+2", changes: { parity: 2, memberBytes: 9 * 1024 * 1024 }, damages: 1 },
  { name: "1+1", changes: { members: ["a/m", "b/m"], memberBytes: 16 * 1024 * 1024 }, damages: 1 },
];

for (const { name, changes } of SEVERAL) {
  test(`${name}: damaged blocks are repaired when they are read, and healed into free space`, async () => {
    const config = smallConfig(changes);
    const { storage: memory, model } = await prepare(config);
    const places = await withStore(memory, config, (store) => dataPlaces(store, config));
    const random = randomFrom(11);
    const storage = new FaultyStorage(memory);
    const rows = new Set<number>();
    const unreadable = new Set<string>();
    let damaged = 0;
    for (const [lba, place] of places) {
      // One fault a row at most: these are independent faults, not a lost row.
      if (rows.has(place.offset)) continue;
      rows.add(place.offset);
      damaged++;
      if (lba % 4 === 0) flip(memory, place, random(BLOCK_BYTES * 8));
      else if (lba % 4 === 1)
        memory.poke(
          place.path,
          place.offset,
          memory.peek(place.path, place.offset + BLOCK_BYTES, BLOCK_BYTES),
        );
      else if (lba % 4 === 2) memory.poke(place.path, place.offset, content(lba, 0));
      else unreadable.add(`${place.path} ${place.offset}`);
    }
    assert.ok(damaged > 50, `${damaged}`);
    storage.judge = (call) => {
      const reads = (at: string) => {
        const [path, offset] = at.split(" ");
        return call.path === path && call.offset <= +offset! && +offset! < call.offset + call.length;
      };
      return call.kind === "read" && [...unreadable].some(reads) ? eio(call) : null;
    };
    const volume = await openVolume(storage, config);
    await model.expectEqual(volume);
    const errors = volume
      .status()
      .members.reduce((sum, each) => sum + each.readErrors + each.checksumErrors, 0);
    assert.ok(errors >= damaged / 2, `${errors} errors are shown`);
    await heal(volume);
    await volume.close();
    // Healed: nothing of it is left in use, so that each member alone may be lost afterwards.
    const after = await withStore(memory, config, (store) => dataPlaces(store, config));
    for (const [lba, { path, offset }] of after) {
      assert.equal(
        memory.peek(path, offset, BLOCK_BYTES),
        model.bytes.slice(lba * BLOCK_BYTES, (lba + 1) * BLOCK_BYTES),
        `block ${lba}`,
      );
    }
    for (const lost of config.members) {
      const degraded = new FaultyStorage(await copyOf(memory));
      degraded.kill(lost);
      const again = await openVolume(degraded, config);
      await model.expectEqual(again);
      await again.close();
    }
    await expectSound(memory, config);
  });
}

test("lost writes are found: old content is never served", async () => {
  const config = smallConfig();
  const { storage: memory, model } = await prepare(config);
  const storage = new FaultyStorage(memory);
  const volume = await openVolume(storage, config);
  // One member forgets every second write of stripes, and says it had done them.
  let count = 0;
  let lost = 0;
  storage.loses = ({ path, offset, length }) => {
    const isStripes = offset >= SEGMENT_TABLE_OFFSET + 2 * BLOCK_BYTES && length !== 8192;
    if (path !== "c/m" || !isStripes || count++ % 2 === 0) return false;
    lost++;
    return true;
  };
  for (let round = 0; round < 6; round++) {
    for (let lba = round % 3; lba < BLOCKS; lba += 3) await writeTo(volume, model, lba, 5 + round);
    await volume.consistencyPoint();
    await model.expectEqual(volume);
  }
  assert.ok(lost > 5, `${lost} lost writes`);
  storage.loses = () => false;
  await volume.close();
  const again = await openVolume(memory, config);
  await model.expectEqual(again);
  await heal(again);
  await again.close();
});

for (const [kind, what] of [
  [String(RECORD_KIND_MAP), "block-map nodes"],
  [String(RECORD_KIND_CONTAINER), "container-map nodes"],
  ["summary", "summaries"],
  [String(RECORD_KIND_DATA), "data blocks"],
] as const) {
  test(`damaged ${what} are repaired, and cleaning goes on`, async () => {
    const config = smallConfig({ cacheBytes: 16 * BLOCK_BYTES });
    const { storage, model } = await prepare(config);
    const places = await withStore(storage, config, (store) => allPlaces(store, config));
    const rows = new Set<number>();
    const random = randomFrom(5);
    for (const place of places.get(kind)!) {
      if (rows.has(place.offset)) continue;
      rows.add(place.offset);
      flip(storage, place, random(BLOCK_BYTES * 8));
    }
    assert.ok(rows.size > 0);
    const volume = await openVolume(storage, config);
    await model.expectEqual(volume);
    for (let round = 0; round < 12; round++) {
      for (let lba = round % 5; lba < BLOCKS; lba += 5) await writeTo(volume, model, lba, 20 + round);
      await volume.consistencyPoint();
    }
    await model.expectEqual(volume);
    await heal(volume);
    assert.is(volume.status().state, "serving");
    await volume.close();
    const again = await openVolume(storage, config);
    await model.expectEqual(again);
    await again.close();
  });
}

test("every flipped bit of map nodes and container nodes is detected", async () => {
  const config = smallConfig({ members: ["a/m"], parity: 0, memberBytes: 16 * 1024 * 1024 });
  const { storage } = await prepare(config);
  await withStore(storage, config, async (store) => {
    const root = placeOf(
      store,
      config,
      await store.containers.lookup(store.image.containerRoot, readU64(store.image.mapRoot, VVBN)),
    );
    const container = placeOf(store, config, readU64(store.image.containerRoot, 0));
    for (const [place, hash, hashIndex] of [
      [root, store.image.mapRoot, STORED],
      [container, store.image.containerRoot, 2],
    ] as const) {
      const out = bytesOf(newNode());
      const read = () => store.raid.read([{ pvbn: place.pvbn, out, hash, hashIndex }]);
      await read();
      const stored = out.slice();
      const found = new Uint32Array(4);
      for (let bit = 0; bit < BLOCK_BYTES * 8; bit++) {
        stored[bit >> 3]! ^= 1 << (bit & 7);
        store.kernel.hashBlock(stored, found);
        if (found.every((word, i) => word === hash[hashIndex + i])) assert.unreachable(`bit ${bit}`);
        stored[bit >> 3]! ^= 1 << (bit & 7);
      }
      // And the read uses that hash: a bit here and there.
      for (let bit = 1; bit < BLOCK_BYTES * 8; bit += 1009) {
        flip(storage, place, bit);
        const error = await read().catch((reason: { code: string }) => reason.code);
        assert.is(error, "ERR_UNRECOVERABLE", `bit ${bit}`);
        flip(storage, place, bit);
      }
    }
  });
});

test("segment-table pages: any slot may be damaged on all members but one", async () => {
  for (const slots of [[0], [1], [0, 1]]) {
    for (const spared of [0, 1, 2, 3]) {
      const config = smallConfig();
      const { storage, model } = await prepare(config);
      for (const [member, path] of config.members.entries()) {
        if (member === spared) continue;
        for (const slot of slots) {
          flip(storage, { path, offset: SEGMENT_TABLE_OFFSET + slot * BLOCK_BYTES, pvbn: 0 }, 777 + member);
        }
      }
      const volume = await openVolume(storage, config);
      await model.expectEqual(volume);
      for (let lba = 0; lba < BLOCKS; lba += 2) await writeTo(volume, model, lba, 3);
      await volume.consistencyPoint();
      await volume.close();
      await expectSound(storage, config);
    }
  }
});

test("the older version of a segment-table page is never taken for the newest", async () => {
  const config = smallConfig({ members: ["a/m"], parity: 0, memberBytes: 16 * 1024 * 1024 });
  const { storage, model } = await prepare(config);
  let volume = await openVolume(storage, config);
  for (let round = 0; round < 3; round++) {
    await writeTo(volume, model, 5, round);
    await volume.consistencyPoint();
  }
  await volume.close();
  const outcomes: string[] = [];
  for (const slot of [0, 1]) {
    const copy = await copyOf(storage);
    flip(copy, { path: "a/m", offset: SEGMENT_TABLE_OFFSET + slot * BLOCK_BYTES, pvbn: 0 }, 500);
    try {
      volume = await openVolume(copy, config);
      await model.expectEqual(volume);
      await volume.close();
      await expectSound(copy, config);
      outcomes.push("opened");
    } catch (error) {
      outcomes.push((error as { code: string }).code);
    }
  }
  assert.equal(outcomes.sort(), ["ERR_SEGMENT_TABLE", "opened"]);
});

test("what cannot be repaired is an error that names the block; the rest of the volume goes on", async () => {
  const config = smallConfig();
  const { storage, model } = await prepare(config);
  const places = await withStore(storage, config, (store) => dataPlaces(store, config));
  // Two units of one row.
  const byRow = new Map<number, number[]>();
  for (const [lba, { offset }] of places) byRow.set(offset, [...(byRow.get(offset) ?? []), lba]);
  const [first, second] = [...byRow.values()].find((lbas) => lbas.length >= 2)!;
  flip(storage, places.get(first!)!, 4000);
  flip(storage, places.get(second!)!, 5000);
  // A third one nearby can be repaired: so the cleaner evacuates the segment, and meets the lost ones.
  const near = places.get(first!)!.offset;
  const [third] = [...places].find(
    ([, { offset }]) => offset !== near && Math.abs(offset - near) < 4 * BLOCK_BYTES,
  )!;
  flip(storage, places.get(third)!, 6000);
  const volume = await openVolume(storage, config);
  for (const lba of [first!, second!]) {
    const error = await volume.read(lba * BLOCK_BYTES, BLOCK_BYTES).catch((reason) => reason);
    assert.is(error.code, "ERR_UNRECOVERABLE");
    assert.match(error.message, new RegExp(`^block ${lba}:`));
  }
  const range = await volume.read(0, BLOCKS * BLOCK_BYTES).catch((reason) => reason);
  assert.match(range.message, new RegExp(`^block ${Math.min(first!, second!)}:`));
  // A partial write would need the old content.
  const partial = await volume.write(first! * BLOCK_BYTES + 5, new Uint8Array(9)).catch((reason) => reason);
  assert.is(partial.code, "ERR_UNRECOVERABLE");
  const others = async () => {
    for (let lba = 0; lba < BLOCKS; lba++) {
      if (lba === first || lba === second) continue;
      assert.equal(
        await volume.read(lba * BLOCK_BYTES, BLOCK_BYTES),
        model.bytes.slice(lba * BLOCK_BYTES, (lba + 1) * BLOCK_BYTES),
      );
    }
  };
  await others();
  // Overwriting everything else many times: the cleaner meets the lost blocks, leaves them and goes on.
  for (let round = 0; round < 25; round++) {
    for (let lba = 0; lba < BLOCKS; lba++) {
      if (lba !== first && lba !== second && lba % 2 === round % 2)
        await writeTo(volume, model, lba, 30 + round);
    }
    await volume.consistencyPoint();
  }
  await others();
  assert.is(volume.status().state, "serving");
  for (const lba of [first!, second!]) {
    const error = await volume.read(lba * BLOCK_BYTES, BLOCK_BYTES).catch((reason) => reason);
    assert.is(error.code, "ERR_UNRECOVERABLE");
    await writeTo(volume, model, lba, 77);
  }
  await volume.consistencyPoint();
  await model.expectEqual(volume);
  await volume.close();
  const again = await openVolume(storage, config);
  await model.expectEqual(again);
  await again.close();
});

test("readers of an older image reconstruct from segments that were given back", async () => {
  const config = smallConfig();
  const { storage: memory, model } = await prepare(config);
  const storage = new FaultyStorage(memory);
  storage.kill("b/m");
  const volume = await openVolume(storage, config);
  let isHeld = true;
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  storage.gate = (call) => (isHeld && call.kind === "read" && call.path === "c/m" ? held : undefined);
  const before = model.bytes.slice();
  const read = volume.read(0, BLOCKS * BLOCK_BYTES);
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  storage.gate = () => {};
  // Whole segments are emptied under the reader.
  const { empty } = volume.status().segments;
  for (let lba = 0; lba < 600; lba += 3) await writeTo(volume, model, lba, 8);
  await volume.consistencyPoint();
  assert.ok(
    volume.status().segments.empty < empty,
    "they are not empty for others before the reader is done",
  );
  isHeld = false;
  release();
  const bytes = await read;
  assert.ok(bytes.every((byte, i) => byte === before[i]));
  await model.expectEqual(volume);
  await volume.close();
});

test.run();
