// The project's own source text, for the tests that look at it. Works from dist/ and from the sources.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

export interface SourceFile {
  /** Path from the root, with forward slashes. */
  path: string;
  lines: string[];
  text: string;
  /** The text without comments: what banned words are looked for in. */
  code: string;
}

export const projectRoot = findRoot(dirname(fileURLToPath(import.meta.url)));

function findRoot(folder: string): string {
  return existsSync(join(folder, "package.json")) ? folder : findRoot(dirname(folder));
}

/** Every .ts file below a top-level folder, generated ones excepted. */
export function readSources(folder: string): SourceFile[] {
  const top = join(projectRoot, folder);
  if (!existsSync(top)) return [];
  return readdirSync(top, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".gen.ts"))
    .sort()
    .map((name) => readSource(join(top, name)));
}

function readSource(file: string): SourceFile {
  const text = readFileSync(file, "utf8");
  const path = relative(projectRoot, file).split(sep).join("/");
  return { path, text, lines: text.replace(/\n$/, "").split("\n"), code: withoutComments(text) };
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

export interface Import {
  /** Path from the root for a relative import; otherwise the specifier as it is. */
  target: string;
  names: string[];
}

/** What a file imports or passes on, types included. `*` stands for a whole namespace. */
export function importsOf(file: SourceFile): Import[] {
  const statements = /(?:import|export)\s+(?:type\s+)?([^"';]*?)\s*from\s*["']([^"']+)["']/g;
  const bare = /(?:\bimport\s*\(|^\s*import)\s*["']([^"']+)["']/gm;
  const named = [...file.code.matchAll(statements)].map((match) => ({
    target: resolve(file.path, match[2]!),
    names: namesIn(match[1]!),
  }));
  const whole = [...file.code.matchAll(bare)].map((match) => ({
    target: resolve(file.path, match[1]!),
    names: ["*"],
  }));
  return [...named, ...whole];
}

function namesIn(clause: string): string[] {
  if (clause.includes("*")) return ["*"];
  return clause
    .replace(/[{}]/g, ",")
    .split(",")
    .map((name) => name.trim().replace(/^type\s+/, ""))
    .map((name) => name.split(/\s+as\s+/)[0]!)
    .filter((name) => name !== "");
}

function resolve(from: string, specifier: string): string {
  if (!specifier.startsWith(".")) return specifier;
  const path = join(dirname(from), specifier).split(sep).join("/");
  return path.endsWith(".ts") ? path : `${path}.ts`;
}
