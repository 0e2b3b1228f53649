// The kernels: one line for each, with 4 KiB units and k = 8, in every runtime and beside the peers of the
// same run; and the whole matrix for those that want it.

import type { Result } from "../support/results.ts";
import type { Params, Row } from "../support/rows.ts";
import { barChart } from "./chart.ts";
import { matches, valueIn } from "./select.ts";
import { figure, markdownTable } from "./table.ts";
import { commandOf, ratioText, type View } from "./view.ts";

export interface KernelLine {
  readonly name: string;
  readonly ours: Params;
  /** What others call the same work; null where nobody offers it. */
  readonly others: Params | null;
}

const block = { size: "4 KiB", place: "warm" };
const stripe = { ...block, k: 8 };
const parity = (name: string, kernel: string, m: number): KernelLine => {
  const params = { kernel, ...stripe, m };
  return { name, ours: params, others: params };
};

export const KERNEL_LINES: readonly KernelLine[] = [
  parity("P", "encode", 1),
  parity("P+Q", "encode", 2),
  parity("P+Q+R", "encode", 3),
  parity("recover 1", "reconstruct", 1),
  parity("recover 2", "reconstruct", 2),
  parity("recover 3", "reconstruct", 3),
  { name: "XXH3-64", ours: { kernel: "xxh3-64", ...block }, others: { kernel: "xxh3-64", ...block } },
  { name: "log entry", ours: { kernel: "entry", ...block }, others: { kernel: "crc-32c", ...block } },
];

export const NATIVE = ["ISA-L", "ISA-L SSE", "memcpy", "Buffer.copy", "C floor"];

export function oursOf(rows: readonly Row[], params: Params): number | null {
  return valueIn(rows, { suite: "kernels", case: "mirrorvol", metric: "throughput", params });
}

export function nativeOf(rows: readonly Row[], who: string, params: Params | null): number | null {
  if (params === null) return null;
  return valueIn(rows, { suite: "kernels", case: who, metric: "throughput", params });
}

/** The fastest package for the same work. */
export function bestOfNpm(rows: readonly Row[], params: Params | null): Row | null {
  if (params === null) return null;
  const found = rows.filter((row) => {
    const isPackage =
      row.case !== "mirrorvol" && row.case !== "plain JavaScript" && !NATIVE.includes(row.case);
    return isPackage && matches(row, { suite: "kernels", case: row.case, metric: "throughput", params });
  });
  return found.reduce<Row | null>(
    (best, row) => (best === null || row.value > best.value ? row : best),
    null,
  );
}

export function kernelViews(results: readonly Result[]): View[] {
  const [first] = results;
  if (first === undefined) return [];
  return [overview(results), packagesView(first), matrixView(first), chartView(first)];
}

function overview(results: readonly Result[]): View {
  const { rows } = results[0]!;
  const runtimes = results.map(({ machine }) => machine.runtime);
  const head = ["GB/s", ...runtimes, "ISA-L", "ISA-L SSE", "best of npm", "/ ISA-L", "/ ISA-L SSE", "/ npm"];
  const body = KERNEL_LINES.map(({ name, ours, others }) => {
    const mine = oursOf(rows, ours);
    const [isal, sse] = [nativeOf(rows, "ISA-L", others), nativeOf(rows, "ISA-L SSE", others)];
    const npm = bestOfNpm(rows, others);
    const measured = results.map((result) => figure(oursOf(result.rows, ours)));
    const best = npm === null ? "" : `${figure(npm.value)} (${npm.case})`;
    const ratios = [isal, sse, npm?.value ?? null].map((other) => ratioText(mine, other));
    return [name, ...measured, figure(isal), figure(sse), best, ...ratios];
  });
  const native = nativeOf(rows, "memcpy", { kernel: "copy", ...block });
  const note = `Native memcpy in the same run: ${figure(native)} GB/s. ${results.map(commandOf).join(" ")}`;
  return { name: "kernels", markdown: `${markdownTable(head, body)}\n\n${note}`, charts: [] };
}

/** Parity with larger units, which suit packages that work in a thread pool or copy into their own memory. */
function packagesView(result: Result): View {
  const others = [
    "@ronomon/reed-solomon",
    "@subspace/reed-solomon-erasure",
    "plain JavaScript",
    "ISA-L",
    "ISA-L SSE",
  ];
  const body = KERNEL_LINES.slice(0, 6).map(({ name, ours }) => {
    const params = { ...ours, size: "64 KiB" };
    const peers = others.map((who) => figure(nativeOf(result.rows, who, params)));
    return [name, figure(oursOf(result.rows, params)), ...peers];
  });
  const table = markdownTable(["GB/s", "mirrorvol", ...others], body);
  return { name: "kernel-packages", markdown: `${table}\n\n${commandOf(result)}`, charts: [] };
}

/** Encoding with two parity units, which most people want: every size and number of units. */
function matrixView(result: Result): View {
  const { rows } = result;
  const sizes = [...new Set(rows.map(({ params }) => params["size"]))].filter((size) => size !== undefined);
  const dataUnits = [2, 4, 8, 15];
  const head = ["P+Q, GB/s", ...dataUnits.flatMap((k) => [`k = ${k}`, `ISA-L, k = ${k}`])];
  const body = sizes.flatMap((size) =>
    ["warm", "memory"].map((place) => {
      const cells = dataUnits.flatMap((k) => {
        const params = { kernel: "encode", m: 2, size, place, k };
        return [figure(oursOf(rows, params)), figure(nativeOf(rows, "ISA-L", params))];
      });
      return [`${size}, ${place}`, ...cells];
    }),
  );
  return {
    name: "kernel-matrix",
    markdown: `${markdownTable(head, body)}\n\n${commandOf(result)}`,
    charts: [],
  };
}

function chartView(result: Result): View {
  const groups = KERNEL_LINES.map(({ name, ours, others }) => {
    const npm = bestOfNpm(result.rows, others);
    const bars = [
      { label: "mirrorvol", value: oursOf(result.rows, ours), isOurs: true },
      { label: "ISA-L (native)", value: nativeOf(result.rows, "ISA-L", others), isOurs: false },
      { label: "ISA-L SSE (native)", value: nativeOf(result.rows, "ISA-L SSE", others), isOurs: false },
      { label: npm?.case ?? "", value: npm?.value ?? null, isOurs: false },
    ].flatMap((bar) => (bar.value === null ? [] : [{ ...bar, value: bar.value }]));
    return { name, bars };
  });
  const title = `Kernels, 4 KiB units, k = 8, ${result.machine.runtime}`;
  const svg = barChart({ title, unit: "GB/s", command: result.command, groups });
  return {
    name: "kernel-chart",
    markdown: "![Kernels](performance/kernels.svg)",
    charts: [["kernels", svg]],
  };
}
