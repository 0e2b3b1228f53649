// The contract of the program, with real processes: output, exit codes, and what is left on the disk.
import { closeSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { BlockLedger } from "../../examples/support/block_ledger.ts";
import { NbdClient } from "../../examples/support/nbd_client.ts";
import { mirrorvol, runMirrorvol } from "../../examples/support/processes.ts";
import { readBack, WriteStream } from "../../examples/support/write_stream.ts";
import { adminToken } from "../../src/node/admin_server.ts";
import { assert, suite } from "../support/harness.ts";
import { Workspace } from "./workspace.ts";

export const deadlineMs = 120_000;

const BLOCK_COUNT = (8 * 1024 ** 2) / 4096;
const test = suite("cli program", { work: null as unknown as Workspace });

test.before.each((context) => {
  context.work = new Workspace();
});
test.after.each(({ work }) => work.remove());

test("creates, serves, reports and closes", async ({ work }) => {
  const file = work.configure("node", { v: work.volume("v"), w: work.volume("w") });
  const created = await runMirrorvol("create", "--config", file, "v");
  assert.is(created.code, 0, created.stderr);
  assert.match(created.stdout, "created v: source, 8MiB, 2 + 1 members, 1 log copies");
  const made = ["v-log.0", "v-log.1", "v-log.2", "v-log.3", "v-member0", "v-member1", "v-member2"];
  assert.equal(work.files().sort(), made);
  await mirrorvol("create", "--config", file, "w");

  const node = await work.serve(file);
  const { ready } = node;
  assert.is(ready.name, "node");
  assert.match(ready.nbd!, /^127\.0\.0\.1:\d+$/);
  assert.equal([...ready.volumes].sort(), ["v", "w"]);
  const client = await NbdClient.connect(ready.nbd!, "v");
  assert.is(client.bytes, 8 * 1024 ** 2);
  await client.write(4096, new Uint8Array(4096).fill(7));
  await client.disconnect();

  const status = await work.status(file);
  assert.is(status.pid, node.pid);
  const volume = await work.volumeStatus(file, "v");
  const { name, role, state, generation, sequence, cp, rootHash, members } = volume;
  assert.equal(
    { name, role, state, generation, sequence, cp },
    {
      name: "v",
      role: "source",
      state: "serving",
      generation: 1,
      sequence: 1,
      cp: 0,
    },
  );
  assert.match(rootHash, /^[0-9a-f]{32}$/);
  assert.equal(
    members.map((member) => member.state),
    ["current", "current", "current"],
  );
  assert.is(members[0]!.path, work.path("v-member0"));
  assert.match(await mirrorvol("status", "--config", file), "v: source, serving");

  const finished = await node.stop();
  assert.is(finished.code, 0);
  assert.is(finished.stdout.split("\n").length, 2, "the ready line and nothing else");
  assert.not.ok(
    work.files().some((each) => each.endsWith(".sock")),
    "the admin socket is removed",
  );
});

test("acknowledged writes survive SIGKILL in mid-write", async ({ work }) => {
  const file = await work.create(work.configure("node", { v: work.volume("v", { cpInterval: "100ms" }) }));
  const ledger = new BlockLedger(BLOCK_COUNT);
  let acknowledged = 0;
  for (let round = 0; round < 3; round++) {
    const node = await work.serve(file);
    const client = await NbdClient.connect(node.ready.nbd!, "v");
    const { losses } = await readBack(client, ledger, 4);
    assert.equal(losses, [], `before round ${round}`);
    const place = { firstBlock: 0, blockCount: BLOCK_COUNT, queueDepth: 8, seed: 1 + round };
    const stream = new WriteStream({ client, ledger, ...place });
    const over = stream.run();
    while (stream.acknowledgedBytes < 6 * 1024 ** 2) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.is((await node.kill()).signal, "SIGKILL");
    await over;
    acknowledged += stream.acknowledgedWrites;
  }
  const node = await work.serve(file);
  const client = await NbdClient.connect(node.ready.nbd!, "v");
  assert.equal((await readBack(client, ledger, 4)).losses, []);
  await client.disconnect();
  assert.ok((await work.volumeStatus(file, "v")).cp >= 3, "consistency points happened");
  assert.ok(acknowledged > 300);
});

test("create touches nothing that exists, and leaves nothing half-made", async ({ work }) => {
  const file = work.configure("node", { v: work.volume("v"), w: work.volume("w") });
  writeFileSync(work.path("w-member2"), "precious");
  const refused = await runMirrorvol("create", "--config", file);
  assert.is(refused.code, 1);
  assert.match(refused.stderr, "w-member2 exists already; nothing was touched");
  assert.equal(work.files(), ["w-member2"]);
  assert.is(readFileSync(work.path("w-member2"), "utf8"), "precious");
  rmSync(work.path("w-member2"));

  const halfway = work.configure("halfway", {
    v: work.volume("v"),
    w: work.volume("w", { log: ["nowhere/log"] }),
  });
  const failed = await runMirrorvol("create", "--config", halfway);
  assert.is(failed.code, 1);
  assert.match(failed.stderr, 'volume "w": ');
  assert.match(failed.stderr, "nowhere");
  assert.equal(work.files(), []);
});

test("names what is wrong with a command line or a configuration, exit code 2", async ({ work }) => {
  const file = work.configure("node", { v: work.volume("v") });
  const bad = work.configure("bad", { v: { ...work.volume("v"), sise: 1 } });
  const cases: [args: string[], named: string][] = [
    [[], "a command is missing"],
    [["destroy"], 'unknown command "destroy"'],
    [["serve"], "--config FILE is missing"],
    [["status", "--config", file, "--jsn"], "unknown option '--jsn'"],
    [["promote", "--config", file, "x"], 'there is no volume "x" in'],
    [["create", "--config", file, "v", "y"], 'there is no volume "y" in'],
    [["serve", "--config", bad], "bad.json: volumes.v.sise: there is no such key"],
    [["serve", "--config", work.path("none.json")], "the configuration cannot be read: ENOENT"],
    [["inspect", "disk", "p"], '"disk" is none of'],
  ];
  for (const [args, named] of cases) {
    const { code, stdout, stderr } = await runMirrorvol(...args);
    assert.is(code, 2, `${args.join(" ")}: ${stderr}`);
    assert.is(stdout, "");
    assert.match(stderr, named);
    assert.is(stderr.trimEnd().split("\n").length, 1, `no stack: ${stderr}`);
  }
  const help = await runMirrorvol("--help");
  assert.is(help.code, 0);
  assert.match(help.stdout, "mirrorvol promote");
  const { version } = JSON.parse(readFileSync(new URL(packagePath(), import.meta.url), "utf8"));
  assert.is((await mirrorvol("--version")).trim(), version);
});

function packagePath(): string {
  return import.meta.url.endsWith(".ts") ? "../../package.json" : "../../../package.json";
}

test("says when no node runs, and when one runs already", async ({ work }) => {
  const file = await work.create(work.configure("node", { v: work.volume("v") }));
  const nobody = await runMirrorvol("status", "--config", file);
  assert.is(nobody.code, 1);
  assert.match(nobody.stderr, "no node is running for");
  await work.serve(file);
  const second = await runMirrorvol("serve", "--config", file);
  assert.is(second.code, 1);
  assert.match(second.stderr, "a node listens at");
  const thief = work.configure("thief", { v: work.volume("v") });
  const locked = await runMirrorvol("serve", "--config", thief);
  assert.is(locked.code, 1);
  assert.match(locked.stderr, "no volume can be served: v: ");
  assert.is((await work.volumeStatus(file, "v")).state, "serving");
});

test("says which address it cannot have, and lets go of everything", async ({ work }) => {
  const first = await work.create(work.configure("first", { v: work.volume("v") }));
  const { ready } = await work.serve(first);
  const second = await work.create(work.configure("second", { w: work.volume("w") }, { nbd: ready.nbd }));
  const refused = await runMirrorvol("serve", "--config", second);
  assert.is(refused.code, 1);
  assert.is(refused.stdout, "");
  assert.match(refused.stderr, ready.nbd!);
  await work.serve(work.configure("second", { w: work.volume("w") }));
});

test("serves the volumes that can be opened, and says what is wrong with the others", async ({ work }) => {
  const file = await work.create(work.configure("node", { v: work.volume("v"), w: work.volume("w") }));
  await writeAndCommit(work, file, "w");
  for (const slot of [0, 1]) rmSync(work.path(`w-member${slot}`));
  const node = await work.serve(file);
  assert.equal(node.ready.volumes, ["v"]);
  const broken = await work.volumeStatus(file, "w");
  assert.is(broken.state, "failed");
  assert.ok((broken.reason ?? "").length > 0);
  const refused = await NbdClient.connect(node.ready.nbd!, "w").catch((error) => error);
  assert.match(refused.message, 'export "w" is refused');
  const promoted = await runMirrorvol("promote", "--config", file, "w");
  assert.is(promoted.code, 1);
  assert.match(promoted.stderr, 'volume "w" is not open');
  await (await NbdClient.connect(node.ready.nbd!, "v")).disconnect();
});

test("serves a degraded volume, and says so", async ({ work }) => {
  const file = await work.create(work.configure("node", { v: work.volume("v") }));
  rmSync(work.path("v-member1"));
  const node = await work.serve(file);
  const { state, degraded, members } = await work.volumeStatus(file, "v");
  assert.equal([state, degraded], ["serving", true]);
  assert.equal(
    members.map((member) => member.state),
    ["current", "missing", "current"],
  );
  assert.match(await mirrorvol("status", "--config", file), "serving, DEGRADED");
  assert.match((await node.stop()).stderr, "v: degraded");
});

test("inspects offline, and finds what is damaged", async ({ work }) => {
  const file = await work.create(work.configure("node", { v: work.volume("v") }));
  await writeAndCommit(work, file, "v");
  const node = await work.serve(file);
  const { rootHash } = await work.volumeStatus(file, "v");
  await node.stop();

  const members = [0, 1, 2].map((slot) => work.path(`v-member${slot}`));
  const [superblock] = JSON.parse(await mirrorvol("inspect", "superblock", members[0]!, "--json"));
  assert.equal([superblock.superblock.cp, superblock.superblock.rootHash], [1, rootHash]);
  const halves = JSON.parse(await mirrorvol("inspect", "log", work.path("v-log"), "--json"));
  const kinds = halves.flatMap((half: { entries: { kind: string }[] }) =>
    half.entries.map(({ kind }) => kind),
  );
  assert.equal(kinds, ["write", "seal"]);
  assert.match(await mirrorvol("inspect", "log", work.path("v-log.1")), "write lba 0, 3 blocks");
  const map = JSON.parse(await mirrorvol("inspect", "map", "--data", "--json", ...members));
  assert.equal([map.cp, map.rootHash, map.mappedBlocks, map.faults], [1, rootHash, 3, []]);

  overwrite(work.path("v-log.1"), 4096 + 200);
  const damaged = await runMirrorvol("inspect", "log", work.path("v-log.1"));
  assert.is(damaged.code, 1);
  assert.match(damaged.stdout, "FAULT: entry 1 at 4096: the payload's checksum is wrong");
  const foreign = await runMirrorvol("inspect", "superblock", file);
  assert.is(foreign.code, 1);
  assert.match(foreign.stdout, "node.json: ");
  assert.is((await runMirrorvol("inspect", "superblock", work.path("nothing"))).code, 1);
  assert.is(statSync(members[0]!).size, statSync(members[1]!).size);
});

async function writeAndCommit(work: Workspace, file: string, volume: string): Promise<void> {
  const node = await work.serve(file);
  const client = await NbdClient.connect(node.ready.nbd!, volume);
  await client.write(0, new Uint8Array(12_288).fill(1));
  await client.disconnect();
  assert.equal(await post(node.ready.admin, `/volumes/${volume}/consistency-point`), { cp: 1 });
  await node.stop();
}

function overwrite(path: string, offset: number): void {
  const fd = openSync(path, "r+");
  writeSync(fd, new TextEncoder().encode("damage"), 0, 6, offset);
  closeSync(fd);
}

async function post(socketPath: string, path: string): Promise<unknown> {
  const { request } = await import("node:http");
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method: "POST", path }, (response) => {
      let text = "";
      response.on("data", (part) => (text += part));
      response.on("end", () => resolve(JSON.parse(text)));
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

test("wants the token of the secret over HTTP, and none by the socket", async ({ work }) => {
  writeFileSync(work.path("secret.json"), "0123456789abcdef-a-secret\n");
  const node = { http: "127.0.0.1:0", secretFile: "secret.json" };
  const file = await work.create(work.configure("node", { v: work.volume("v") }, node));
  const { ready } = await work.serve(file);
  const url = `http://${ready.http}/status`;
  assert.is((await fetch(url)).status, 401);
  const token = adminToken(new TextEncoder().encode("0123456789abcdef-a-secret"));
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  assert.is(answer.status, 200);
  assert.is(((await answer.json()) as { name: string }).name, "node");
  assert.is((await work.status(file)).name, "node");
});

test("an idle node with one small volume stays small", async ({ work }) => {
  const file = await work.create(work.configure("node", { v: work.volume("v") }));
  await work.serve(file);
  const { memoryBytes } = await work.status(file);
  console.log(`an idle node has ${(memoryBytes / 1024 ** 2).toFixed(1)} MiB of resident memory`);
  assert.ok(memoryBytes > 0);
});

test.run();
