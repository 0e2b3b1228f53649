// Ways in which a member or a copy of the log can be lost, applied to the files that a crash left or to a volume that
// runs.
//
//   removed       the file is not there
//   zeroed        a new, blank device in its place
//   stale         a copy of it from some commits ago
//   foreign       the file of another volume that was made in the same way
//   unreadable    the file is there, and every access fails

import { LOG_HALF_COUNT } from "../../assembly/format.ts";
import type { Storage } from "../../src/io/disk.ts";
import { halfPath } from "../../src/log/copies.ts";
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import { assert } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { eio, FaultyStorage } from "../volume/faults.ts";
import { makeVolume } from "../volume/fixture.ts";
import type { Subject } from "./volumes.ts";

export const LOSS_MODES = ["removed", "zeroed", "stale", "unreadable", "foreign"] as const;
export type LossMode = (typeof LOSS_MODES)[number];

/** A member or a log copy: its files. */
export interface Part {
  readonly name: string;
  readonly paths: readonly string[];
}

export interface Loss {
  readonly part: Part;
  readonly mode: LossMode;
}

export function membersOf({ members }: VolumeConfig): Part[] {
  return members.map((path) => ({ name: path, paths: [path] }));
}

export function logCopiesOf({ log }: VolumeConfig): Part[] {
  return log.map((prefix) => {
    const slots = Array.from({ length: LOG_HALF_COUNT }, (_, slot) => halfPath(prefix, slot));
    return { name: prefix, paths: slots };
  });
}

/** Every set of at least one and at most `max` of the parts. */
export function setsOf(parts: readonly Part[], max: number): (readonly Part[])[] {
  const sets: Part[][] = [];
  for (let mask = 1; mask < 2 ** parts.length; mask++) {
    const set = parts.filter((_, bit) => (mask & (1 << bit)) !== 0);
    if (set.length <= max) sets.push(set);
  }
  return sets;
}

/** Where stale and foreign files come from. */
export interface Sources {
  readonly stale: MemoryStorage;
  readonly foreign: MemoryStorage;
}

export async function sourcesOf({ config }: Subject, stale: MemoryStorage): Promise<Sources> {
  const foreign = new MemoryStorage();
  await makeVolume(foreign, config, 99);
  return { stale, foreign };
}

/** Does it to the storage, and returns what a process that opens the volume sees. */
export async function lose(
  storage: MemoryStorage,
  losses: readonly Loss[],
  sources: Sources,
): Promise<Storage> {
  const dead = new Set<string>();
  for (const { part, mode } of losses) {
    for (const path of part.paths) {
      if (mode === "unreadable") dead.add(path);
      else await replace(storage, path, mode, sources);
    }
  }
  return dead.size === 0 ? storage : withDead(storage, dead);
}

async function replace(
  storage: MemoryStorage,
  path: string,
  mode: Exclude<LossMode, "unreadable">,
  sources: Sources,
): Promise<void> {
  if (mode === "removed") await storage.remove(path);
  else await refill(storage, path, mode === "zeroed" ? null : sources[mode]);
}

/** Brings back what the files held. */
export async function restore(
  storage: MemoryStorage,
  losses: readonly Loss[],
  from: MemoryStorage,
): Promise<void> {
  for (const path of losses.flatMap(({ part }) => part.paths)) await refill(storage, path, from);
}

/** A new file with the content that the path has in another storage, or blank. */
async function refill(storage: MemoryStorage, path: string, from: MemoryStorage | null): Promise<void> {
  const bytes = await sizeOf(from ?? storage, path);
  if (storage.paths.includes(path)) await storage.remove(path);
  await (await storage.create(path, bytes, "sparse")).close();
  if (from !== null) storage.poke(path, 0, from.peek(path, 0, bytes));
}

async function sizeOf(storage: MemoryStorage, path: string): Promise<number> {
  const disk = await storage.open(path, { readOnly: true });
  await disk.close();
  return disk.bytes;
}

/** Every access to these paths fails, from whenever they are in the set. */
export function withDead(storage: Storage, dead: ReadonlySet<string>): FaultyStorage {
  const faulty = new FaultyStorage(storage);
  faulty.judge = (call) => (dead.has(call.path) ? eio(call) : null);
  return faulty;
}

/** The volume serves, and says which of its parts are lost: these, and no others. */
export function expectDegraded(volume: Volume, lost: readonly Part[]): void {
  const { state, members, log } = volume.status();
  assert.is(state, "serving");
  const names = new Set(lost.map(({ name }) => name));
  const said = [...members, ...log].filter((part) => part.state !== "current").map(({ path }) => path);
  assert.equal(said.sort(), [...names].sort(), "the parts that are said to be lost");
}

export function namesOf(parts: readonly Part[]): string {
  return parts.map(({ name }) => name).join(", ");
}

export function describeLosses(losses: readonly Loss[]): string {
  return losses.map(({ part, mode }) => `${part.name} ${mode}`).join(", ");
}
