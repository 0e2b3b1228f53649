// Tables in Markdown.

import { format, type Row } from "../support/rows.ts";

type Cells = readonly string[];

export function markdownTable(head: Cells, body: readonly Cells[]): string {
  const line = (cells: Cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...body.map(line)].join("\n");
}

export function figure(value: number | null): string {
  return value === null ? "" : format(value);
}

/** Every case of a suite in a line of its own: the circumstances, then the metrics. */
export function caseTable(rows: readonly Row[]): string {
  const metrics = [...new Set(rows.map(({ metric, unit }) => `${metric}, ${unit}`))];
  const lines = new Map<string, (number | null)[]>();
  for (const row of rows) {
    const { runtime: _, ...params } = row.params;
    const circumstances = Object.entries(params).map(([key, value]) =>
      key === "what" ? `${value}` : `${key} ${value}`,
    );
    const name = [row.case, circumstances.join(", ")].join("\u0000");
    if (!lines.has(name)) lines.set(name, Array(metrics.length).fill(null));
    lines.get(name)![metrics.indexOf(`${row.metric}, ${row.unit}`)] = row.value;
  }
  const body = [...lines].map(([name, values]) => [...name.split("\u0000"), ...values.map(figure)]);
  return markdownTable(["case", "circumstances", ...metrics.map((name) => name.replace(/, 1$/, ""))], body);
}
