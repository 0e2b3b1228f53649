// What was to be reached and what was: computed from the results, so that nothing is claimed that was not
// measured.

import type { Result } from "../support/results.ts";
import { format, type Params, type Row } from "../support/rows.ts";
import { bestOfNpm, KERNEL_LINES, nativeOf, oursOf } from "./kernel_views.ts";
import { ratioOf, resultsOf, valueIn } from "./select.ts";
import { markdownTable } from "./table.ts";
import type { View } from "./view.ts";
import { measured, type SubjectName } from "./write_views.ts";

interface Target {
  readonly what: string;
  /** "least": as much or more is reached; "most": as little or less. */
  readonly bound: "least" | "most";
  readonly aim: number;
  readonly unit: string;
  readonly reached: number | null;
}

const least = (what: string, aim: number, reached: number | null): Target => {
  return { what, bound: "least", aim, unit: "x", reached };
};
const most = (what: string, aim: number, unit: string, reached: number | null): Target => {
  return { what, bound: "most", aim, unit, reached };
};

/** Of units: some packages are best with small ones, some with large ones. */
const SIZES = ["4 KiB", "64 KiB"];

export function targetsView(results: readonly Result[]): View {
  const rows = (suite: string) => resultsOf(results, suite)[0]?.rows ?? [];
  const all = [
    ...kernelTargets(rows("kernels")),
    ...writeTargets(rows("write")),
    ...volumeTargets(rows),
    ...sizeTargets(rows),
  ];
  const known = all.filter(({ reached }) => reached !== null);
  const head = ["what", "target", "reached", ""];
  const markdown = markdownTable(head, known.map(line));
  return { name: "targets", markdown, charts: [] };
}

export function line({ what, bound, aim, unit, reached }: Target): string[] {
  const value = reached!;
  const isMet = bound === "least" ? value >= aim : value <= aim;
  const factor = bound === "least" ? aim / value : value / aim;
  const verdict = isMet ? "met" : `missed by a factor of ${factor.toFixed(2)}`;
  return [what, `at ${bound} ${aim} ${unit}`, `${format(value)} ${unit}`, verdict];
}

function over(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : a / b;
}

function kernelTargets(rows: readonly Row[]): Target[] {
  return KERNEL_LINES.flatMap(({ name, ours, others }) => {
    if (name === "log entry") return [];
    const mine = oursOf(rows, ours);
    const isWide = name === "P+Q" || name === "P+Q+R";
    const best = isWide
      ? [least(`${name} / ISA-L, best code`, 1, over(mine, nativeOf(rows, "ISA-L", others)))]
      : [];
    return [
      least(`${name} / ISA-L, SSE code`, 1, over(mine, nativeOf(rows, "ISA-L SSE", others))),
      ...best,
      ...SIZES.map((size) => {
        const npm = bestOfNpm(rows, { ...others, size });
        const ratio = over(oursOf(rows, { ...ours, size }), npm?.value ?? null);
        return least(`${name}, ${size} / best of npm (${npm?.case})`, 3, ratio);
      }),
    ];
  });
}

function writeTargets(rows: readonly Row[]): Target[] {
  const load = (kind: string, size: string, depth: number): Params => ({ load: kind, size, depth });
  const rate = (a: SubjectName, b: SubjectName, of: Params) =>
    over(measured(rows, a, of, "rate"), measured(rows, b, of, "rate"));
  const small = load("write", "4 KiB", 1);
  const deep = load("write", "4 KiB", 32);
  const large = load("write", "128 KiB", 8);
  return [
    least("4 KiB writes, depth 1, NBD / QEMU mirror", 1.1, rate("nbd", "qemu", small)),
    least("4 KiB writes, depth 1, NBD / floor with the same hop", 0.85, rate("nbd", "floorNbd", small)),
    least("4 KiB writes, depth 32, NBD / QEMU mirror", 4, rate("nbd", "qemu", deep)),
    least("4 KiB writes, depth 32, embedded / QEMU mirror by NBD", 5, rate("embedded", "qemu", deep)),
    least("128 KiB writes, depth 8, 1+0 with one log, NBD / QEMU mirror", 1, rate("nbdBare", "qemu", large)),
    least(
      "128 KiB writes, depth 8, 3+1, NBD / floor that writes two logs",
      0.8,
      rate("nbd", "floorNbd", large),
    ),
    least("4 KiB reads, depth 1, NBD / QEMU mirror", 1, rate("nbd", "qemu", load("read", "4 KiB", 1))),
    least("4 KiB reads, depth 32, NBD / QEMU mirror", 1, rate("nbd", "qemu", load("read", "4 KiB", 32))),
  ];
}

function volumeTargets(rows: (suite: string) => readonly Row[]): Target[] {
  const ours = (suite: string, metric: string, params: Params, who = "mirrorvol") => {
    return { suite, metric, params, case: who };
  };
  const overwrite = (cps: string) => ours("overwrite", "rate", { cps });
  const state = { cps: "as usual" };
  const cpLatency = (cp: string, metric: string) =>
    valueIn(rows("overwrite"), ours("overwrite", metric, { ...state, cp }));
  const promote = (mirror: string) =>
    valueIn(rows("failover"), ours("failover", "first read", { mirror, entry: "4 KiB" }));
  const rate = (what: string, floor: string) => {
    const sequential = ours("resync", "throughput", { what: floor }, "sequential");
    return ratioOf(rows("resync"), ours("resync", "throughput", { what }), sequential);
  };
  const delay = valueIn(
    rows("loop"),
    ours("loop", "p99", { load: "write", size: "4 KiB", of: "loop delay" }),
  );
  return [
    least(
      "overwrites for long / with CPs held back",
      0.5,
      ratioOf(rows("overwrite"), overwrite("as usual"), overwrite("held back")),
    ),
    most(
      "write p99 while a CP runs / between, 4 KiB, depth 32",
      2,
      "x",
      over(cpLatency("running", "p99"), cpLatency("none", "p99")),
    ),
    most("longest write while a CP runs, 4 KiB, depth 32", 10, "ms", over(cpLatency("running", "max"), 1000)),
    most("lost source to first read, mirror running", 100, "ms", promote("running")),
    most("lost source to first read, mirror restarted", 1000, "ms", promote("restarted")),
    least("first sync / sequential write", 0.7, rate("first sync", "write and sync")),
    least("offline check / sequential read", 0.7, rate("check", "read")),
    most("event loop delay, p99, 4 KiB writes at depth 32", 1, "ms", over(delay, 1000)),
  ];
}

function sizeTargets(rows: (suite: string) => readonly Row[]): Target[] {
  const at = (suite: string, metric: string, params: Params) =>
    valueIn(rows(suite), { suite, metric, params, case: "mirrorvol" });
  return [
    most("cold import", 50, "ms", at("open", "time", { what: "cold import" })),
    most("WASM module", 64, "KiB", at("open", "size", { what: "WASM module" })),
    most("installed, dependencies included", 2, "MB", at("open", "size", { what: "installed" })),
    most("idle node, one small volume", 80, "MiB", at("memory", "resident", { volumes: 1 })),
    most(
      "node that mirrors 64 volumes to another",
      512,
      "MiB",
      at("memory", "peak", { volumes: 64, node: "source", state: "after load" }),
    ),
    most(
      "node that is the mirror of 64 volumes",
      512,
      "MiB",
      at("memory", "peak", { volumes: 64, node: "mirror", state: "after load" }),
    ),
  ];
}
