// Why a volume does not serve, in words.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { VolumeConfig } from "./config.ts";
import type { GenerationRecord, Superblock } from "./superblock.ts";

/** Throws ERR_CONFIG when the configuration describes another volume than the superblocks. */
export function refuseMisfit(config: VolumeConfig, { sizeBlocks, logCopies }: Superblock): void {
  const bytes = sizeBlocks * BLOCK_BYTES;
  if (bytes !== config.sizeBytes) {
    const message = `volume "${config.name}" has ${bytes} bytes, the configuration says ${config.sizeBytes}`;
    throw new MirrorvolError("ERR_CONFIG", message);
  }
  if (logCopies.length === config.log.length) return;
  const made = `volume "${config.name}" was made with ${logCopies.length} log copies`;
  throw new MirrorvolError("ERR_CONFIG", `${made}, the configuration names ${config.log.length}`);
}

export function corruptLog(name: string, tail: number, required: number): MirrorvolError {
  const message =
    `volume "${name}": the log is damaged: entries ${tail + 1} to ${required} had been acknowledged and are ` +
    "unreadable in every copy; without a mirror they cannot be restored";
  return new MirrorvolError("ERR_LOG_CORRUPT", message);
}

/** The maps are sound, each by itself, and contradict each other. */
export function unmapped(what: string, vvbn: number): MirrorvolError {
  const text = `${what} refers to vvbn ${vvbn}, under which nothing is stored`;
  return new MirrorvolError("ERR_UNRECOVERABLE", text);
}

export function fenced(name: string, by: GenerationRecord): MirrorvolError {
  const message =
    `volume "${name}" does not serve: its mirror was promoted to generation ${by.number} ` +
    `after entry ${by.startSequence}; ` +
    "this side is an old copy";
  return new MirrorvolError("ERR_FENCED", message);
}

/** For those who were waiting when the volume ceased to be a source. */
export function demoted(name: string, by: GenerationRecord | null): MirrorvolError {
  if (by !== null) return fenced(name, by);
  return new MirrorvolError("ERR_DEMOTED", `volume "${name}" is a source no longer`);
}
