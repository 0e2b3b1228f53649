// The simulator's command:
//
//   npm run sim -- [--seed N | --seed fresh] [--runs K] [--jobs J] [--seconds S] [--keep-going] [--log FILE]
//   npm run sim -- --seed N --runs K --traces        the hash over all that happened, for each seed
//   npm run sim -- --tape TAPE
//
// Plays K histories, of the seeds N, N + 1, ... It stops at the first failure, shrinks it, and prints one command that
// replays it; exit status 1. At the end it says how much was played, and how often each situation was met.

import { execFileSync, fork } from "node:child_process";
import { randomInt } from "node:crypto";
import { appendFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Coverage, SITUATIONS, type Situation } from "./coverage.ts";
import { type Outcome, playHistory, replayCommand } from "./history.ts";
import { shrink } from "./shrink.ts";
import { decodeTape, Tape } from "./tape.ts";

/** With so many, every situation must have been met. */
const RUNS_FOR_COVERAGE = 3000;
const SHRINK_SECONDS = 60;
/** Histories leave much garbage and call much code rarely: a large nursery, and no interpreter, save a fifth. */
const WORKER_FLAGS = ["--max-semi-space-size=32", "--always-sparkplug"];

interface Totals {
  runs: number;
  events: number;
  operations: number;
  acknowledged: number;
  failovers: number;
  situations: Record<string, number>;
  failedSeeds: number[];
}

interface Settings {
  readonly seed: number;
  readonly runs: number;
  readonly jobs: number;
  readonly seconds: number;
  readonly isKeptGoing: boolean;
  readonly logFile: string | null;
}

type Message = { readonly totals: Totals } | { readonly failed: number; readonly failure: string };

