// Bar charts as SVG, drawn here: groups of horizontal bars, each with its figure at its end. Colours are
// chosen to be told apart on white and on black, and text takes the colour of whoever shows the chart where
// that is possible.

import { format } from "../support/rows.ts";

export interface Bar {
  readonly label: string;
  readonly value: number;
  /** Those of the project are in another colour. */
  readonly isOurs: boolean;
}

export interface Chart {
  readonly title: string;
  readonly unit: string;
  /** The command that measured it. */
  readonly command: string;
  readonly groups: readonly { readonly name: string; readonly bars: readonly Bar[] }[];
}

const WIDTH = 760;
const LABEL_WIDTH = 250;
const VALUE_WIDTH = 90;
const BAR_HEIGHT = 16;
const BAR_GAP = 4;
const GROUP_GAP = 26;
const TOP = 44;
const BOTTOM = 30;
const OURS = "#d9730d";
const OTHERS = "#7a8794";
const STYLE =
  "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}" +
  ".small{font-size:11px}@media(prefers-color-scheme:dark){text{fill:#d0d7de}}";

export function barChart({ title, unit, command, groups }: Chart): string {
  const largest = Math.max(...groups.flatMap(({ bars }) => bars.map(({ value }) => value)));
  const scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / largest;
  const parts: string[] = [text(10, 24, title, "title")];
  let y = TOP;
  for (const { name, bars } of groups) {
    parts.push(text(10, y + 12, name, "small"));
    y += GROUP_GAP - 6;
    for (const bar of bars) {
      parts.push(...drawBar(bar, y, bar.value * scale, unit));
      y += BAR_HEIGHT + BAR_GAP;
    }
    y += GROUP_GAP - 16;
  }
  parts.push(text(10, y + 14, command, "small"));
  const height = y + BOTTOM;
  const open = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img"`;
  return `${open} aria-label="${escapeXml(title)}">\n<style>${STYLE}</style>\n${parts.join("\n")}\n</svg>\n`;
}

function drawBar({ label, value, isOurs }: Bar, y: number, width: number, unit: string): string[] {
  const bar =
    `<rect x="${LABEL_WIDTH}" y="${y}" width="${Math.max(1, width).toFixed(1)}" height="${BAR_HEIGHT}" ` +
    `fill="${isOurs ? OURS : OTHERS}"/>`;
  const middle = y + BAR_HEIGHT - 4;
  const end = LABEL_WIDTH + Math.max(1, width) + 6;
  return [
    text(LABEL_WIDTH - 8, middle, label, "", "end"),
    bar,
    text(end, middle, `${format(value)} ${unit}`, "small"),
  ];
}

function text(x: number, y: number, content: string, style: string, anchor = "start"): string {
  const attributes = `x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}"${style ? ` class="${style}"` : ""}`;
  return `<text ${attributes}>${escapeXml(content)}</text>`;
}

function escapeXml(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
