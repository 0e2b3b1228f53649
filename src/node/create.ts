// Making volumes: every path is looked at before the first one is made, and after a failure nothing of what
// was made is left. Block devices are there before they are used; whether one holds a volume already is for
// Volume.create to see.
import { statSync } from "node:fs";
import { LOG_HALF_COUNT } from "../../assembly/format.ts";
import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { Kernel } from "../kernel/kernel.ts";
import { halfPath } from "../log/copies.ts";
import { Volume } from "../volume/volume.ts";
import type { NodeConfig, VolumeEntry } from "./config.ts";

export interface CreateOptions {
  /** Checked between volumes: what was made until then is removed. */
  readonly signal?: AbortSignal;
  readonly onBegin?: (name: string) => void;
  readonly onCreated?: (name: string) => void;
}

/** Rejects with ERR_EXISTS, which names the path, before anything is touched. */
export async function createVolumes(
  world: World,
  config: NodeConfig,
  names: readonly string[],
  options: CreateOptions = {},
): Promise<void> {
  const entries = names.map((name) => config.volumes.get(name)!);
  for (const entry of entries) refuseExisting(entry);
  const made: VolumeEntry[] = [];
  try {
    for (const entry of entries) {
      options.onBegin?.(entry.volume.name);
      await createOne(world, entry, made);
      made.push(entry);
      options.signal?.throwIfAborted();
      options.onCreated?.(entry.volume.name);
    }
  } catch (error) {
    for (const entry of made) await remove(world, entry);
    throw error;
  }
}

/** Every file of a volume: its members, and four log files for each copy. */
function pathsOf({ volume }: VolumeEntry): string[] {
  const slots = Array.from({ length: LOG_HALF_COUNT }, (_, slot) => slot);
  return [...volume.members, ...volume.log.flatMap((prefix) => slots.map((slot) => halfPath(prefix, slot)))];
}

async function createOne(world: World, entry: VolumeEntry, made: VolumeEntry[]): Promise<void> {
  const { volume, role } = entry;
  try {
    await Volume.create(world, await Kernel.create(), volume, role);
  } catch (cause) {
    // What somebody else made in the meantime is not ours to remove; what is left after anything else is.
    if ((cause as { code?: string }).code !== "ERR_EXISTS") made.push(entry);
    const code = cause instanceof MirrorvolError ? (cause.code as `ERR_${string}`) : "ERR_CREATE";
    throw new MirrorvolError(code, `volume "${volume.name}": ${(cause as Error).message}`, { cause });
  }
}

function refuseExisting(entry: VolumeEntry): void {
  const found = pathsOf(entry).find((path) => {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat !== undefined && !stat.isBlockDevice();
  });
  if (found === undefined) return;
  const message = `volume "${entry.volume.name}": ${found} exists already; nothing was touched`;
  throw new MirrorvolError("ERR_EXISTS", message);
}

async function remove(world: World, entry: VolumeEntry): Promise<void> {
  for (const path of pathsOf(entry)) {
    if (await world.storage.exists(path)) await world.storage.remove(path);
  }
}
