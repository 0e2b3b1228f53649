// Two nodes, real processes: each mirrors a volume to the other; one dies and its volume is promoted.
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { BlockLedger } from "../../examples/support/block_ledger.ts";
import { NbdClient } from "../../examples/support/nbd_client.ts";
import { mirrorvol, type NodeProcess, runMirrorvol } from "../../examples/support/processes.ts";
import { readBack, WriteStream } from "../../examples/support/write_stream.ts";
import type { ServedStatus } from "../../src/node/status.ts";
import { assert, suite } from "../support/harness.ts";
import { Workspace } from "./workspace.ts";

export const deadlineMs = 120_000;

const BLOCK_COUNT = (8 * 1024 ** 2) / 4096;
const SECRET = "a secret of both nodes";
const test = suite("cli pair", { work: null as unknown as Workspace });

test.before.each((context) => {
  context.work = new Workspace();
});
test.after.each(({ work }) => work.remove());

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function until<T>(what: string, look: () => Promise<T | null>): Promise<T> {
  for (let turn = 0; turn < 300; turn++) {
    const found = await look();
    if (found !== null) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`in vain waited for ${what}`);
}

async function statusOf(node: NodeProcess, name: string): Promise<ServedStatus> {
  const response = await fetch(`http://${node.ready.http}/status`);
  const { volumes } = (await response.json()) as { volumes: ServedStatus[] };
  return volumes.find((volume) => volume.name === name)!;
}

function untilState(node: NodeProcess, name: string, state: string): Promise<ServedStatus> {
  return until(`${name} to be ${state}`, async () => {
    const status = await statusOf(node, name);
    return status.mirror?.state === state ? status : null;
  });
}

/** Two configurations; each side's own volume is a source there and a mirror, of another shape, here. */
async function crossed(work: Workspace, onMirrorLoss: string): Promise<{ a: string; b: string }> {
  const ports = { a: await freePort(), b: await freePort() };
  const at = (side: "a" | "b") => ({ listen: `127.0.0.1:${ports[side]}`, http: "127.0.0.1:0" });
  const source = (name: string, to: "a" | "b") => {
    const mirror = { url: `ws://127.0.0.1:${ports[to]}`, onMirrorLoss, mirrorTimeoutMs: 1_000 };
    return work.volume(name, { mirror, cpInterval: "200ms" });
  };
  const mirror = (name: string) => {
    const members = [0, 1, 2, 3].map((slot) => `${name}-mirror${slot}`);
    return work.volume(name, { members, parity: 2, log: [`${name}-mirror-log`], role: "mirror" });
  };
  const a = work.configure("a", { x: source("x", "b"), y: mirror("y") }, at("a"));
  const b = work.configure("b", { y: source("y", "a"), x: mirror("x") }, at("b"));
  await work.create(a);
  await work.create(b);
  return { a, b };
}

async function openStream(node: NodeProcess, volume: string, seed: number) {
  const ledger = new BlockLedger(BLOCK_COUNT);
  const client = await NbdClient.connect(node.ready.nbd!, volume);
  const place = { firstBlock: 0, blockCount: BLOCK_COUNT, queueDepth: 8, seed };
  return { ledger, stream: new WriteStream({ client, ledger, ...place }) };
}

test("two nodes mirror each other, one dies, its volume is promoted", async ({ work }) => {
  const files = await crossed(work, "continue");
  const a = await work.serve(files.a);
  const b = await work.serve(files.b);
  await Promise.all([untilState(a, "x", "in sync"), untilState(b, "y", "in sync")]);
  assert.match(await NbdClient.connect(a.ready.nbd!, "y").catch((error) => error.message), "is refused");

  const [x, y] = await Promise.all([openStream(a, "x", 1), openStream(b, "y", 2)]);
  const over = Promise.all([x.stream.run(), y.stream.run()]);
  await until("both to write more than a log half", async () => {
    const least = Math.min(x.stream.acknowledgedBytes, y.stream.acknowledgedBytes);
    return least > 6 * 1024 ** 2 ? least : null;
  });
  const { mirror, generation } = await statusOf(a, "x");
  assert.ok(mirror!.wire.sentBytes > 0);
  assert.ok(mirror!.acknowledgedSequence > 0);
  assert.equal(mirror!.ledger, { entries: 0, bytes: 0 });

  const refused = await runMirrorvol("promote", "--config", files.b, "x");
  assert.is(refused.code, 1);
  assert.match(refused.stderr, "is connected");

  await a.kill();
  // y goes on alone, and counts what its mirror lacks.
  const before = y.stream.acknowledgedWrites;
  await until("y to go on alone", async () => (y.stream.acknowledgedWrites > before + 20 ? true : null));
  y.stream.stop();
  await over;
  assert.is(y.stream.failure, null);
  assert.ok((await statusOf(b, "y")).mirror!.ledger.entries > 0);

  const said = await mirrorvol("promote", "--config", files.b, "x");
  assert.match(said, `x is promoted and served: generation ${generation + 1}`);
  const promoted = await statusOf(b, "x");
  assert.equal([promoted.role, promoted.state, promoted.generation], ["source", "serving", generation + 1]);
  for (const { ledger, name } of [
    { ...x, name: "x" },
    { ...y, name: "y" },
  ]) {
    const client = await NbdClient.connect(b.ready.nbd!, name);
    assert.equal((await readBack(client, ledger, 4)).losses, [], name);
    await client.disconnect();
  }

  // The old source comes back: it serves nothing, and says why. Its y catches up.
  const returned = await work.serve(files.a);
  const fenced = await until("x to be fenced", async () => {
    const status = await statusOf(returned, "x");
    return status.state === "refused" && status.role === "mirror" ? status : null;
  });
  assert.match(fenced.reason!, `promoted to generation ${generation + 1}`);
  await untilState(b, "y", "in sync");
  assert.match(
    await NbdClient.connect(returned.ready.nbd!, "x").catch((error) => error.message),
    "is refused",
  );
});

