// The write path: every load beside the floor and the peer, with the ratios; consistency points; a chart of
// the rates.

import type { Result } from "../support/results.ts";
import type { Params, Row } from "../support/rows.ts";
import { barChart } from "./chart.ts";
import { valueIn } from "./select.ts";
import { figure, markdownTable } from "./table.ts";
import { commandOf, ratioText, type View } from "./view.ts";

const FULL = "3+1, 2 logs";
const BARE = "1+0, 1 log";

export const SUBJECTS = {
  nbd: { case: "mirrorvol", params: { by: "nbd", volume: FULL } },
  nbdBare: { case: "mirrorvol", params: { by: "nbd", volume: BARE } },
  embedded: { case: "mirrorvol", params: { by: "embedded", volume: FULL } },
  embeddedBare: { case: "mirrorvol", params: { by: "embedded", volume: BARE } },
  qemu: { case: "QEMU mirror", params: { by: "nbd" } },
  floorNbd: { case: "C floor", params: { by: "nbd", volume: "2 logs" } },
  floorNbdBare: { case: "C floor", params: { by: "nbd", volume: "1 log" } },
  floor: { case: "C floor", params: { by: "itself", volume: "2 logs" } },
} as const;

export type SubjectName = keyof typeof SUBJECTS;

export function measured(
  rows: readonly Row[],
  who: SubjectName,
  load: Params,
  metric: string,
): number | null {
  const { case: name, params } = SUBJECTS[who];
  return valueIn(rows, { suite: "write", case: name, metric, params: { ...params, ...load } });
}

export function writeViews(results: readonly Result[]): View[] {
  const [result] = results;
  return result === undefined
    ? []
    : [rates(result), latencies(result), cpSplit(result), fio(result), chart(result)];
}

function loadsOf(rows: readonly Row[]): Params[] {
  const keys = rows.map(({ params }) => [params["load"]!, params["size"]!, params["depth"]!] as const);
  const unique = new Map(keys.map((key) => [key.join(), key]));
  return [...unique.values()].map(([load, size, depth]) => ({ load, size, depth }));
}

function nameOf({ load, size, depth }: Params): string {
  return `${load} ${size}, depth ${depth}`;
}

function rates(result: Result): View {
  const { rows } = result;
  const columns: SubjectName[] = [
    "nbd",
    "nbdBare",
    "embedded",
    "embeddedBare",
    "floorNbd",
    "floorNbdBare",
    "qemu",
  ];
  const head = [
    "operations/s",
    `NBD ${FULL}`,
    `NBD ${BARE}`,
    `embedded ${FULL}`,
    `embedded ${BARE}`,
    "floor, NBD, 2 logs",
    "floor, NBD, 1 log",
    "QEMU mirror",
    "NBD / QEMU",
    "NBD / floor",
    "embedded / QEMU",
  ];
  const body = loadsOf(rows).map((load) => {
    const at = (who: SubjectName) => measured(rows, who, load, "rate");
    const ratios = [
      [at("nbd"), at("qemu")],
      [at("nbd"), at("floorNbd")],
      [at("embedded"), at("qemu")],
    ] as const;
    return [
      nameOf(load),
      ...columns.map((who) => figure(at(who))),
      ...ratios.map(([a, b]) => ratioText(a, b)),
    ];
  });
  return {
    name: "write-rates",
    markdown: `${markdownTable(head, body)}\n\n${commandOf(result)}`,
    charts: [],
  };
}

function latencies(result: Result): View {
  const columns: SubjectName[] = ["nbd", "embedded", "floorNbd", "floor", "qemu"];
  const head = [
    "p50 / p99 / p99.9, us",
    `NBD ${FULL}`,
    `embedded ${FULL}`,
    "floor, NBD, 2 logs",
    "floor alone, 2 logs",
    "QEMU mirror",
  ];
  const body = loadsOf(result.rows).map((load) => {
    const cells = columns.map((who) => {
      const at = (metric: string) => measured(result.rows, who, load, metric);
      const figures = ["p50", "p99", "p99.9"].map((metric) => figure(at(metric)));
      return at("p50") === null ? "" : figures.join(" / ");
    });
    return [nameOf(load), ...cells];
  });
  const markdown = `${markdownTable(head, body)}\n\n${commandOf(result)}`;
  return { name: "write-latencies", markdown, charts: [] };
}

function cpSplit(result: Result): View {
  const head = [
    "us",
    "by",
    "p50, CP runs",
    "p50, none",
    "p99, CP runs",
    "p99, none",
    "p99 ratio",
    "max, CP runs",
  ];
  const body = loadsOf(result.rows).flatMap((load) =>
    (["nbd", "embedded"] as const).flatMap((who) => {
      const at = (cp: string, metric: string) => measured(result.rows, who, { ...load, cp }, metric);
      if (at("running", "p99") === null) return [];
      const figures = ["p50", "p99"].flatMap((metric) =>
        ["running", "none"].map((cp) => figure(at(cp, metric))),
      );
      const ratio = ratioText(at("running", "p99"), at("none", "p99"));
      return [[nameOf(load), `${who}, ${FULL}`, ...figures, ratio, figure(at("running", "max"))]];
    }),
  );
  return { name: "write-cp", markdown: `${markdownTable(head, body)}\n\n${commandOf(result)}`, charts: [] };
}

function fio(result: Result): View {
  const rows = result.rows.filter(({ params, metric }) => {
    return String(params["by"]).startsWith("fio") && metric === "rate";
  });
  const body = rows.map(({ case: who, params, value }) => {
    return [who, String(params["volume"]), String(params["by"]), String(params["depth"]), figure(value)];
  });
  const head = ["who", "volume", "by", "depth", "4 KiB writes/s"];
  return { name: "write-fio", markdown: `${markdownTable(head, body)}\n\n${commandOf(result)}`, charts: [] };
}

function chart(result: Result): View {
  const shown: [SubjectName, string][] = [
    ["embedded", `mirrorvol embedded, ${FULL}`],
    ["nbd", `mirrorvol by NBD, ${FULL}`],
    ["qemu", "QEMU mirror by NBD"],
    ["floorNbd", "C floor by NBD, 2 logs"],
  ];
  const groups = loadsOf(result.rows)
    .filter(({ size, load }) => size === "4 KiB" && load !== "mixed")
    .map((load) => ({
      name: nameOf(load),
      bars: shown.flatMap(([who, label]) => {
        const value = measured(result.rows, who, load, "rate");
        return value === null ? [] : [{ label, value, isOurs: label.startsWith("mirrorvol") }];
      }),
    }));
  const title = "4 KiB operations, each write synced on both sides";
  const svg = barChart({ title, unit: "/s", command: result.command, groups });
  return { name: "write-chart", markdown: "![Write path](performance/write.svg)", charts: [["write", svg]] };
}
