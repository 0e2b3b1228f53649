// From a mutant's TypeScript to its JavaScript. Every module is transpiled for itself, so one run of the compiler does
// it for all mutants: each has a folder of its own, with nothing but its changed file in it. Types are not checked (a
// bug may leave an unused name behind), syntax is.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { projectRoot } from "../support/sources.ts";
import { isOfKernel, type Mutant, plant } from "./mutant.ts";

const COMPILER = join(projectRoot, "node_modules", ".bin", "tsc");
const OPTIONS =
  "--ignoreConfig --noCheck --noResolve --target es2023 --module nodenext " +
  "--rewriteRelativeImportExtensions --verbatimModuleSyntax";

/** The mutated file, as the project has it. */
export function mutatedSource(mutant: Mutant): string {
  return plant(mutant, readFileSync(join(projectRoot, mutant.file), "utf8"));
}

/** By name: the JavaScript of each mutant in src/. Throws when one of them has a fault of syntax. */
export function transpileAll(mutants: readonly Mutant[]): ReadonlyMap<string, string> {
  const some = mutants.filter((mutant) => !isOfKernel(mutant));
  if (some.length === 0) return new Map();
  const folder = mkdtempSync(join(tmpdir(), "mirrorvol-mutants-"));
  try {
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
    for (const mutant of some) {
      const path = join(folder, "in", mutant.name, mutant.file);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, mutatedSource(mutant));
    }
    const files = some.map(({ name, file }) => join("in", name, file));
    const args = [...OPTIONS.split(" "), "--rootDir", "in", "--outDir", "out", ...files];
    const { status, stdout, stderr } = spawnSync(COMPILER, args, { cwd: folder, encoding: "utf8" });
    if (status !== 0) throw new Error(`mutants do not transpile:\n${stdout}${stderr}`);
    return new Map(some.map(({ name, file }) => [name, readOutput(folder, name, file)]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readOutput(folder: string, name: string, file: string): string {
  return readFileSync(join(folder, "out", name, file.replace(/\.ts$/, ".js")), "utf8");
}
