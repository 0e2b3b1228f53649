// The command `mirrorvol check` as a process: exit codes, what it prints, and that it leaves volumes in use alone.
import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { mirrorvol, runMirrorvol } from "../../examples/support/processes.ts";
import type { CheckReport } from "../../src/volume/check.ts";
import { assert, suite } from "../support/harness.ts";
import { Workspace } from "./workspace.ts";

export const deadlineMs = 120_000;

const test = suite("cli check", { work: null as unknown as Workspace });

test.before.each((context) => {
  context.work = new Workspace();
});

test.after.each(async ({ work }) => {
  await work.remove();
});

async function checked(...args: string[]): Promise<{ code: number | null; reports: CheckReport[] }> {
  const { code, stdout } = await runMirrorvol("check", "--json", ...args);
  return { code, reports: (JSON.parse(stdout) as { volumes: CheckReport[] }).volumes };
}

function damage(path: string, offset: number): void {
  const fd = openSync(path, "r+");
  writeSync(fd, new TextEncoder().encode("damage"), 0, 6, offset);
  closeSync(fd);
}

test("checks all volumes or the named ones, and changes nothing", async ({ work }) => {
  const file = await work.create(work.configure("node", { v: work.volume("v"), w: work.volume("w") }));
  const files = work.files().map((name) => [name, readFileSync(work.path(name))] as const);
  const text = await mirrorvol("check", "--config", file);
  assert.match(
    text,
    /^v: consistent\n {2}source, generation 1, CP 0, root hash 0{32}, log through entry 0\n/,
  );
  assert.match(text, "\nw: consistent\n");
  const { code, reports } = await checked("--config", file, "w");
  assert.is(code, 0);
  assert.equal(
    reports.map(({ name, superblocks, faults, warnings }) => ({ name, superblocks, faults, warnings })),
    [{ name: "w", superblocks: 12, faults: [], warnings: [] }],
  );
  for (const [name, bytes] of files) assert.ok(readFileSync(work.path(name)).equals(bytes), name);
});

test("names a fault with its file and place, and ends with 1", async ({ work }) => {
  const file = await work.create(work.configure("node", { v: work.volume("v"), w: work.volume("w") }));
  damage(work.path("v-member1"), 16384 + 100);
  const { code, stdout, stderr } = await runMirrorvol("check", "--config", file);
  assert.equal([code, stderr], [1, ""]);
  assert.match(stdout, "v: 1 fault\n");
  const fault = "segment table page 0: expected the version of commit 1, found checksum mismatch";
  assert.match(stdout, `  FAULT: ${work.path("v-member1")} @16384: ${fault}\n`);
  assert.match(stdout, "w: consistent\n");
});

test("takes what is degraded but consistent for a warning", async ({ work }) => {
  const volume = work.volume("v", { log: ["v-log", "v-log2"] });
  const file = await work.create(work.configure("node", { v: volume }));
  renameSync(work.path("v-member2"), work.path("elsewhere"));
  renameSync(work.path("v-log2.0"), work.path("elsewhere.0"));
  const { code, reports } = await checked("--config", file);
  assert.is(code, 0);
  const [report] = reports;
  assert.equal([report!.faults, report!.warningCount], [[], 3]);
  assert.equal(
    report!.warnings.map(({ structure }) => structure),
    ["member", "member 2", "log copy 1"],
  );
  assert.match(await mirrorvol("check", "--config", file), "v: consistent, 3 warnings\n");
});

test("refuses a volume in use, and checks the others", async ({ work }) => {
  const served = work.configure("served", { v: work.volume("v") });
  await work.create(served);
  const all = work.configure("all", { v: work.volume("v"), w: work.volume("w") });
  await mirrorvol("create", "--config", all, "w");
  const node = await work.serve(served);
  const { code, stdout } = await runMirrorvol("check", "--config", all);
  assert.is(code, 1);
  assert.match(stdout, "v: not checked: ");
  assert.match(stdout, "another opener holds the lock");
  assert.match(stdout, "w: consistent\n");
  const { reports } = await checked("--config", all, "v");
  assert.equal((reports[0] as unknown as { error: { code: string } }).error.code, "ERR_LOCKED");
  await node.stop();
  assert.match(await mirrorvol("check", "--config", all, "v"), "v: consistent\n");
});

test("ends with 2 for wrong usage and for a configuration that does not fit", async ({ work }) => {
  const file = await work.create(work.configure("node", { v: work.volume("v") }));
  const other = work.configure("other", { v: work.volume("v", { size: "4MiB" }) });
  const copies = work.configure("copies", { v: work.volume("v", { log: ["v-log", "v-log2"] }) });
  const none = work.path("none.json");
  const wrong = work.path("wrong.json");
  writeFileSync(wrong, "{");
  for (const [args, said] of [
    [["--config", file, "x"], 'there is no volume "x"'],
    [["--config", file, "--quick"], "unknown option '--quick'"],
    [[], "--config FILE is missing"],
    [["--config", other], "has 8388608 bytes, the configuration says 4194304"],
    [["--config", copies], "was made with 1 log copies, the configuration names 2"],
    [["--config", none], "none.json"],
    [["--config", wrong], "wrong.json"],
  ] as const) {
    const { code, stdout, stderr } = await runMirrorvol("check", ...args);
    assert.equal([code, stdout], [2, ""], said);
    assert.match(stderr, said);
  }
});

test.run();
