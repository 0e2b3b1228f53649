// The files under bench/results: what a run measured, with what, and how to measure it again.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { resultsFolder } from "./folders.ts";
import { type Machine, machine, runtimeTag } from "./machine.ts";
import { faultOf, type Row } from "./rows.ts";

export interface Result {
  readonly command: string;
  readonly isQuick: boolean;
  readonly machine: Machine;
  readonly rows: readonly Row[];
}

export function writeRows(file: string, rows: readonly Row[]): void {
  writeFileSync(file, `[\n${rows.map((row) => `  ${JSON.stringify(row)}`).join(",\n")}\n]\n`);
}

/** One file a suite and runtime; a new run replaces the old one. */
export function saveResult(suite: string, isQuick: boolean, rows: readonly Row[]): void {
  const command = `npm run bench -- ${suite}${isQuick ? " --quick" : ""}`;
  const head = JSON.stringify({ command, isQuick, machine: machine() }, null, 2).slice(0, -2);
  const body = rows.map((row) => `    ${JSON.stringify(row)}`).join(",\n");
  mkdirSync(resultsFolder, { recursive: true });
  const file = join(resultsFolder, `${suite}-${runtimeTag()}.json`);
  writeFileSync(file, `${head},\n  "rows": [\n${body}\n  ]\n}\n`);
}

export function readResults(folder = resultsFolder): Result[] {
  const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
  return names.sort().map((name) => readResult(join(folder, name)));
}

function readResult(file: string): Result {
  const result = JSON.parse(readFileSync(file, "utf8")) as Result;
  for (const row of result.rows) {
    const fault = faultOf(row);
    if (fault !== null) throw new Error(`${file}: ${JSON.stringify(row)}: ${fault}`);
  }
  return result;
}
