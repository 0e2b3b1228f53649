// The public API as an application uses it: real files, a real socket.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Mirror, MirrorvolError, Volume, type VolumeConfig } from "../../src/index.ts";
import { assert, suite } from "../support/harness.ts";

const MIB = 1024 ** 2;
const test = suite("embedded", { folder: "" });

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), "mirrorvol-embedded-"));
});
test.after.each(({ folder }) => rmSync(folder, { recursive: true }));

function configOf(folder: string, name: string, changes: Partial<VolumeConfig> = {}): VolumeConfig {
  const members = [0, 1, 2].map((slot) => join(folder, `${name}-${slot}`));
  const log = [join(folder, `${name}-log`)];
  return { name: "v", sizeBytes: 8 * MIB, members, parity: 1, log, logBytes: 8 * MIB, ...changes };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(() => null).catch((reason) => reason);
  assert.instance(error, MirrorvolError, String(error));
  return (error as MirrorvolError).code;
}

function next(target: EventTarget, name: string): Promise<CustomEvent> {
  return new Promise((resolve) =>
    target.addEventListener(name, (event) => resolve(event as CustomEvent), { once: true }),
  );
}

async function untilInSync(volume: Volume): Promise<void> {
  for (let turn = 0; turn < 500 && volume.status().mirror?.state !== "in sync"; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.is(volume.status().mirror?.state, "in sync");
}

test("keeps what was written, at any offset", async ({ folder }) => {
  const config = configOf(folder, "a");
  await Volume.create(config);
  const data = Uint8Array.from({ length: 10_000 }, (_, i) => i * 7);
  const volume = await Volume.open(config);
  assert.equal([volume.name, volume.bytes, volume.role], ["v", 8 * MIB, "source"]);
  await volume.write(5_001, data);
  await volume.zero(6_000, 100);
  await volume.flush();
  const committed = next(volume, "consistencypoint");
  assert.is(await volume.consistencyPoint(), 1);
  assert.is((await committed).detail.cp, 1);
  await volume.trim(8_192, 4_096);
  await Promise.all([volume.close(), volume.close()]);
  const expected = new Uint8Array(20_000);
  expected.set(data, 5_001);
  expected.fill(0, 6_000, 6_100).fill(0, 8_192, 12_288);
  const again = await Volume.open(config);
  assert.equal(await again.read(0, 20_000), expected);
  assert.is(again.position.sequence, volume.position.sequence);
  await again.close();
});

test("rejects with stable codes", async ({ folder }) => {
  const config = configOf(folder, "a");
  assert.is(await codeOf(Volume.open(config)), "ERR_NO_MEMBERS");
  assert.is(await codeOf(Volume.create({ ...config, parity: 5 })), "ERR_CONFIG");
  assert.is(await codeOf(Volume.create(configOf(join(folder, "nowhere"), "a"))), "ERR_NOT_FOUND");
  assert.equal(readdirSync(folder), [], "nothing is left behind");
  await Volume.create(config);
  assert.is(await codeOf(Volume.create(config)), "ERR_EXISTS");
  const volume = await Volume.open(config);
  assert.is(await codeOf(Volume.open(config)), "ERR_LOCKED");
  assert.is(await codeOf(volume.read(8 * MIB, 1)), "ERR_RANGE");
  assert.is(await codeOf(volume.write(-1, new Uint8Array(1))), "ERR_RANGE");
  await volume.close();
  assert.is(await codeOf(volume.read(0, 1)), "ERR_CLOSED");
});

test("a source and its mirror: in sync, promoted, and the old source fenced", async ({ folder }) => {
  const here = configOf(folder, "a");
  const members = [0, 1].map((slot) => join(folder, `b-${slot}`));
  const there = configOf(folder, "b", { name: "other", members });
  await Volume.create(here);
  await Volume.create({ ...there, role: "mirror" });
  const secret = new TextEncoder().encode("a secret of both sides");
  const mirror = await Mirror.serve({ listen: "127.0.0.1:0", volumes: [there], secret });
  assert.is(await codeOf(mirror.promote("other")), "ERR_NEVER_IN_SYNC");
  assert.is(await codeOf(mirror.promote("none")), "ERR_NO_VOLUME");
  const target = { url: `ws://${mirror.address}`, volume: "other" };
  const source = await Volume.open({ ...here, secret, mirror: target });
  const data = new Uint8Array(3 * MIB).fill(9);
  await source.write(4_096, data);
  await untilInSync(source);
  assert.is(mirror.status("other").source?.state, "in sync");
  assert.is(await codeOf(mirror.promote("other")), "ERR_SOURCE_CONNECTED");
  await source.write(0, data.subarray(0, 4_096), { mode: "async" });
  await source.flush();
  await source.close();

  const promoted = await mirror.promote("other");
  assert.equal(await promoted.read(0, data.length), data);
  await promoted.write(0, new Uint8Array(4_096));
  assert.is(promoted.status().generation, 2);

  const old = await Volume.open({ ...here, secret, mirror: target });
  const fenced = next(old, "fenced");
  assert.is(await codeOf(old.read(0, 1)), "ERR_FENCED");
  assert.match((await fenced).detail.text, "generation 2");
  await old.close();
  const revived = await Mirror.serve({ listen: "127.0.0.1:0", volumes: [here] });
  for (const force of [false, true]) assert.is(await codeOf(revived.promote("v", { force })), "ERR_FENCED");
  await revived.close();
  await mirror.close();
  assert.is(await codeOf(promoted.read(0, 1)), "ERR_CLOSED");
});

test("a read waits for the mirror, and can be given up", async ({ folder }) => {
  const config = configOf(folder, "a");
  await Volume.create(config);
  const volume = await Volume.open({ ...config, mirror: { url: "ws://127.0.0.1:1" } });
  const signal = AbortSignal.timeout(50);
  const reason = await volume.read(0, 1, { signal }).catch((error) => error);
  assert.is(reason.name, "TimeoutError");
  assert.is(volume.status().state, "waiting");
  await volume.close();
});

test("a mirror that others can reach wants a secret", async ({ folder }) => {
  const volumes = [configOf(folder, "a")];
  assert.is(await codeOf(Mirror.serve({ listen: "0.0.0.0:0", volumes })), "ERR_CONFIG");
  assert.is(await codeOf(Mirror.serve({ listen: "nonsense", volumes })), "ERR_CONFIG");
  const secret = new Uint8Array(15);
  assert.is(await codeOf(Mirror.serve({ listen: "127.0.0.1:0", volumes, secret })), "ERR_CONFIG");
});

test("is what the package exports by its name", async () => {
  const name = "mirrorvol";
  const exported = await import(name);
  assert.equal(Object.keys(exported).sort(), ["Mirror", "MirrorvolError", "Volume"]);
});

test.run();
