// Histories of the simulator in `npm test`: fixed seeds and fresh ones, and that a seed decides everything: the same
// seed has the same trace in this process, in another one, and in the other runtime.
//
// `npm run sim` goes on from here.

import { randomInt } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { assert, skip, suite } from "../support/harness.ts";
import { isInstalled, run } from "../support/process_programs.ts";
import { projectRoot } from "../support/sources.ts";
import { isThorough } from "../support/thorough.ts";
import { SITUATIONS } from "./coverage.ts";
import { playHistory } from "./history.ts";
import { decodeTape, encodeTape, Tape } from "./tape.ts";

export const deadlineMs = isThorough ? 1_800_000 : 120_000;

const FIXED = isThorough ? 10_000 : 60;
const FRESH = isThorough ? 10_000 : 40;
const TRACED = { seed: 101, runs: 10 };

const fresh = Number(process.env["MIRRORVOL_SEED"] ?? randomInt(2 ** 40));
const isDeno = "Deno" in globalThis;
const inNode = join("dist", "test", "sim", "main.js");
const inDeno = join("test", "sim", "main.ts");
const tracedArgs = ["--seed", String(TRACED.seed), "--runs", String(TRACED.runs), "--traces"];

const test = suite(`simulator (MIRRORVOL_SEED=${fresh})`);
const met = new Set<string>();

async function play(first: number, count: number): Promise<void> {
  for (let seed = first; seed < first + count; seed++) {
    const { failure, situations } = await playHistory(Tape.ofSeed(seed));
    for (const situation of situations) met.add(situation);
    if (failure !== null) throw new Error(`npm run sim -- --seed ${seed} --runs 1 --verbose\n${failure}`);
  }
}

test(`histories of seeds 1 to ${FIXED}`, () => play(1, FIXED));

test(`histories of seeds ${fresh} to ${fresh + FRESH - 1}`, () => play(fresh, FRESH));

test("most situations are met already", () => {
  const missing = SITUATIONS.filter((situation) => !met.has(situation));
  assert.ok(missing.length < SITUATIONS.length / 3, `not met: ${missing.join("; ")}`);
});

async function ownTraces(): Promise<string> {
  const lines: string[] = [];
  for (let seed = TRACED.seed; seed < TRACED.seed + TRACED.runs; seed++) {
    const { trace, events } = await playHistory(Tape.ofSeed(seed));
    lines.push(`${seed} ${trace} ${events}\n`);
  }
  return lines.join("");
}

test("a seed has one trace, here and in another process", async () => {
  const own = await ownTraces();
  assert.is(await ownTraces(), own);
  const args = isDeno ? ["run", "-A", "--no-lock", join(projectRoot, inDeno)] : [join(projectRoot, inNode)];
  assert.is(await run(process.execPath, ...args, ...tracedArgs), own);
});

test("a seed has one trace, in Node and in Deno", async () => {
  const [other, ...args] = isDeno
    ? (["node", join(projectRoot, inNode)] as const)
    : (["deno", "run", "-A", "--no-lock", join(projectRoot, inDeno)] as const);
  if (!isInstalled(other)) skip(`needs ${other} in the PATH`);
  if (isDeno && !existsSync(join(projectRoot, inNode))) skip("needs dist/ (npm run build)");
  assert.is(await run(other, ...args, ...tracedArgs), await ownTraces());
});

test("a tape replays its history, also through its text", async () => {
  const { tape, trace } = await playHistory(Tape.ofSeed(7));
  const again = await playHistory(Tape.replay(decodeTape(encodeTape(tape.content))));
  assert.is(again.trace, trace);
  assert.throws(() => decodeTape("abc"), /two parts/);
  assert.throws(() => decodeTape("gICA.AA"), /middle of a number/);
});

test.run();
