// The rules about the source itself: who may import whom, what only the outermost layers may name, how long
// a line and a file may be, and that nothing is exported for nobody.

import { assert, suite } from "./support/harness.ts";
import { importsOf, readSources, type SourceFile } from "./support/sources.ts";

const test = suite("architecture");

const src = readSources("src");
const assembly = readSources("assembly");
const others = [...readSources("test"), ...readSources("bench"), ...readSources("examples")];

const LINE_LENGTH_MAX = 120;
const FILE_LINES_MAX = 400;

/** Layers from the top down; folders of one row do not import each other. */
const LAYERS = [["cli"], ["node"], ["nbd", "replication"], ["volume"], ["log", "raid"], ["kernel", "io"]];

/** Only these folders may touch the world. */
const OUTER = ["io", "node", "cli"];

const WORLD: { what: string; pattern: RegExp }[] = [
  { what: "node:*", pattern: /["']node:/ },
  { what: "ws", pattern: /["']ws["']/ },
  { what: "Date", pattern: /\bnew Date\b|\bDate\.now\b|\bDate\(/ },
  { what: "timers", pattern: /(?<![.\w])set(?:Timeout|Interval|Immediate)\b/ },
  { what: "performance", pattern: /(?<![.\w])performance\./ },
  { what: "Math.random", pattern: /\bMath\.random\b/ },
  { what: "crypto", pattern: /(?<![.\w])crypto\./ },
  { what: "process", pattern: /(?<![.\w])process\.\w/ },
];

/** Sizes and offsets, for every layer. */
const FORMATS = /^assembly\/(\w+_)?format\.ts$/;

/** The error class; every layer may throw it. */
const COMMON = "src/kernel/errors.ts";

/** Files that may be longer, and why. */
const LONG_FILES: Record<string, string> = {};

/** Exports that nobody in the project imports, and why they are there. */
const FREE_EXPORTS: Record<string, string> = {};

const folderOf = (path: string) => path.split("/")[1]!;
const layerOf = (folder: string) => LAYERS.findIndex((row) => row.includes(folder));

function none(found: string[]): void {
  assert.equal(found, []);
}

function isAllowed(from: string, to: string): boolean {
  if (to.startsWith("assembly/")) return FORMATS.test(to) || folderOf(from) === "kernel";
  if (!to.startsWith("src/")) return false;
  // index.ts is above every layer: it may import anything, and nobody imports it but the command line.
  if (from === "src/index.ts") return true;
  if (to === "src/index.ts") return folderOf(from) === "cli";
  if (to === COMMON) return true;
  const [upper, lower] = [folderOf(from), folderOf(to)];
  return upper === lower || layerOf(upper) < layerOf(lower);
}

test("every folder under src has its layer", () => {
  const folders = src.filter((file) => file.path !== "src/index.ts").map((file) => folderOf(file.path));
  none([...new Set(folders)].filter((folder) => layerOf(folder) < 0));
});

test("imports go downward only", () => {
  const found = src.flatMap((file) =>
    importsOf(file)
      .filter(({ target }) => target.endsWith(".ts") && !isAllowed(file.path, target))
      .map(({ target }) => `${file.path} imports ${target}`),
  );
  none(found);
});

test("assembly imports only itself", () => {
  const found = assembly.flatMap((file) =>
    importsOf(file)
      .filter(({ target }) => !target.startsWith("assembly/"))
      .map(({ target }) => `${file.path} imports ${target}`),
  );
  none(found);
});

test("only io, node and cli name the world outside", () => {
  const inner = src.filter((file) => !OUTER.includes(folderOf(file.path)));
  none(
    inner.flatMap((file) =>
      WORLD.filter(({ pattern }) => pattern.test(file.code)).map(({ what }) => `${file.path}: ${what}`),
    ),
  );
});

test("WebAssembly is touched in the kernel only", () => {
  const elsewhere = src.filter((file) => folderOf(file.path) !== "kernel");
  none(elsewhere.filter((file) => /\bWebAssembly\./.test(file.code)).map((file) => file.path));
});

test("lines are not too long", () => {
  const tooLong = (file: SourceFile) =>
    file.lines.flatMap((line, index) => (line.length > LINE_LENGTH_MAX ? [`${file.path}:${index + 1}`] : []));
  none([...src, ...assembly, ...others].flatMap(tooLong));
});

test("files are not too long", () => {
  const long = [...src, ...assembly].filter((file) => file.lines.length > FILE_LINES_MAX);
  none(
    long
      .filter((file) => !(file.path in LONG_FILES))
      .map((file) => `${file.path}: ${file.lines.length} lines`),
  );
});

/**
 * Values that a file exports by declaration; what it passes on from elsewhere is the other file's. Types do
 * not count: whoever calls a function may want to name what it takes.
 */
function exportsOf(file: SourceFile): string[] {
  const declared =
    /^export\s+(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(?:function\*?|class|const|let)\s+(\w+)/gm;
  return [...file.code.matchAll(declared)].map((match) => match[1]!);
}

test("nothing is exported for nobody", () => {
  const used = new Set<string>();
  for (const file of [...src, ...others, ...assembly]) {
    for (const { target, names } of importsOf(file)) for (const name of names) used.add(`${target}#${name}`);
  }
  const isUsed = (file: SourceFile, name: string) =>
    used.has(`${file.path}#${name}`) || used.has(`${file.path}#*`) || `${file.path}#${name}` in FREE_EXPORTS;
  const exported = src.filter(
    (file) => file.path !== "src/index.ts" && !file.path.startsWith("src/cli/main"),
  );
  none(
    exported.flatMap((file) =>
      exportsOf(file)
        .filter((name) => !isUsed(file, name))
        .map((name) => `${file.path}: ${name}`),
    ),
  );
});

test.run();
