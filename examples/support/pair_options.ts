// What source.ts and mirror.ts agree on: the volume they share, and where each keeps its own files. The two
// geometries differ on purpose.
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Volume, type VolumeConfig } from "../../src/index.ts";

export const DEFAULT_LISTEN = "127.0.0.1:8750";
const VOLUME_NAME = "counter";
const VOLUME_BYTES = 16 * 1024 ** 2;
const LOG_BYTES = 8 * 1024 ** 2;

/** The last thing that the source wrote, at the start of the volume. */
export interface Entry {
  readonly count: number;
  readonly writtenAt: string;
}

export function defaultFolder(side: string): string {
  return join(tmpdir(), "mirrorvol-example", side);
}

/** Makes the volume on the first run. */
export async function prepare(
  side: "source" | "mirror",
  folder: string,
  geometry: { readonly memberCount: number; readonly parity: number },
): Promise<VolumeConfig> {
  const at = (name: string) => join(resolve(folder), name);
  mkdirSync(resolve(folder), { recursive: true });
  const options: VolumeConfig = {
    name: VOLUME_NAME,
    sizeBytes: VOLUME_BYTES,
    members: Array.from({ length: geometry.memberCount }, (_, i) => at(`member${i}`)),
    parity: geometry.parity,
    log: [at("log-a"), at("log-b")],
    logBytes: LOG_BYTES,
  };
  if (!existsSync(options.members[0]!)) await Volume.create({ ...options, role: side });
  return options;
}

export async function readEntry(volume: Volume): Promise<Entry | null> {
  const text = new TextDecoder().decode(await volume.read(0, 256));
  const end = text.indexOf("\0");
  return end === 0 ? null : (JSON.parse(text.slice(0, end)) as Entry);
}

export async function writeEntry(volume: Volume, entry: Entry): Promise<void> {
  const block = new Uint8Array(256);
  new TextEncoder().encodeInto(JSON.stringify(entry), block);
  await volume.write(0, block);
}
