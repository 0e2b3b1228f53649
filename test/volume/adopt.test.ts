// What a mirror's volume refuses to take from the wire, although the log would.
import { BLOCK_BYTES, ENTRY_KIND_SEAL, ENTRY_KIND_TRIM, ENTRY_KIND_WRITE } from "../../assembly/format.ts";
import type { AppendedEntry } from "../../src/log/log.ts";
import type { RemoteImage } from "../../src/volume/image_sync.ts";
import { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { content, makeKernel, makeVolume, makeWorld, openVolume, smallConfig } from "./fixture.ts";

const test = suite("adopting entries");

async function openMirror(): Promise<Volume> {
  const storage = new MemoryStorage();
  await Volume.create(makeWorld(storage), makeKernel(), smallConfig(), "mirror");
  return Volume.open(makeWorld(storage), makeKernel(), smallConfig());
}

/** A larger source, whose generation the mirror has taken. */
async function openSource(mirror: Volume): Promise<Volume> {
  const storage = new MemoryStorage();
  const config = smallConfig({ sizeBytes: 2048 * BLOCK_BYTES, memberBytes: 12 * 1024 * 1024 });
  await makeVolume(storage, config);
  const source = await openVolume(storage, config);
  await mirror.persist({ history: [...source.history] });
  return source;
}

function codeOf(adopt: () => unknown): string {
  try {
    adopt();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return "adopted";
}

const codeFrom = (error: { code: string }) => error.code;

function bytesOf(entry: AppendedEntry | null): Uint8Array {
  assert.ok(entry);
  return entry!.view.slice();
}

test("extents that end beyond the volume, and seals of another CP", async () => {
  const mirror = await openMirror();
  const last = mirror.bytes / BLOCK_BYTES - 1;
  for (const { kind, lba, count, payload, code } of [
    { kind: ENTRY_KIND_WRITE, lba: last, count: 1, payload: [content(1, 1)], code: "adopted" },
    {
      kind: ENTRY_KIND_WRITE,
      lba: last,
      count: 2,
      payload: [content(1, 1), content(2, 1)],
      code: "ERR_ENTRY_RANGE",
    },
    { kind: ENTRY_KIND_TRIM, lba: 0, count: last + 2, payload: null, code: "ERR_ENTRY_RANGE" },
    { kind: ENTRY_KIND_TRIM, lba: 0, count: last + 1, payload: null, code: "adopted" },
    { kind: ENTRY_KIND_SEAL, lba: 2, count: 0, payload: null, code: "ERR_CP_ORDER" },
    { kind: ENTRY_KIND_SEAL, lba: 1, count: 0, payload: null, code: "adopted" },
  ]) {
    // A source of its own for each, whose log continues the mirror's.
    const fresh = await openMirror();
    const source = await openSource(fresh);
    const entry = bytesOf(source.log.append(kind, lba, count, payload));
    assert.is(
      codeOf(() => fresh.adopt(entry)),
      code,
      `kind ${kind} at ${lba}, ${count} blocks`,
    );
    await source.close();
    await fresh.close();
  }
  await mirror.close();
});

test("an image whose nodes say another thing than its root hash is not taken", async () => {
  const mirror = await openMirror();
  const storage = new MemoryStorage();
  await makeVolume(storage);
  const source = await openVolume(storage);
  await source.write(0, content(0, 1));
  await source.write(7 * BLOCK_BYTES, content(7, 1));
  await source.consistencyPoint();
  const image = await source.pinImage();
  // Block 7 is said to be a hole: nothing comes that could be verified.
  const lying: RemoteImage = {
    ...image,
    blocks: (lbas) => image.blocks(lbas),
    children: async (level, indexes) => {
      const answers = await image.children(level, indexes);
      if (level === 0) answers[0]!.fill(0, 7 * 16, 8 * 16);
      return answers;
    },
  };
  const history = [...source.history];
  assert.is(await mirror.adoptImage(lying, history), "mismatch");
  assert.is(mirror.cp, 0);
  assert.is(await mirror.adoptImage(image, history), "committed");
  assert.equal(mirror.rootHash, image.rootHash);
  const { inSync, everInSync } = mirror.persisted;
  assert.equal({ inSync, everInSync }, { inSync: false, everInSync: false }, "that is yet to be shown");
  image.release();
  await source.close();
  await mirror.close();
});

test("an image with a block that does not fit its hash is not taken", async () => {
  const mirror = await openMirror();
  const storage = new MemoryStorage();
  await makeVolume(storage);
  const source = await openVolume(storage);
  await source.write(7 * BLOCK_BYTES, content(7, 1));
  await source.consistencyPoint();
  const image = await source.pinImage();
  const lying: RemoteImage = {
    ...image,
    children: (level, indexes) => image.children(level, indexes),
    blocks: async () => [content(7, 2)],
  };
  const code = await mirror.adoptImage(lying, [...source.history]).catch(codeFrom);
  assert.is(code, "ERR_REMOTE_BLOCK");
  assert.is(mirror.cp, 0);
  image.release();
  await source.close();
  await mirror.close();
});

test("consistency points are made in their order, and each ends at its own seal", async () => {
  const mirror = await openMirror();
  const source = await openSource(mirror);
  const { log } = source;
  const seals = [1, 2].map((cp) => {
    mirror.adopt(bytesOf(log.append(ENTRY_KIND_WRITE, cp, 1, [content(cp, 1)])));
    mirror.adopt(bytesOf(log.append(ENTRY_KIND_SEAL, cp, 0, null)));
    return { sequence: log.tail.sequence, chain: log.tail.chain };
  });
  const none = {
    firstSequence: 1,
    count: 0,
    lbas: new Float64Array(0),
    hashes: new Uint32Array(0),
    trims: [],
  };
  const options = { fetch: async () => [], expectedRoot: mirror.rootHash };
  const apply = (cp: number, seal: { sequence: number; chain: bigint }) =>
    mirror.applyConsistencyPoint({ ...none, cp, seal }, options).catch(codeFrom);
  assert.is(await mirror.applyOwnConsistencyPoint(2, null).catch(codeFrom), "ERR_CP_ORDER");
  assert.is(await apply(2, seals[1]!), "ERR_CP_ORDER");
  assert.is(await apply(1, seals[1]!), "ERR_CP_SEAL");
  assert.is(await apply(1, { ...seals[0]!, chain: seals[0]!.chain ^ 1n }), "ERR_CP_SEAL");
  assert.is(mirror.cp, 0);
  for (const cp of [1, 2]) assert.is(await mirror.applyOwnConsistencyPoint(cp, null), "committed");
  assert.equal(await mirror.applyOwnConsistencyPoint(3, null).catch(codeFrom), "ERR_CP_ORDER");
  await source.close();
  await mirror.close();
});

test("a block that the log lacks is taken from the source only with the content that the CP data name", async () => {
  const mirror = await openMirror();
  const source = await openSource(mirror);
  const written = content(5, 1);
  const hashes = new Uint32Array(4);
  makeKernel().hashBlock(written, hashes);
  const { log } = source;
  mirror.adopt(bytesOf(log.append(ENTRY_KIND_SEAL, 1, 0, null)));
  const seal = { sequence: log.tail.sequence, chain: log.tail.chain };
  const data = { cp: 1, seal, firstSequence: 1, count: 1, lbas: Float64Array.of(5), hashes, trims: [] };
  const expectedRoot = mirror.rootHash;
  const apply = (block: Uint8Array) =>
    mirror.applyConsistencyPoint(data, { fetch: async () => [block], expectedRoot }).catch(codeFrom);
  for (const wrong of [content(5, 2), new Uint8Array(BLOCK_BYTES), written.subarray(1)]) {
    assert.is(await apply(wrong), "ERR_REMOTE_BLOCK");
  }
  // The right one is taken; but the root hash is not the one that is expected.
  assert.is(await apply(written), "mismatch");
  assert.is(mirror.cp, 0);
  await source.close();
  await mirror.close();
});

test.run();
