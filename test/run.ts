// The test runner: finds test/**/*.test.ts (or the built .js beside it), runs each file in a process of its
// own, three at a time, and ends with the line `N passed, N failed, N skipped`.
//
//   node dist/test/run.js [PATTERN...]        deno run -A test/run.ts [PATTERN...]
//
// A PATTERN is a part of the file's path. A file that says `export const runtime = "node"` is left out elsewhere.
// What makes a file red, besides a failing test: it registers no tests; fewer tests ran than were registered;
// something threw outside a test; a suite forgot `.run()`; the process ended early, or was silent for longer than its
// deadline. The child tells its parent by marker
// lines on stdout, `\u0001{json}`; everything else it prints is shown only when the file fails.

import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, extname, join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const MARK = "\u0001";
/** One more than there are processors where we run: many files wait for disks and for other processes. */
const PARALLEL = 3;
const DEADLINE_MS = 60_000;
const GRACE_MS = 10_000;
/** For the exit handlers of a file that is stopped, which end its processes and mounts. */
const CLEAN_UP_MS = 3_000;
const noSkip = process.env.MIRRORVOL_NO_SKIP === "1";

const runnerPath = fileURLToPath(import.meta.url);

interface Skip {
  test: string;
  reason: string;
}

interface Outcome {
  passed: number;
  failed: number;
  skips: Skip[];
  problems: string[];
}

interface Report extends Outcome {
  file: string;
  output: string;
  seconds: number;
}

type Marker = { deadlineMs: number } | { start: string } | { outcome: Outcome };

async function main(args: string[]): Promise<void> {
  if (args[0] === "--child") return runFile(args[1]!);
  const folder = args[0] === "--in" ? args.splice(0, 2)[1]! : dirname(runnerPath);
  const files = findFiles(folder).filter((file) => matches(relative(folder, file), args));
  const reports: Report[] = [];
  const queue = files.map((file) => async () => {
    const report = await runInChild(file, relative(folder, file));
    print(report);
    reports.push(report);
  });
  await Promise.all(Array.from({ length: PARALLEL }, () => drain(queue)));
  const sum = (count: (report: Report) => number) => reports.reduce((total, each) => total + count(each), 0);
  const failed = sum((report) => report.failed) + (files.length === 0 ? 1 : 0);
  if (files.length === 0) console.log("no test file matches");
  const passed = sum((report) => report.passed);
  console.log(`${passed} passed, ${failed} failed, ${sum((report) => report.skips.length)} skipped`);
  process.exitCode = failed === 0 ? 0 : 1;
}

function findFiles(folder: string): string[] {
  const ending = `.test${extname(runnerPath)}`;
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending) && !name.split(sep).includes("fixtures"))
    .map((name) => join(folder, name))
    .filter(isForThisRuntime)
    .sort()
    .sort((a, b) => declaredDeadlineMs(b) - declaredDeadlineMs(a));
}

function isForThisRuntime(file: string): boolean {
  const isForNode = /^export const runtime = "node"/m.test(readFileSync(file, "utf8"));
  if (isForNode && "Deno" in globalThis) console.log(`left out: ${file.split(sep).pop()} is for Node`);
  return !isForNode || !("Deno" in globalThis);
}

/** Files that ask for a longer deadline are the slow ones: they go first, so that none is left alone at the end. */
function declaredDeadlineMs(file: string): number {
  const declared = /^export const deadlineMs = ([\d_]+)/m.exec(readFileSync(file, "utf8"))?.[1];
  return declared === undefined ? DEADLINE_MS : Number(declared.replaceAll("_", ""));
}

function matches(file: string, patterns: string[]): boolean {
  return patterns.length === 0 || patterns.some((pattern) => file.includes(pattern));
}

async function drain(queue: (() => Promise<void>)[]): Promise<void> {
  for (let work = queue.shift(); work !== undefined; work = queue.shift()) await work();
}

function print(report: Report): void {
  const verdict = report.failed > 0 ? "FAIL" : "ok  ";
  console.log(`${verdict} ${report.file}  ${report.passed} passed  ${report.seconds.toFixed(2)} s`);
  for (const skip of report.skips) console.log(`     skipped: ${skip.test} (${skip.reason})`);
  if (report.failed === 0) return;
  if (report.output.trim() !== "") console.log(report.output.trimEnd());
  for (const problem of report.problems) console.log(`     ${problem}`);
}

// The parent's side of one file.

async function runInChild(file: string, name: string): Promise<Report> {
  const startMs = performance.now();
  const outcome = bareUvu(file) ?? (await watch(startChild(file)));
  return {
    ...judge(outcome),
    file: name,
    output: outcome.output,
    seconds: (performance.now() - startMs) / 1e3,
  };
}

