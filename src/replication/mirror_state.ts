// What a mirror knows about itself and about its source, gathered when a session begins.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import { SEALS_MAX } from "../../assembly/wire_format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { MirrorState } from "./messages.ts";
import type { ReplicatedVolume } from "./port.ts";

export function sizeBlocksOf(volume: ReplicatedVolume): number {
  return volume.bytes / BLOCK_BYTES;
}

/** What both sides say about themselves. */
export function describeSide(volume: ReplicatedVolume) {
  const { role, history, inSync, everInSync } = volume.persisted;
  return {
    volumeId: volume.volumeId,
    sizeBlocks: sizeBlocksOf(volume),
    halfBytes: volume.log.halfPayloadBytes,
    role,
    history,
    tail: volume.log.tail,
    durable: volume.log.durable,
    requiredThrough: volume.log.recovery.requiredThrough,
    cp: volume.cp,
    root: volume.rootHash,
    inSync,
    everInSync,
  };
}

/** The seal that the committed image includes. */
export async function appliedSequence(volume: ReplicatedVolume): Promise<number> {
  const image = await volume.pinImage();
  image.release();
  return image.seal.sequence;
}

/** Everything in the log is durable when this is sent: a source may build on it. */
export async function describeMirror(volume: ReplicatedVolume): Promise<MirrorState> {
  const sourceDurableThrough = await knownDurable(volume);
  return {
    ...describeSide(volume),
    boundTo: volume.persisted.boundTo,
    sourceDurableThrough,
    seals: volume.sealed.slice(0, SEALS_MAX).map(({ cp, seal }) => ({ cp, sequence: seal.sequence })),
  };
}

/** The highest sequence that a mirror knows to have been durable on a source. */
export async function knownDurable(volume: ReplicatedVolume): Promise<number> {
  await volume.log.whenDurable(volume.log.tail.sequence);
  const applied = await appliedSequence(volume);
  const durableThrough = await lastDurableThrough(volume);
  // A volume that was a source itself made durable whatever it has.
  const own = volume.persisted.boundTo === null ? volume.log.tail.sequence : 0;
  return Math.max(applied, durableThrough, own);
}

/** Each entry says what its writer had made durable; the last one knows most. */
async function lastDurableThrough(volume: ReplicatedVolume): Promise<number> {
  const { sequence } = volume.log.tail;
  try {
    for await (const entry of volume.log.entries(sequence)) return entry.durableThrough;
  } catch (error) {
    // An empty log holds no entry, not even the last one.
    if (!(error instanceof MirrorvolError) || error.code !== "ERR_LOG_RANGE") throw error;
  }
  return 0;
}

/** What follows the oldest position that the mirror may want to hear about again. */
export function retentionFor({ tail, seals }: MirrorState): number {
  const oldest = seals[0];
  return oldest === undefined ? tail.sequence : oldest.sequence - 1;
}
