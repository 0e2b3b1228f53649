// Running what may kill a mutant, in a tree: one test file, or histories of the simulator.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

export interface Verdict {
  /** "none": the program could not run, or came to no end: that says nothing about the mutant. */
  readonly kind: "green" | "red" | "none";
  /** What was red: the name of a test, or what the simulator found. */
  readonly what: string;
}

export interface SimVerdict extends Verdict {
  /** Of the history that failed. */
  readonly seed: number;
}

/** Every test file has a deadline of its own; this is for a runner that hangs. */
const TEST_MINUTES_MAX = 15;
/** Without any output. */
const SIM_SECONDS_PER_HISTORY_MAX = 60;
const COLOURS = /\x1b\[[0-9;]*m/g;
const SIM = join("dist", "test", "sim", "main.js");

/** `name`: a path below test/ without ".test.ts". */
export async function runTest(tree: string, name: string): Promise<Verdict> {
  const file = `${name}.test.js`;
  if (!existsSync(join(tree, "dist", "test", file))) throw new Error(`there is no test file ${name}`);
  const { code, output } = await run(tree, [join("dist", "test", "run.js"), file], TEST_MINUTES_MAX * 60_000);
  if (code === 0) return { kind: "green", what: "" };
  if (code === null) return { kind: "none", what: "the test runner came to no end" };
  return { kind: "red", what: redTest(output) };
}

export function hasSimulator(tree: string): boolean {
  return existsSync(join(tree, SIM));
}

/** Plays histories until one fails. Its own exit status is 1 for other reasons too, so its words are read. */
export async function runSim(tree: string, firstSeed: number, count: number): Promise<SimVerdict> {
  const args = [SIM, "--seed", String(firstSeed), "--runs", String(Math.max(2, count)), "--jobs", "1"];
  const found = /^seed (\d+): (.*)$/m;
  const { output } = await run(tree, args, (count + 1) * SIM_SECONDS_PER_HISTORY_MAX * 1000, (text) =>
    found.test(text),
  );
  const match = found.exec(output);
  if (match !== null) return { kind: "red", what: match[2]!.slice(0, 120), seed: Number(match[1]) };
  const isDone = / histories \(/.test(output);
  return { kind: isDone ? "green" : "none", what: isDone ? "" : "the simulator came to no end", seed: 0 };
}

/** Whether that one history fails here too. */
export async function isSeedRed(tree: string, seed: number): Promise<boolean> {
  const args = [SIM, "--seed", String(seed), "--runs", "1"];
  const { code } = await run(tree, args, SIM_SECONDS_PER_HISTORY_MAX * 1000);
  return code !== 0;
}

/** The first failing test in the words of the test runner, or the problem that made the file red. */
function redTest(output: string): string {
  const test = /FAIL\s+(?:[^"\n]*?)"([^\n]*)"\s*$/m.exec(output)?.[1];
  if (test !== undefined) return test;
  const lines = output.split("\n").map((line) => line.trim());
  const problem = lines.findLast((line) => line !== "" && !/^\d+ passed/.test(line));
  return (problem ?? "red").slice(0, 120);
}

interface Ended {
  /** Null: it was ended by us, or by a signal. */
  readonly code: number | null;
  readonly output: string;
}

/** Runs node with a process group of its own, so that nothing of it is left behind. */
function run(
  tree: string,
  args: string[],
  timeoutMs: number,
  isEnough = (_output: string) => false,
): Promise<Ended> {
  const child = spawn(process.execPath, args, {
    cwd: tree,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const timer = setTimeout(() => endGroup(child), timeoutMs);
  const onText = (text: string) => {
    output += text.replace(COLOURS, "");
    if (isEnough(output)) endGroup(child);
  };
  child.stdout.setEncoding("utf8").on("data", onText);
  child.stderr.setEncoding("utf8").on("data", onText);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      endGroup(child);
      resolve({ code, output });
    });
  });
}

function endGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, "SIGKILL");
  } catch {
    // It has ended.
  }
}
