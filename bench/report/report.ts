// `npm run bench -- report`: the tables and charts of docs/PERFORMANCE.md, made anew from bench/results. What
// people have written around the places stays.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../../test/support/sources.ts";

import { type Result, readResults } from "../support/results.ts";
import { kernelViews } from "./kernel_views.ts";
import { resultsOf } from "./select.ts";
import { caseTable, markdownTable } from "./table.ts";
import { targetsView } from "./targets.ts";
import { commandOf, type View } from "./view.ts";
import { writeViews } from "./write_views.ts";

/** Those whose rows are few: all of them are shown. */
const SHOWN_IN_FULL = ["steps", "overwrite", "failover", "open", "resync", "memory", "wire", "loop"];

export function report(): number {
  const page = join(projectRoot, "docs", "PERFORMANCE.md");
  const charts = join(projectRoot, "docs", "performance");
  const views = viewsOf(readResults());
  writeFileSync(page, fillPlaces(readFileSync(page, "utf8"), views));
  mkdirSync(charts, { recursive: true });
  for (const [file, svg] of views.flatMap((view) => view.charts))
    writeFileSync(join(charts, `${file}.svg`), svg);
  console.log(`docs/PERFORMANCE.md: ${views.map(({ name }) => name).join(", ")}`);
  return 0;
}

export function viewsOf(results: readonly Result[]): View[] {
  return [
    machineView(results),
    targetsView(results),
    ...kernelViews(resultsOf(results, "kernels")),
    ...writeViews(resultsOf(results, "write")),
    ...SHOWN_IN_FULL.flatMap((suite) =>
      resultsOf(results, suite)
        .slice(0, 1)
        .map((result) => inFull(suite, result)),
    ),
  ];
}

/** Puts each view into its place; a place without a view keeps what it has, a view without a place is an error. */
export function fillPlaces(page: string, views: readonly View[]): string {
  for (const { name, markdown } of views) {
    const open = `<!-- figures: ${name} -->`;
    const from = page.indexOf(open);
    const to = page.indexOf("<!-- end -->", from);
    if (from < 0 || to < 0) throw new Error(`docs/PERFORMANCE.md has no place for ${name}`);
    page = `${page.slice(0, from)}${open}\n${markdown}\n${page.slice(to)}`;
  }
  return page;
}

function inFull(suite: string, result: Result): View {
  return { name: suite, markdown: `${caseTable(result.rows)}\n\n${commandOf(result)}`, charts: [] };
}

function machineView(results: readonly Result[]): View {
  const head = ["suite", "runtime", "V8", "processor", "cores", "memory", "system", "command"];
  const body = results.map(({ machine, command, rows }) => {
    const { runtime, v8, processor, cores, memoryGib, system } = machine;
    return [
      rows[0]?.suite ?? "",
      runtime,
      v8,
      processor,
      `${cores}`,
      `${memoryGib} GiB`,
      system,
      `\`${command}\``,
    ];
  });
  return { name: "machine", markdown: markdownTable(head, body), charts: [] };
}
