// A log that knows a generation newer than its owner does: the owner's members are an old copy. Nothing is served from
// them and nothing is written to the log, even where its entries seem to fit.
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { GENERATION, makeFiles, openLog, PREFIXES, writeMany } from "./fixture.ts";

const test = suite("log of a newer generation");
const NEWER = { number: GENERATION.number + 1, id: 0x99n };

/** Entries 1 to 3 are of the known generation, the later ones of a newer one. */
async function prepare(): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  await makeFiles(storage);
  const log = await openLog(storage);
  await writeMany(log, [1, 2, 3]);
  log.generation = NEWER;
  await writeMany(log, [4, 5]);
  await log.close();
  return storage;
}

function bytesOf(storage: MemoryStorage): string[] {
  return storage.paths.map((path) => {
    const bytes = storage.peek(path, 0, 64 * 1024);
    return `${path} ${Buffer.from(bytes).toString("base64")}`;
  });
}

async function refuses(storage: MemoryStorage, settings: Parameters<typeof openLog>[1]): Promise<void> {
  const before = bytesOf(storage);
  const error = await openLog(storage, settings).then(
    () => assert.unreachable("it was opened"),
    (reason: { code: string; message: string }) => reason,
  );
  assert.is(error!.code, "ERR_MEMBERS_STALE");
  assert.match(error!.message, /generation 2 \(99\).*old copy/);
  assert.equal(bytesOf(storage), before);
}

test("is refused where its entries go on from the members", async () => {
  const storage = await prepare();
  await refuses(storage, {});
  const log = await openLog(storage, { generation: NEWER });
  assert.is(log.tail.sequence, 5);
  await log.close();
});

test("is refused when it goes on behind a gap", async () => {
  const storage = await prepare();
  const log = await openLog(storage, { generation: NEWER });
  const { sequence, chain } = log.tail;
  // As when an image is taken over: what lay before is gone, the header says who goes on.
  await log.reset({ sequence: sequence + 10, chain }, NEWER);
  await writeMany(log, [6]);
  await log.close();
  await refuses(storage, {});
});

test("is refused when the newest generation is another one of that number", async () => {
  const storage = await prepare();
  await refuses(storage, { generation: { ...NEWER, id: 7n } });
});

test("of older generations goes on", async () => {
  const storage = await prepare();
  const log = await openLog(storage, { generation: { number: 3, id: 5n } });
  assert.is(log.tail.sequence, 5);
  assert.is(storage.paths.length, PREFIXES.length * 4);
  await log.close();
});

test.run();
