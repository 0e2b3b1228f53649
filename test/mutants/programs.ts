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

/** As test/run.ts has them. */
const MARK = "\u0001";
const GRACE_MS = 10_000;
/** What uvu writes the moment that a test fails. */
const CROSS = "\u2718";
const SIM_SECONDS_PER_HISTORY_MAX = 60;
const COLOURS = /\x1b\[[0-9;]*m/g;
const SIM = join("dist", "test", "sim", "main.js");

/**
 * `name`: a path below test/ without ".test.ts". The file runs as test/run.ts runs it (as its child, which says by
 * marker lines what it is doing), but ends with its first failing test. A test that hangs is red by its own deadline;
 * a file that says nothing for longer than that blocks its process, which is red as well.
 */
export async function runTest(tree: string, name: string): Promise<Verdict> {
  const file = join("dist", "test", `${name}.test.js`);
  if (!existsSync(join(tree, file))) throw new Error(`there is no test file ${name}`);
  const watch = new Watch();
  const args = [join("dist", "test", "run.js"), "--child", join(tree, file)];
  const { output, isLate } = await run(
    tree,
    args,
    () => watch.limitMs,
    (text) => watch.isOver(text),
  );
  const { running, outcome } = watch;
  if (watch.isRed(output)) return { kind: "red", what: running };
  if (isLate) return { kind: "red", what: `${running}: silent for longer than its deadline` };
  if (outcome === null) return { kind: "red", what: `${running}: the process ended` };
  if (outcome.failed + outcome.problems.length === 0) return { kind: "green", what: "" };
  return { kind: "red", what: (outcome.problems[0] ?? running).split("\n")[0]!.slice(0, 120) };
}

interface Outcome {
  readonly failed: number;
  readonly problems: readonly string[];
}

/** Reads what a child of the test runner says. */
class Watch {
  /** How long it may be silent: its deadline for one test, and a little. */
  limitMs = 70_000;
  running = "loading the file";
  outcome: Outcome | null = null;
  #seen = 0;

  isOver(output: string): boolean {
    for (let end = output.indexOf("\n", this.#seen); end >= 0; end = output.indexOf("\n", this.#seen)) {
      const line = output.slice(this.#seen, end);
      this.#seen = end + 1;
      const at = line.indexOf(MARK);
      // The cross of a test stands before the marker of the next one.
      if (this.isRed(at < 0 ? line : line.slice(0, at))) return true;
      if (at >= 0) this.#onMarker(JSON.parse(line.slice(at + 1)));
    }
    return this.isRed(output.slice(this.#seen));
  }

  isRed(output: string): boolean {
    return output.includes(CROSS);
  }

  #onMarker(marker: { deadlineMs?: number; start?: string; outcome?: Outcome }): void {
    if (marker.deadlineMs !== undefined) this.limitMs = marker.deadlineMs + GRACE_MS;
    if (marker.start !== undefined) this.running = marker.start;
    if (marker.outcome !== undefined) this.outcome = marker.outcome;
  }
}

export function hasSimulator(tree: string): boolean {
  return existsSync(join(tree, SIM));
}

/** Plays histories until one fails. Its own exit status is 1 for other reasons too, so its words are read. */
export async function runSim(tree: string, firstSeed: number, count: number): Promise<SimVerdict> {
  const args = [SIM, "--seed", String(firstSeed), "--runs", String(Math.max(2, count)), "--jobs", "1"];
  const found = /^seed (\d+): (.*)$/m;
  const { output } = await run(
    tree,
    args,
    () => (count + 1) * SIM_SECONDS_PER_HISTORY_MAX * 1000,
    (text) => found.test(text),
  );
  const match = found.exec(output);
  if (match !== null) return { kind: "red", what: match[2]!.slice(0, 120), seed: Number(match[1]) };
  const isDone = / histories \(/.test(output);
  return { kind: isDone ? "green" : "none", what: isDone ? "" : "the simulator came to no end", seed: 0 };
}

/** Whether that one history fails here too. */
export async function isSeedRed(tree: string, seed: number): Promise<boolean> {
  const args = [SIM, "--seed", String(seed), "--runs", "1"];
  const { code } = await run(tree, args, () => SIM_SECONDS_PER_HISTORY_MAX * 1000);
  return code !== 0;
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
  /** It said nothing for longer than it might. */
  readonly isLate: boolean;
}

/** Runs node with a process group of its own, so that nothing of it is left behind. */
function run(
  tree: string,
  args: string[],
  silenceMs: () => number,
  isEnough = (_output: string) => false,
): Promise<Ended> {
  const child = spawn(process.execPath, args, {
    cwd: tree,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let output = "";
  let isLate = false;
  const late = () => {
    isLate = true;
    endGroup(child);
  };
  let timer = setTimeout(late, silenceMs());
  const onText = (text: string) => {
    output += text.replace(COLOURS, "");
    const isOver = isEnough(output);
    clearTimeout(timer);
    if (isOver) endGroup(child);
    else timer = setTimeout(late, silenceMs());
  };
  child.stdout.setEncoding("utf8").on("data", onText);
  child.stderr.setEncoding("utf8").on("data", onText);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      endGroup(child);
      running.delete(child);
      resolve({ code, output, isLate });
    });
  });
}

/** What runs now: nothing of it is left behind when we are interrupted. */
const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach(endGroup));

function endGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, "SIGKILL");
  } catch {
    // It has ended.
  }
}
