// What came out, for people, for programs, and for docs/MUTANTS.md: measured facts only.

import type { Hunted } from "./hunt.ts";

export interface Run {
  readonly commit: string;
  readonly day: string;
  readonly jobs: number;
  readonly seeds: number;
  readonly seconds: number;
}

export function describe({ mutant, kill, seeds, seconds, notes }: Hunted): string {
  const by = kill === null ? "SURVIVED" : `${kill.where}: ${kill.what}`;
  const histories = seeds > 0 ? `, ${seeds} histories` : "";
  const said = notes.map((note) => `\n     ${note}`).join("");
  return `${kill === null ? "ALIVE" : "ok   "} ${mutant.name}  ${seconds.toFixed(1)} s${histories}  ${by}${said}`;
}

export function summary(hunted: readonly Hunted[], { seconds }: Run): string {
  const survivors = hunted.filter(({ kill }) => kill === null);
  const count = (by: string) => hunted.filter(({ kill }) => kill?.by === by).length;
  const lines = [
    `${hunted.length} mutants in ${seconds.toFixed(0)} s: ${count("test")} killed by a test, ` +
      `${count("simulator")} by the simulator, ${survivors.length} survived`,
    ...survivors.map(({ mutant }) => `survivor: ${mutant.name} (${mutant.file}): ${mutant.promise}`),
  ];
  return lines.join("\n");
}

export function toJson(hunted: readonly Hunted[], run: Run): string {
  const mutants = hunted.map(({ mutant, ...rest }) => {
    const { name, rules, promise, file } = mutant;
    return { name, rules, promise, file, ...rest };
  });
  return `${JSON.stringify({ ...run, mutants }, null, 2)}\n`;
}

const HEAD = `# Planted bugs

Each line is a bug that was planted in the engine, one at a time, and what noticed it: the first of the test files that
are likely to, then the simulator (histories 1, 2, ...), then the other tests of the layer. Nothing counts as a kill
that is red without the bug. The rules are those of the failure rules (5.x), the layout of the volume (4.x), the way of
a write (3.x) and the claims (A to J). Test files are named by their paths below \`test/\`. The bugs stand in
\`test/mutants/\`, which writes this page as well:

    npm run mutants -- --narrow --seeds 0 --jobs 2 --markdown docs/MUTANTS.md
`;

export function toMarkdown(hunted: readonly Hunted[], run: Run): string {
  const survivors = hunted.filter(({ kill }) => kill === null).length;
  const bySim = hunted.filter(({ kill }) => kill?.by === "simulator").length;
  const simulator =
    run.seeds === 0
      ? "by named tests alone"
      : `${bySim} of them by the simulator, of at most ${run.seeds} histories`;
  const measured =
    `${run.day}, commit ${run.commit}: ${hunted.length} bugs, ${hunted.length - survivors} noticed ` +
    `(${simulator}), ${survivors} not; ${run.seconds.toFixed(0)} s with ${run.jobs} at a time.`;
  const files = [...new Set(hunted.map(({ mutant }) => mutant.file))];
  return [HEAD, measured, "", ...files.flatMap((file) => section(file, hunted))].join("\n");
}

/** The bugs of one file of the engine. */
function section(file: string, hunted: readonly Hunted[]): string[] {
  const rows = hunted.filter(({ mutant }) => mutant.file === file).map(row);
  return [
    `## ${file}`,
    "",
    "| Bug | Rules | What it breaks | Noticed by |",
    "|---|---|---|---|",
    ...rows,
    "",
  ];
}

function row({ mutant, kill }: Hunted): string {
  const by = kill === null ? "**nothing**" : kill.where;
  const cells = [mutant.name, mutant.rules.join(", "), mutant.promise, by];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replace(/\s+/g, " ")).join(" | ")} |`;
}
