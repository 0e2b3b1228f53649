// Every example runs, and its own checks hold.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, suite } from "../support/harness.ts";

export const deadlineMs = 180_000;

const isSource = import.meta.url.endsWith(".ts");

interface Example {
  readonly pid: number;
  readonly finished: Promise<{ code: number | null; output: string }>;
  /** Resolves with the output so far, once it matches. */
  said(pattern: RegExp): Promise<string>;
}

function start(name: string, ...args: string[]): Example {
  const path = fileURLToPath(new URL(`../../examples/${name}.${isSource ? "ts" : "js"}`, import.meta.url));
  const runtime = "Deno" in globalThis ? ["run", "-A", path] : [path];
  const child = spawn(process.execPath, [...runtime, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let onOutput = () => {};
  const take = (text: string) => {
    output += text;
    onOutput();
  };
  for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding("utf8").on("data", take);
  const finished = new Promise<{ code: number | null; output: string }>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
  const said = (pattern: RegExp) =>
    new Promise<string>((resolve, reject) => {
      onOutput = () => pattern.test(output) && resolve(output);
      onOutput();
      finished.then(() => reject(new Error(`ended without saying ${pattern}: ${output}`)), reject);
    });
  return { pid: child.pid!, finished, said };
}

async function run(name: string, ...args: string[]): Promise<string> {
  const { code, output } = await start(name, ...args).finished;
  assert.is(code, 0, output);
  return output;
}

const test = suite("examples", { folder: "" });

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), "mirrorvol-examples-"));
});
test.after.each(({ folder }) => rmSync(folder, { recursive: true }));

test("embed: a volume in one's own process, and again from what is there", async ({ folder }) => {
  assert.match(await run("embed"), 'read back: "written at any offset');
  assert.match(await run("embed", folder), "created a volume");
  const again = await run("embed", folder);
  assert.not.match(again, "created a volume");
  assert.match(again, 'read back: "written at any offset');
});

test("telemetry_gateway: every reading on both sides", async () => {
  const output = await run("telemetry_gateway", "500");
  assert.match(output, "the gateway, opened again: 500 readings, all as written");
  assert.match(output, "the mirror, promoted: 500 readings, all as written");
});

test("source and mirror: a pair of programs", async ({ folder }) => {
  const there = join(folder, "mirror");
  const mirror = start("mirror", "--folder", there, "--listen", "127.0.0.1:0");
  const [, address] = /listening at (\S+)/.exec(await mirror.said(/listening at \S+/))!;
  const here = ["--folder", join(folder, "source"), "--url", `ws://${address}`, "--interval", "1"];
  assert.match(await run("source", ...here, "--count", "5"), "acknowledged 5");
  const source = start("source", ...here, "--count", "100000");
  await source.said(/acknowledged 20\n/);
  process.kill(source.pid, "SIGKILL");
  const { output } = await source.finished;
  const last = Number(/acknowledged (\d+)\n$/.exec(output.slice(0, output.lastIndexOf("\n") + 1))![1]);
  process.kill(mirror.pid, "SIGTERM");
  assert.is((await mirror.finished).code, 0);
  const promoted = await run("mirror", "--folder", there, "--promote");
  const { count } = JSON.parse(/entry: (\{.*\})/.exec(promoted)![1]!);
  assert.ok(count === last || count === last + 1, `${last} was acknowledged, ${count} is there`);
});

test("demo: every check holds; it stays up with --keep until it is interrupted, and leaves nothing", async () => {
  const demo = start("demo", "--keep");
  const output = await demo.said(/curl http:\S+/);
  assert.match(output, /nbdinfo nbd:\/\/127\.0\.0\.1:\d+\/orders/);
  process.kill(demo.pid, "SIGINT");
  const { code, output: all } = await demo.finished;
  assert.is(code, 0, all);
  assert.match(all, /\n {2}lost +0\n/);
  assert.match(all, /All \d+ checks held\./);
  assert.not.match(all, "FAILED");
  checkClean(output);
});

test("demo: interrupted in the middle, fails and leaves nothing", async () => {
  const demo = start("demo");
  const output = await demo.said(/acknowledged/);
  process.kill(demo.pid, "SIGINT");
  const { code, output: all } = await demo.finished;
  assert.is(code, 1);
  assert.match(all, "FAILED: it ran to its end: interrupted by SIGINT");
  checkClean(output);
});

/** Neither its folder nor its processes. */
function checkClean(output: string): void {
  const [folder] = /\S*mirrorvol-demo-\w+/.exec(output)!;
  assert.not.ok(existsSync(folder), folder);
  const pids = [...output.matchAll(/: process (\d+)/g)].map(([, pid]) => Number(pid));
  assert.is(pids.length, 2);
  for (const pid of pids) assert.throws(() => process.kill(pid, 0), /ESRCH/);
}

test.run();