/** Bare uvu hides its failures from us; so that nobody trusts such a file, it is red. */
function bareUvu(file: string): (Outcome & { output: string }) | undefined {
  if (!/^\s*import[^;]*from\s+["']uvu["']/m.test(readFileSync(file, "utf8"))) return undefined;
  const problems = ['imports "uvu": import suite, assert and skip from test/support/harness.ts instead'];
  return { passed: 0, failed: 0, skips: [], problems, output: "" };
}

/** Problems count as one failure when no test failed. Skips count as failures when none are allowed. */
function judge(outcome: Outcome): Outcome {
  const refused = noSkip ? outcome.skips.map((skip) => `skipped, but MIRRORVOL_NO_SKIP=1: ${skip.test}`) : [];
  const problems = [...outcome.problems, ...refused];
  return {
    ...outcome,
    problems,
    failed: Math.max(outcome.failed + refused.length, problems.length > 0 ? 1 : 0),
  };
}

function startChild(file: string): ChildProcess {
  const isDeno = "Deno" in globalThis;
  const args = isDeno ? ["run", "-A", runnerPath] : [...process.execArgv, runnerPath];
  return spawn(process.execPath, [...args, "--child", file], { stdio: ["ignore", "pipe", "pipe"] });
}

function watch(child: ChildProcess): Promise<Outcome & { output: string }> {
  const empty: Outcome = { passed: 0, failed: 0, skips: [], problems: [] };
  let outcome: Outcome | undefined;
  let output = "";
  let partial = "";
  let deadlineMs = DEADLINE_MS;
  let running = "loading the file";
  let reason = "the process ended before its tests did";
  const stop = () => {
    reason = `no end within ${deadlineMs} ms: ${running}`;
    child.kill("SIGTERM");
    setTimeout(() => child.kill("SIGKILL"), CLEAN_UP_MS).unref();
  };
  let timer = setTimeout(stop, deadlineMs + GRACE_MS);
  const onMarker = (marker: Marker) => {
    if ("deadlineMs" in marker) deadlineMs = marker.deadlineMs;
    if ("start" in marker) running = marker.start;
    if ("outcome" in marker) outcome = marker.outcome;
    clearTimeout(timer);
    timer = setTimeout(stop, deadlineMs + GRACE_MS);
  };
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    const pieces = (partial + text).split(/(?<=\n)/);
    partial = pieces.at(-1)!.endsWith("\n") ? "" : pieces.pop()!;
    for (const piece of pieces) {
      const at = piece.indexOf(MARK);
      output += at < 0 ? piece : piece.slice(0, at);
      if (at >= 0) onMarker(JSON.parse(piece.slice(at + 1)) as Marker);
    }
  });
  return new Promise((resolve) => {
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      output += partial;
      if (outcome === undefined)
        outcome = { ...empty, problems: [`${reason} (${signal ?? `exit code ${code}`})`] };
      resolve({ ...outcome, output });
    });
  });
}

// The child's side: one file, its suites one after the other.

declare global {
  var UVU_DEFER: unknown;
  var UVU_INDEX: number;
  var UVU_QUEUE: unknown[][];
}

type QueuedSuite = () => Promise<[errors: string | true, passed: number, skipped: number, total: number]>;

async function runFile(file: string): Promise<void> {
  // uvu reads these when it is first imported, so both imports are dynamic.
  globalThis.UVU_DEFER = 1;
  globalThis.UVU_INDEX = 0;
  globalThis.UVU_QUEUE = [[]];
  const { journal } = await import("./support/harness.ts");
  const outsideTests = (error: unknown) => {
    const text = error instanceof Error ? error.stack : String(error);
    journal.problems.push(`thrown outside a test: ${text}`);
  };
  process.on("uncaughtException", outsideTests);
  process.on("unhandledRejection", outsideTests);
  process.on("SIGTERM", () => process.exit(1));
  journal.onStart = (start) => send({ start });
  const outcome: Outcome = { passed: 0, failed: 0, skips: journal.skips, problems: journal.problems };
  let registered = 0;
  try {
    const module = (await import(pathToFileURL(file).href)) as { deadlineMs?: number };
    journal.deadlineMs = module.deadlineMs ?? DEADLINE_MS;
    send({ deadlineMs: journal.deadlineMs });
    for (const name of journal.pending) journal.problems.push(`suite "${name}" has tests, but no .run()`);
    for (const queued of globalThis.UVU_QUEUE[0] as QueuedSuite[]) {
      const [errors, passed, , total] = await queued();
      outcome.passed += passed;
      registered += total;
      if (errors !== true) process.stdout.write(`\n${errors}\n`);
    }
  } catch (error) {
    outsideTests(error);
  }
  // A rejection that nobody handles is reported a turn later.
  await new Promise((resolve) => setTimeout(resolve, 5));
  if (registered === 0) journal.problems.push("registers no tests");
  outcome.failed = registered - outcome.passed;
  outcome.passed -= journal.skips.filter((skip) => skip.inside).length;
  await send({ outcome });
  process.exit(0);
}

function send(marker: Marker): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(`${MARK}${JSON.stringify(marker)}\n`, () => resolve());
  });
}

await main(process.argv.slice(2));
