// The small C programs that floors and ISA-L are measured with, compiled when they are needed. Where there is
// no compiler or library, there is an obstacle to tell instead.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { isInstalled, run } from "../../test/support/process_programs.ts";
import { projectRoot } from "../../test/support/sources.ts";
import type { BenchFolder } from "./folders.ts";

const ISAL_HEADERS = ["/usr/include/isa-l.h", "/usr/local/include/isa-l.h"];

/** Why this machine cannot do it, or null. */
export function compilerObstacle(): string | null {
  return isInstalled("gcc") ? null : "needs a C compiler (Debian: gcc)";
}

export function isalObstacle(): string | null {
  if (!ISAL_HEADERS.some((path) => existsSync(path))) return "needs ISA-L (Debian: libisal-dev)";
  return compilerObstacle();
}

/** Returns the program's path. */
export async function compile(folder: BenchFolder, name: string, ...flags: string[]): Promise<string> {
  const source = join(projectRoot, "bench", "native", `${name}.c`);
  const program = folder.at(name);
  await run("gcc", "-O2", "-Wall", "-pthread", "-o", program, source, ...flags);
  return program;
}
