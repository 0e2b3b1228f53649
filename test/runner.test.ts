// Everything that could make a test run falsely green must make it red. Each case is a file of its own,
// written to a temporary folder and run by the real runner.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { assert, suite } from "./support/harness.ts";

const test = suite("test runner");
const ending = extname(fileURLToPath(import.meta.url));
const siblingPath = (name: string) => fileURLToPath(new URL(`./${name}${ending}`, import.meta.url));
const harnessUrl = pathToFileURL(siblingPath("support/harness")).href;

interface Result {
  code: number | null;
  output: string;
  lastLine: string;
}

function runFile(body: string, env: Record<string, string> = {}): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), "mirrorvol-runner-"));
  const file = join(folder, `case.test${ending === ".ts" ? ".ts" : ".js"}`);
  writeFileSync(join(folder, "package.json"), '{"type": "module"}');
  writeFileSync(
    file,
    `import { assert, skip, suite } from "${harnessUrl}";\nconst test = suite("case");\n${body}\n`,
  );
  const prefix = "Deno" in globalThis ? ["run", "-A"] : [];
  const args = [...prefix, siblingPath("run"), "--in", folder];
  const child = spawn(process.execPath, args, { env: { ...process.env, MIRRORVOL_NO_SKIP: "", ...env } });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
  return new Promise((resolve) => {
    child.on("close", (code) => {
      rmSync(folder, { recursive: true, force: true });
      resolve({ code, output, lastLine: output.trimEnd().split("\n").at(-1)! });
    });
  });
}

async function isRed(body: string, reason: RegExp, env?: Record<string, string>): Promise<void> {
  const result = await runFile(body, env);
  assert.is(result.code, 1, result.output);
  assert.match(result.output, reason);
  assert.match(result.lastLine, /^\d+ passed, [1-9]\d* failed, \d+ skipped$/);
}

test("a good file is green, and its skips are printed with their reasons", async () => {
  const body = 'test("a", () => assert.ok(true)); test("b", () => skip("no disk")); test.run();';
  const result = await runFile(body);
  assert.is(result.code, 0, result.output);
  assert.is(result.lastLine, "1 passed, 0 failed, 1 skipped");
  assert.match(result.output, /case: b \(no disk\)/);
  await isRed(body, /MIRRORVOL_NO_SKIP=1/, { MIRRORVOL_NO_SKIP: "1" });
});

test("a failing test is red", () => isRed('test("a", () => assert.is(1, 2)); test.run();', /FAIL/));

test("a hook that throws is red", () =>
  isRed('test.before(() => { throw new Error("no"); }); test("a", () => {}); test.run();', /before threw/));

test("an after hook that throws is red", () =>
  isRed('test.after(() => { throw new Error("no"); }); test("a", () => {}); test.run();', /after threw/));

test("something thrown that is no Error is red", () =>
  isRed('test("a", () => { throw "text"; }); test("b", () => {}); test.run();', /no Error: text/));

test("null thrown is red", () =>
  isRed('test("a", async () => { throw null; }); test.run();', /no Error: null/));

test("a forgotten run is red", () => isRed('test("a", () => {});', /no \.run\(\)/));

test("a forgotten run of one of two suites is red", () =>
  isRed('test("a", () => {}); test.run(); suite("other")("b", () => {});', /"other" has tests, but no/));

test("a file without tests is red", () => isRed("test.run();", /registers no tests/));

test("something thrown while the file loads is red", () =>
  isRed('test("a", () => {}); test.run(); throw new Error("load");', /outside a test/));

test("something thrown outside a test is red", () =>
  isRed(
    'test("a", () => { queueMicrotask(() => { throw new Error("x"); }); }); test.run();',
    /outside a test/,
  ));

test("a rejection that nobody handles is red", () =>
  isRed('test("a", () => { Promise.reject(new Error("x")); }); test.run();', /outside a test/));

test("a test that never settles is red at its deadline", () =>
  isRed('export const deadlineMs = 50; test("a", () => new Promise(() => {})); test.run();', /within 50 ms/));

test("a process that ends in the middle is red", () =>
  isRed('test("a", () => process.exit(0)); test("b", () => {}); test.run();', /ended before its tests/));

test("bare uvu is red", () =>
  isRed('import { suite as s } from "uvu"; s("x").run(); test("a", () => {}); test.run();', /imports "uvu"/));

test("a pattern that matches nothing is red", async () => {
  const prefix = "Deno" in globalThis ? ["run", "-A"] : [];
  const child = spawn(process.execPath, [...prefix, siblingPath("run"), "no such file anywhere"], {
    stdio: "ignore",
  });
  assert.is(await new Promise((resolve) => child.on("close", resolve)), 1);
});

test.run();
