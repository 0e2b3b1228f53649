// The command that plants bugs and looks who notices:
//
//   npm run mutants -- [NAME...] [--jobs N] [--seeds N] [--first-seed N] [--share N/M] [--changed REF] [--narrow]
//                      [--json FILE] [--markdown FILE] [--list]
//
//   NAME           a part of a mutant's name or of its file; without any: all mutants
//   --jobs N       so many at a time, each in a private copy of the built project (default 2)
//   --seeds N      histories of the simulator for a mutant that no named test has killed (default 2000; 0: none)
//   --share N/M    every M-th mutant, beginning at N mod M: the number of a build as N goes through all of them
//   --changed REF  mutants of files that differ from that commit
//   --narrow       without the other tests of the layer, which take minutes for each survivor
//
// Exit status 1 when one survives. The project must be built (npm run does it).

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { projectRoot } from "../support/sources.ts";
import { CATALOGUE } from "./catalogue.ts";
import { Baseline, type Hunted, type HuntOptions, hunt } from "./hunt.ts";
import type { Mutant } from "./mutant.ts";
import { describe, type Run, summary, toJson, toMarkdown } from "./report.ts";
import { transpileAll } from "./transpile.ts";
import { Tree } from "./tree.ts";

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      jobs: { type: "string", default: "2" },
      seeds: { type: "string", default: "2000" },
      "first-seed": { type: "string", default: "1" },
      share: { type: "string" },
      changed: { type: "string" },
      narrow: { type: "boolean", default: false },
      json: { type: "string" },
      markdown: { type: "string" },
      list: { type: "boolean", default: false },
    },
  });
  let mutants = CATALOGUE.filter((mutant) => isMeant(mutant, positionals));
  if (values.changed !== undefined) mutants = changedSince(values.changed, mutants);
  if (values.share !== undefined) mutants = shareOf(values.share, mutants);
  if (values.list) return list(mutants);
  const [jobs, seeds] = [whole("jobs", values.jobs, 1), whole("seeds", values.seeds, 0)];
  const options = { seeds, firstSeed: whole("first-seed", values["first-seed"], 0), isWide: !values.narrow };
  // Of the beginning: a run takes long, and others commit meanwhile.
  const began = whenAndWhat();
  const startMs = performance.now();
  const hunted = await huntAll(mutants, jobs, options);
  const run = { ...began, jobs, seeds, seconds: (performance.now() - startMs) / 1000 };
  console.log(summary(hunted, run));
  if (values.json !== undefined) writeFileSync(values.json, toJson(hunted, run));
  if (values.markdown !== undefined) writeFileSync(values.markdown, toMarkdown(hunted, run));
  return hunted.every(({ kill }) => kill !== null) ? 0 : 1;
}

function isMeant({ name, file }: Mutant, patterns: readonly string[]): boolean {
  return (
    patterns.length === 0 || patterns.some((pattern) => name.includes(pattern) || file.includes(pattern))
  );
}

function changedSince(ref: string, mutants: readonly Mutant[]): Mutant[] {
  const changed = execFileSync("git", ["diff", "--name-only", ref], { cwd: projectRoot, encoding: "utf8" });
  const files = new Set(changed.split("\n"));
  return mutants.filter(({ file }) => files.has(file));
}

function shareOf(text: string, mutants: readonly Mutant[]): Mutant[] {
  const [part, parts] = text.split("/").map((number) => whole("share", number, 0));
  if (part === undefined || parts === undefined || parts < 1) throw new Error(`--share ${text}: not N/M`);
  return mutants.filter((_mutant, index) => index % parts === part % parts);
}

function list(mutants: readonly Mutant[]): number {
  for (const { name, rules, promise } of mutants) console.log(`${name}  [${rules.join(" ")}]  ${promise}`);
  console.log(`${mutants.length} mutants`);
  return 0;
}

function whole(name: string, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least)
    throw new Error(`--${name}: "${text}" is no such number`);
  return value;
}

function whenAndWhat(): Pick<Run, "commit" | "day"> {
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], {
    cwd: projectRoot,
    encoding: "utf8",
  });
  return { commit: commit.trim(), day: new Date().toISOString().slice(0, 10) };
}

/** In the order of the catalogue, whatever ends first. */
async function huntAll(mutants: readonly Mutant[], jobs: number, options: HuntOptions): Promise<Hunted[]> {
  const javaScript = transpileAll(mutants);
  const pristine = new Tree();
  const baseline = new Baseline(pristine);
  const queue = [...mutants.entries()];
  const hunted: Hunted[] = [];
  const work = async (): Promise<void> => {
    const tree = new Tree();
    try {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const [index, mutant] = next;
        tree.plant(mutant, javaScript.get(mutant.name));
        hunted[index] = await hunt(tree, mutant, baseline, options);
        tree.restore();
        console.log(describe(hunted[index]));
      }
    } finally {
      tree.remove();
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(jobs, mutants.length) }, work));
  } finally {
    pristine.remove();
  }
  return hunted;
}

// Exit handlers end what runs and remove the copies.
process.on("SIGINT", () => process.exit(130));
process.on("SIGTERM", () => process.exit(143));
process.exitCode = await main(process.argv.slice(2));
