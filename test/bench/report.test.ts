// The report: rows become tables, charts and verdicts; only rows of one run make a ratio.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { barChart } from "../../bench/report/chart.ts";
import { fillPlaces, viewsOf } from "../../bench/report/report.ts";
import { ratioOf, valueIn } from "../../bench/report/select.ts";
import { caseTable } from "../../bench/report/table.ts";
import { line } from "../../bench/report/targets.ts";
import type { Result } from "../../bench/support/results.ts";
import { readResults } from "../../bench/support/results.ts";
import type { Params, Row } from "../../bench/support/rows.ts";
import { assert, suite } from "../support/harness.ts";
import { projectRoot } from "../support/sources.ts";

const test = suite("benchmark report");

const machine = {
  runtime: "node 20.0.0",
  v8: "11",
  mirrorvol: "0.1.0",
  system: "linux",
  processor: "P",
  cores: 2,
  memoryGib: 8,
};

function row(suiteName: string, who: string, params: Params, metric: string, value: number): Row {
  return { suite: suiteName, case: who, params: { runtime: "node", ...params }, metric, value, unit: "1/s" };
}

function resultOf(...rows: Row[]): Result {
  return { command: "npm run bench -- x", isQuick: false, machine, rows };
}

const small = { load: "write", size: "4 KiB", depth: 1 };
const write = resultOf(
  row("write", "mirrorvol", { by: "nbd", volume: "3+1, 2 logs", ...small }, "rate", 300),
  row("write", "QEMU mirror", { by: "nbd", volume: "raw image", ...small }, "rate", 200),
  row("write", "C floor", { by: "nbd", volume: "2 logs", ...small }, "rate", 400),
);

test("a row is found by what is asked for", () => {
  const rows = [
    row("write", "a", { depth: 1, cp: "none" }, "p99", 5),
    row("write", "a", { depth: 1 }, "p99", 7),
    row("write", "b", { depth: 1 }, "p99", 14),
  ];
  const wanted = (who: string, params: Params) => ({ suite: "write", case: who, metric: "p99", params });
  assert.is(valueIn(rows, wanted("a", { depth: 1 })), 7);
  assert.is(valueIn(rows, wanted("a", { depth: 1, cp: "none" })), 5);
  assert.is(valueIn(rows, wanted("a", { depth: 2 })), null);
  assert.is(ratioOf(rows, wanted("b", {}), wanted("a", {})), 2);
  assert.is(ratioOf(rows, wanted("b", {}), wanted("c", {})), null);
});

test("targets say what is met, and by how much the others are missed", () => {
  const target = { what: "x", aim: 2, unit: "ms" };
  assert.equal(line({ ...target, bound: "least", reached: 2 }).at(-1), "met");
  assert.equal(line({ ...target, bound: "least", reached: 1 }).at(-1), "missed by a factor of 2.00");
  assert.equal(line({ ...target, bound: "most", reached: 3 }).at(-1), "missed by a factor of 1.50");
});

test("the views hold the ratios, and nothing of what was not measured", () => {
  const views = new Map(viewsOf([write]).map((view) => [view.name, view]));
  const targets = views.get("targets")!.markdown;
  assert.match(targets, /depth 1, NBD \/ QEMU mirror \| at least 1\.1 x \| 1\.5 x \| met/);
  assert.match(
    targets,
    /floor with the same hop \| at least 0\.85 x \| 0\.75 x \| missed by a factor of 1\.13/,
  );
  assert.not.match(targets, /fsync|embedded|CP/);
  assert.match(views.get("write-rates")!.markdown, /write 4 KiB, depth 1 \| 300 .*\| 1\.50 \| 0\.75 \|/);
});

test("a case of a table has one line with all of its metrics", () => {
  const rows = [
    row("open", "a", { state: "full" }, "time", 5),
    row("open", "a", { state: "full" }, "rest", 6),
  ];
  const [head, , ...body] = caseTable(rows).split("\n");
  assert.is(head, "| case | circumstances | time, 1/s | rest, 1/s |");
  assert.equal(body, ["| a | state full | 5 | 6 |"]);
});

test("a chart is drawn to scale, and what it says is escaped", () => {
  const bars = [
    { label: "ours", value: 10, isOurs: true },
    { label: "a < b & c", value: 5, isOurs: false },
  ];
  const svg = barChart({ title: "T", unit: "GB/s", command: "npm run bench", groups: [{ name: "g", bars }] });
  const widths = [...svg.matchAll(/<rect [^>]*width="([\d.]+)"/g)].map((match) => Number(match[1]));
  assert.is(widths[0]! / widths[1]!, 2);
  assert.match(svg, /a &lt; b &amp; c/);
  assert.match(svg, /10 GB\/s/);
  assert.not.match(svg, /script|href|NaN/);
});

test("places are filled, and what surrounds them stays", () => {
  const page = "before\n<!-- figures: x -->\nold\n<!-- end -->\nafter\n";
  const view = { name: "x", markdown: "new", charts: [] };
  const filled = fillPlaces(page, [view]);
  assert.is(filled, "before\n<!-- figures: x -->\nnew\n<!-- end -->\nafter\n");
  assert.is(fillPlaces(filled, [view]), filled);
  assert.throws(() => fillPlaces("nothing", [view]), /no place for x/);
});

test("docs/PERFORMANCE.md shows what bench/results holds", () => {
  const page = readFileSync(join(projectRoot, "docs", "PERFORMANCE.md"), "utf8");
  assert.is(fillPlaces(page, viewsOf(readResults())), page, "run `npm run bench -- report`");
});

test.run();