function emptyTotals(): Totals {
  return {
    runs: 0,
    events: 0,
    operations: 0,
    acknowledged: 0,
    failovers: 0,
    situations: {},
    failedSeeds: [],
  };
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: "string", default: "1" },
      runs: { type: "string", default: "1000" },
      jobs: { type: "string", default: "2" },
      seconds: { type: "string", default: "0" },
      "keep-going": { type: "boolean", default: false },
      log: { type: "string" },
      tape: { type: "string" },
      verbose: { type: "boolean", default: false },
      traces: { type: "boolean", default: false },
      worker: { type: "string" },
    },
  });
  if (values.tape !== undefined) return replay(Tape.replay(decodeTape(values.tape)), true);
  const settings: Settings = {
    seed: values.seed === "fresh" ? randomInt(2 ** 40) : wholeNumber("seed", values.seed),
    runs: wholeNumber("runs", values.runs),
    jobs: wholeNumber("jobs", values.jobs),
    seconds: wholeNumber("seconds", values.seconds),
    isKeptGoing: values["keep-going"],
    logFile: values.log ?? null,
  };
  if (values.worker !== undefined) return work(settings, wholeNumber("worker", values.worker));
  if (values.traces) return printTraces(settings);
  if (settings.runs === 1) return replay(Tape.ofSeed(settings.seed), values.verbose);
  return playAll(settings, args);
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name}: "${text}" is no whole number`);
  return value;
}

async function replay(tape: Tape, isVerbose: boolean): Promise<number> {
  const outcome = await playHistory(tape);
  if (isVerbose) for (const line of outcome.log) console.log(`  ${line}`);
  const { events, operations, acknowledged, trace } = outcome;
  console.log(
    `${events} events, ${operations} operations, ${acknowledged} writes acknowledged, trace ${trace}`,
  );
  console.log(outcome.failure === null ? "passed" : `FAILED: ${outcome.failure}`);
  return outcome.failure === null ? 0 : 1;
}

async function printTraces({ seed, runs }: Settings): Promise<number> {
  for (let each = seed; each < seed + runs; each++) {
    const { trace, events } = await playHistory(Tape.ofSeed(each));
    console.log(`${each} ${trace} ${events}`);
  }
  return 0;
}

/** One of several processes: every jobs-th seed. */
async function work(settings: Settings, index: number): Promise<number> {
  // A failure is played again, with all it says; here they would only cost time.
  Error.stackTraceLimit = 0;
  const totals = emptyTotals();
  const endMs = settings.seconds > 0 ? Date.now() + settings.seconds * 1000 : Number.POSITIVE_INFINITY;
  let isTold = false;
  process.on("message", () => {
    isTold = true;
  });
  for (let run = index; run < settings.runs && Date.now() < endMs && !isTold; run += settings.jobs) {
    const seed = settings.seed + run;
    const outcome = await playHistory(Tape.ofSeed(seed));
    add(totals, outcome);
    if (outcome.failure === null) continue;
    totals.failedSeeds.push(seed);
    process.send!({ failed: seed, failure: outcome.failure } satisfies Message);
    if (!settings.isKeptGoing) break;
  }
  process.send!({ totals } satisfies Message);
  process.disconnect();
  return 0;
}

function add(totals: Totals, outcome: Outcome): void {
  totals.runs += 1;
  totals.events += outcome.events;
  totals.operations += outcome.operations;
  totals.acknowledged += outcome.acknowledged;
  if (outcome.situations.has("promoted") || outcome.situations.has("promoted by force"))
    totals.failovers += 1;
  for (const situation of outcome.situations) {
    totals.situations[situation] = (totals.situations[situation] ?? 0) + 1;
  }
}

async function playAll(settings: Settings, args: string[]): Promise<number> {
  const { seed, runs, jobs } = settings;
  console.log(`histories ${seed} to ${seed + runs - 1}, ${jobs} at a time`);
  const startMs = Date.now();
  const totals = emptyTotals();
  // What is played is what was built, whatever is committed meanwhile.
  const commit = settings.logFile === null ? "" : presentCommit();
  const path = fileURLToPath(import.meta.url);
  const passed = ["--seed", String(seed), ...withoutSeed(args)];
  const children = Array.from({ length: jobs }, (_, i) => {
    return fork(path, [...passed, "--worker", String(i)], { execArgv: WORKER_FLAGS });
  });
  const ends = children.map((child) => {
    child.on("message", (message: Message) => {
      if ("totals" in message) return merge(totals, message.totals);
      console.log(`seed ${message.failed}: ${message.failure}`);
      if (!settings.isKeptGoing)
        for (const other of children) if (other !== child && other.connected) other.send("stop");
    });
    return new Promise<number>((resolve) => child.on("exit", (code) => resolve(code ?? 1)));
  });
  const codes = await Promise.all(ends);
  const seconds = (Date.now() - startMs) / 1000;
  report(totals, seconds);
  if (settings.logFile !== null) record(settings.logFile, commit, settings, totals, seconds);
  for (const failed of totals.failedSeeds.slice(0, 1)) await explain(failed);
  if (totals.failedSeeds.length > 0) return 1;
  if (codes.some((code) => code !== 0)) throw new Error("a process of the simulator ended badly");
  return coverageStatus(totals);
}

function withoutSeed(args: string[]): string[] {
  const at = args.findIndex((arg) => arg === "--seed" || arg.startsWith("--seed="));
  if (at < 0) return args;
  return [...args.slice(0, at), ...args.slice(at + (args[at] === "--seed" ? 2 : 1))];
}

function merge(totals: Totals, more: Totals): void {
  totals.runs += more.runs;
  totals.events += more.events;
  totals.operations += more.operations;
  totals.acknowledged += more.acknowledged;
  totals.failovers += more.failovers;
  totals.failedSeeds.push(...more.failedSeeds);
  for (const [situation, count] of Object.entries(more.situations)) {
    totals.situations[situation] = (totals.situations[situation] ?? 0) + count;
  }
}

function report(totals: Totals, seconds: number): void {
  for (const situation of SITUATIONS) {
    console.log(`${String(totals.situations[situation] ?? 0).padStart(8)}  ${situation}`);
  }
  const perSecond = (totals.runs / seconds).toFixed(1);
  const perHistory = (count: number) => Math.round(count / Math.max(1, totals.runs));
  console.log(
    `${totals.runs} histories (${totals.failovers} with a failover), ${totals.failedSeeds.length} failed, ` +
      `in ${seconds.toFixed(0)} s: ${perSecond} a second, of ${perHistory(totals.operations)} operations and ` +
      `${perHistory(totals.events)} events each; ${totals.acknowledged} writes acknowledged`,
  );
}

function coverageStatus(totals: Totals): number {
  const coverage = new Coverage();
  coverage.add(Object.keys(totals.situations) as Situation[]);
  if (totals.runs < RUNS_FOR_COVERAGE || coverage.missing.length === 0) return 0;
  console.log(`never met: ${coverage.missing.join("; ")}`);
  return 1;
}

function presentCommit(): string {
  return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
}

/** One line for each run: what was played, at which commit. */
function record(file: string, commit: string, { seed }: Settings, totals: Totals, seconds: number): void {
  const day = new Date().toISOString().slice(0, 10);
  const { runs, failovers, failedSeeds } = totals;
  const failed =
    failedSeeds.length === 0 ? "0" : `${failedSeeds.length} (${failedSeeds.slice(0, 3).join(", ")})`;
  appendFileSync(
    file,
    `| ${day} | ${commit} | ${seed} | ${runs} | ${failovers} | ${failed} | ${seconds.toFixed(0)} |\n`,
  );
}

async function explain(seed: number): Promise<void> {
  const outcome = await playHistory(Tape.ofSeed(seed));
  console.log(`\nseed ${seed}: ${outcome.failure}`);
  if (outcome.failure === null) return console.log("it did not fail again: the history is not repeatable");
  const small = await shrink(outcome, SHRINK_SECONDS);
  for (const line of small.log) console.log(`  ${line}`);
  console.log(`shrunk to ${small.operations} operations and ${small.events} events: ${small.failure}`);
  console.log(`replay:  npm run sim -- --seed ${seed} --runs 1\nshrunk:  ${replayCommand(small.tape)}`);
}

process.exitCode = await main(process.argv.slice(2));
