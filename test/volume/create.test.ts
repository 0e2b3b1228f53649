// Making a volume: all of it or nothing, whatever fails and whenever.
import { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { FaultyStorage } from "../support/memory_faults.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { makeKernel, makeVolume, makeWorld, openVolume, smallConfig } from "./fixture.ts";

const test = suite("creating a volume");
const config = smallConfig();
const paths = [
  ...config.members,
  ...config.log.flatMap((prefix) => [0, 1, 2, 3].map((slot) => `${prefix}.${slot}`)),
];

for (const path of ["a/m", "d/m", "a/log.0", "b/log.3"]) {
  for (const kind of ["write", "sync"] as const) {
    test(`a ${kind} of ${path} fails: nothing is left behind`, async () => {
      const inner = new MemoryStorage();
      const storage = new FaultyStorage(inner);
      storage.fail(path, kind);
      const making = Volume.create(makeWorld(storage), makeKernel(), config);
      const error = await making.then(
        () => null,
        (reason: unknown) => reason as { message: string },
      );
      assert.ok(error?.message.includes(path), `${error?.message} does not name ${path}`);
      assert.equal(inner.paths, []);
    });
  }
}

test("what exists is refused and left as it was", async () => {
  for (const path of paths) {
    const storage = new MemoryStorage();
    await (await storage.create(path, 8192, "zeros")).close();
    const making = Volume.create(makeWorld(storage), makeKernel(), config);
    const error = await making.then(
      () => null,
      (reason: unknown) => reason as { code: string },
    );
    assert.is(error?.code, "ERR_EXISTS", path);
    assert.equal(storage.paths, [path]);
  }
});

test("a second creation over a volume is refused, and the volume still opens", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  let code = "";
  await makeVolume(storage, config).catch((error: { code: string }) => {
    code = error.code;
  });
  assert.is(code, "ERR_EXISTS");
  await (await openVolume(storage, config)).close();
});

test("a volume that is open is not opened a second time, neither by its members nor by its log", async () => {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  const codeOf = (attempt: Promise<unknown>) =>
    attempt.then(
      () => "opened",
      (error: { code: string }) => error.code,
    );
  assert.is(await codeOf(openVolume(storage, config)), "ERR_LOCKED");
  await volume.close();
  await (await openVolume(storage, config)).close();
});

test.run();
