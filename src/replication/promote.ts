// Promotion: an explicit act of a person (or of a witness), never of a node by itself. The checks are about what
// this side knows; that no source is connected is the caller's to check.

import { MirrorvolError } from "../kernel/errors.ts";
import { fenced } from "../volume/refusals.ts";
import type { GenerationRecord, ReplicatedVolume } from "./port.ts";

/** The new generation; up to `startSequence` everything is served. */
export interface Promotion extends GenerationRecord {
  /** It was forced: nothing is known about what the source acknowledged beyond `startSequence`. */
  readonly isForced: boolean;
}

export async function promoteMirror(volume: ReplicatedVolume, force: boolean): Promise<Promotion> {
  const { role, inSync, everInSync, fencedBy } = volume.persisted;
  if (role !== "mirror") {
    throw new MirrorvolError("ERR_NOT_A_MIRROR", `volume "${volume.name}" is a source already`);
  }
  // A source that was fenced is a mirror too, and once was in sync. But it knows of a newer generation: promoting it
  // would make a second history of one volume. That cannot be forced.
  if (fencedBy !== null) throw fenced(volume.name, fencedBy);
  if (!everInSync) {
    const text = `volume "${volume.name}" was never in sync with its source: it is not a copy of anything`;
    throw new MirrorvolError("ERR_NEVER_IN_SYNC", text);
  }
  const doubt = inSync ? findDoubt(volume) : "it was catching up when it last heard from its source";
  if (doubt !== null && !force) {
    const { sequence } = volume.log.tail;
    const text = `volume "${volume.name}" lacks what its source acknowledged: ${doubt}`;
    throw new MirrorvolError(
      "ERR_NOT_IN_SYNC",
      `${text}; forced, it would serve what it has up to ${sequence}`,
    );
  }
  // The promotion gives up what is damaged. Should it not come to an end, that must not pass for being in sync.
  if (doubt !== null && inSync) await volume.persist({ inSync: false });
  const generation = await volume.promote();
  return { ...generation, isForced: doubt !== null };
}

function findDoubt(volume: ReplicatedVolume): string | null {
  const { requiredThrough } = volume.log.recovery;
  const { sequence } = volume.log.tail;
  if (requiredThrough <= sequence) return null;
  return `entries ${sequence + 1} to ${requiredThrough} of its log are damaged`;
}
