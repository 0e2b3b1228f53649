// What the figures were measured with. No names of hosts, no paths: results are published.

import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { projectRoot } from "../../test/support/sources.ts";

export interface Machine {
  readonly runtime: string;
  readonly v8: string;
  readonly mirrorvol: string;
  readonly system: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryGib: number;
}

/** "node 20.20.2" or "deno 2.9.5". */
export function runtimeName(): string {
  const { deno, bun } = process.versions as Record<string, string | undefined>;
  if (deno !== undefined) return `deno ${deno}`;
  return bun === undefined ? `node ${process.versions.node}` : `bun ${bun}`;
}

/** "node20": what tells the files of one suite apart. */
export function runtimeTag(): string {
  const [name, version] = runtimeName().split(" ") as [string, string];
  return `${name}${version.split(".")[0]}`;
}

export function machine(): Machine {
  const { version } = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")) as {
    version: string;
  };
  const all = cpus();
  return {
    runtime: runtimeName(),
    v8: process.versions.v8,
    mirrorvol: version,
    system: `${process.platform} ${release().split("-")[0]} ${process.arch}`,
    processor: all[0]?.model ?? "unknown",
    cores: all.length,
    memoryGib: Math.round(totalmem() / 1024 ** 3),
  };
}
