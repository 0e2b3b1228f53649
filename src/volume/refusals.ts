// Why a volume does not serve, in words.
import { MirrorvolError } from "../kernel/errors.ts";
import type { GenerationRecord } from "./superblock.ts";

export function corruptLog(name: string, tail: number, required: number): MirrorvolError {
  const message =
    `volume "${name}": the log is damaged: entries ${tail + 1} to ${required} had been acknowledged and are ` +
    "unreadable in every copy; without a mirror they cannot be restored";
  return new MirrorvolError("ERR_LOG_CORRUPT", message);
}

export function fenced(name: string, by: GenerationRecord): MirrorvolError {
  const message =
    `volume "${name}" does not serve: its mirror was promoted to generation ${by.number} ` +
    `after entry ${by.startSequence}; ` +
    "this side is an old copy";
  return new MirrorvolError("ERR_FENCED", message);
}
