// The kept inputs: test/fuzz/corpus/TARGET/NAME.bin, the raw bytes. `npm test` runs all of them.
//
//   found-HASH.bin   broke the property once; kept for good
//   HASH.bin         reached something that no other had; as many as the target's budget allows
//
// Seeds are not in here: the targets make them with the engine's own encoders, so that they follow the format.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** All targets together stay below 300 KiB. */
const TARGET_BYTES_MAX = 10 * 1024;
const INPUT_BYTES_MAX = 1024;

const root = new URL(import.meta.url.endsWith(".ts") ? "../../" : "../../../", import.meta.url);

export interface Kept {
  readonly name: string;
  readonly input: Uint8Array;
}

export function corpusOf(target: string): Kept[] {
  const folder = folderOf(target);
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => name.endsWith(".bin"));
  return names.sort().map((name) => ({ name, input: new Uint8Array(readFileSync(`${folder}/${name}`)) }));
}

/** Returns the path of the file, relative to the project. */
export function keepFound(target: string, input: Uint8Array): string {
  return write(target, `found-${hashOf(input)}.bin`, input);
}

/** False when there is no room, or it is there already. */
export function keepInteresting(target: string, input: Uint8Array): boolean {
  if (input.length === 0 || input.length > INPUT_BYTES_MAX) return false;
  const kept = corpusOf(target);
  const name = `${hashOf(input)}.bin`;
  const bytes = kept.reduce((sum, each) => sum + each.input.length, 0);
  if (bytes + input.length > TARGET_BYTES_MAX || kept.some((each) => each.name.endsWith(name))) return false;
  write(target, name, input);
  return true;
}

function write(target: string, name: string, input: Uint8Array): string {
  mkdirSync(folderOf(target), { recursive: true });
  writeFileSync(`${folderOf(target)}/${name}`, input);
  return `test/fuzz/corpus/${target}/${name}`;
}

function folderOf(target: string): string {
  return fileURLToPath(new URL(`test/fuzz/corpus/${target}`, root));
}

function hashOf(input: Uint8Array): string {
  return createHash("sha256").update(input).digest("hex").slice(0, 10);
}