test("both sides of a volume have the same root hash at the same CP", async ({ work }) => {
  const files = await crossed(work, "stop");
  const a = await work.serve(files.a);
  assert.is((await statusOf(a, "x")).state, "waiting", "nothing is served before both have agreed");
  const b = await work.serve(files.b);
  await untilState(a, "x", "in sync");
  const { stream } = await openStream(a, "x", 3);
  const over = stream.run();
  await until("some writing", async () => (stream.acknowledgedBytes > 3 * 1024 ** 2 ? true : null));
  stream.stop();
  await over;
  const same = await until("the CPs to settle", async () => {
    const [here, there] = await Promise.all([statusOf(a, "x"), statusOf(b, "x")]);
    return here.cp > 0 && here.cp === there.cp && here.dirtyBlocks === 0 ? { here, there } : null;
  });
  assert.is(same.here.rootHash, same.there.rootHash);
  assert.not.equal(same.here.geometry, same.there.geometry);
});

test("after a promotion the old source becomes the mirror of the new one", async ({ work }) => {
  const ports = { a: await freePort(), b: await freePort() };
  const volumes = { a: work.volume("x"), b: work.volume("x", { members: ["b0", "b1"], log: ["b-log"] }) };
  const configure = (side: "a" | "b", peer: "a" | "b", role: string) => {
    const mirror = role === "source" ? { mirror: { url: `ws://127.0.0.1:${ports[peer]}` } } : {};
    const node = { listen: `127.0.0.1:${ports[side]}`, http: "127.0.0.1:0" };
    return work.configure(side, { x: { ...volumes[side], role, ...mirror } }, node);
  };
  await work.create(configure("b", "a", "mirror"));
  await work.create(configure("a", "b", "source"));
  const mirror = await work.serve(configure("b", "a", "mirror"));
  const source = await work.serve(configure("a", "b", "source"));
  await untilState(source, "x", "in sync");
  const { ledger, stream } = await openStream(source, "x", 4);
  const over = stream.run();
  await until("some writing", async () => (stream.acknowledgedBytes > 3 * 1024 ** 2 ? true : null));
  await source.kill();
  await over;
  await mirrorvol("promote", "--config", configure("b", "a", "mirror"), "x");
  const first = await NbdClient.connect(mirror.ready.nbd!, "x");
  assert.equal((await readBack(first, ledger, 4)).losses, []);
  await first.disconnect();
  await mirror.stop();

  const [was, is] = [configure("a", "b", "mirror"), configure("b", "a", "source")];
  const newMirror = await work.serve(was);
  const newSource = await work.serve(is);
  await untilState(newSource, "x", "in sync");
  const next = await NbdClient.connect(newSource.ready.nbd!, "x");
  await next.write(0, ledger.issue(0, 8));
  ledger.acknowledge(0, 8);
  await next.disconnect();
  await newSource.kill();
  await mirrorvol("promote", "--config", was, "x");
  const last = await NbdClient.connect(newMirror.ready.nbd!, "x");
  assert.equal((await readBack(last, ledger, 4)).losses, []);
  await last.disconnect();
});

test("refuses to promote what was never in sync, and what is a source", async ({ work }) => {
  const { b } = await crossed(work, "stop");
  await work.serve(b);
  for (const args of [[], ["--force"]]) {
    const never = await runMirrorvol("promote", "--config", b, "x", ...args);
    assert.is(never.code, 1);
    assert.match(never.stderr, "never in sync");
  }
  const source = await runMirrorvol("promote", "--config", b, "y");
  assert.is(source.code, 1);
  assert.match(source.stderr, "is a source already");
});

test("a mirror wants the secret", async ({ work }) => {
  writeFileSync(work.path("right"), SECRET);
  writeFileSync(work.path("wrong"), "something else entirely");
  const node = { listen: "127.0.0.1:0", http: "127.0.0.1:0" };
  const mirror = work.configure(
    "mirror",
    { v: work.volume("v", { role: "mirror" }) },
    { ...node, secretFile: "right" },
  );
  const there = await work.serve(await work.create(mirror));
  const source = (secretFile: string) => {
    const target = { url: `ws://${there.ready.listen}`, volume: "v", mirrorTimeoutMs: 500 };
    const volume = work.volume("s", { mirror: target });
    return work.configure("source", { s: volume }, { secretFile });
  };
  await work.create(source("wrong"));
  const wrong = await work.serve(source("wrong"));
  const refused = await until("a refusal", async () => {
    const { mirror: state } = await work.volumeStatus(source("wrong"), "s");
    return state!.detail.includes("ERR_") ? state! : null;
  });
  assert.is(refused.state, "degraded");
  assert.not.match(refused.detail, "something else");
  await wrong.stop();
  await work.serve(source("right"));
  await until("sync", async () => {
    const { mirror: state } = await work.volumeStatus(source("right"), "s");
    return state!.state === "in sync" ? true : null;
  });
});

test.run();
