// The benchmarks: `npm run bench -- [SUITE...] [--quick] [--json FILE] [--save]`, and `npm run bench --
// report`, which makes the tables and charts of docs/PERFORMANCE.md from what was saved.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type Arguments, parseArguments } from "./support/arguments.ts";
import { runtimeName } from "./support/machine.ts";
import { saveResult, writeRows } from "./support/results.ts";
import { Recorder, type Row } from "./support/rows.ts";

type Suite = (recorder: Recorder) => Promise<void>;

const SUITES: Record<string, () => Promise<Suite>> = {
  kernels: async () => (await import("./kernels/suite.ts")).kernels,
  write: async () => (await import("./write/suite.ts")).write,
  steps: async () => (await import("./steps.ts")).steps,
  overwrite: async () => (await import("./overwrite.ts")).overwrite,
  failover: async () => (await import("./failover.ts")).failover,
  open: async () => (await import("./open.ts")).open,
  resync: async () => (await import("./resync.ts")).resync,
  memory: async () => (await import("./memory.ts")).memory,
  wire: async () => (await import("./wire.ts")).wire,
  loop: async () => (await import("./loop.ts")).loop,
};

async function runSuite(name: string, { isQuick, isSaved }: Arguments): Promise<Row[]> {
  console.log(`\n${name}${isQuick ? " (quick: rough figures)" : ""}`);
  const recorder = new Recorder(name, { runtime: runtimeName() }, isQuick, (line) => console.log(line));
  await (await SUITES[name]!())(recorder);
  if (isSaved) saveResult(name, isQuick, recorder.rows);
  return recorder.rows;
}

/** Each in a process of its own: what one has left in memory would slow the next. */
function runAll(args: readonly string[]): number {
  const self = fileURLToPath(import.meta.url);
  const runtime = "Deno" in globalThis ? ["run", "-A", self] : [self];
  let failures = 0;
  for (const name of Object.keys(SUITES)) {
    const { status } = spawnSync(process.execPath, [...runtime, name, ...args], { stdio: "inherit" });
    if (status !== 0) failures++;
  }
  return failures === 0 ? 0 : 1;
}

async function main(args: readonly string[]): Promise<number> {
  if (args[0] === "report") return (await import("./report/report.ts")).report();
  const parsed = parseArguments(args, Object.keys(SUITES));
  if (parsed.suites.length === 0) {
    if (parsed.jsonFile !== null) throw new Error("--json needs a suite: it writes one file");
    return runAll(args);
  }
  const rows: Row[] = [];
  for (const name of parsed.suites) rows.push(...(await runSuite(name, parsed)));
  if (parsed.jsonFile !== null) writeRows(parsed.jsonFile, rows);
  return 0;
}

// So that exit handlers run: they end other programs and remove their files.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

process.exitCode = await main(process.argv.slice(2));
// Peers may leave handles open.
process.exit();
