// Whether a mirror lets its source replace what it has. The source decides what is done (decide.ts); a mirror that
// only obeyed would hand its entries to whoever has a fault or an old disk. So it asks itself first:
//
//   d, the highest sequence that it knows was durable on a source, must be within what the source has:
//     histories equal        d <= the source's tail, and the image's seal is on our chain
//     the source's is newer  d <= where it left our history, and that position is on our chain
//
// A blank mirror has nothing to lose. A person who wants this mirror overwritten all the same makes it anew.

import { MirrorvolError } from "../kernel/errors.ts";
import { wireFault } from "./fields.ts";
import { compareHistories, describeGeneration, isHistory } from "./history.ts";
import { knownDurable } from "./mirror_state.ts";
import type { GenerationRecord, LogPosition, ReplicatedVolume } from "./port.ts";

export interface Offer {
  readonly seal: LogPosition;
  readonly history: readonly GenerationRecord[];
}

/** `sourceTail`: up to where the source is known to have what we have. */
export async function checkOverwrite(
  volume: ReplicatedVolume,
  sourceTail: number,
  { seal, history }: Offer,
): Promise<void> {
  if (!isHistory(history)) throw wireFault("the source's history has gaps");
  const relation = compareHistories(volume.persisted.history, history);
  if (relation.kind !== "equal" && relation.kind !== "older") {
    throw refused(volume, "the source's history does not go on where the mirror's ends");
  }
  const branch = relation.kind === "older" ? relation.next : null;
  const reach = branch?.startSequence ?? sourceTail;
  const known = await knownDurable(volume);
  if (known > reach) {
    const what = branch === null ? `the source ends at ${reach}` : `${describeGeneration(branch)} lacks them`;
    throw refused(volume, `entries up to ${known} were durable, and ${what}`);
  }
  const shared = branch === null ? seal : { sequence: branch.startSequence, chain: branch.startChain };
  if (await isOnOurChain(volume, shared)) return;
  throw refused(volume, `the chains differ at sequence ${shared.sequence}`);
}

/** Also when our log does not reach so far, or no longer. */
async function isOnOurChain({ log }: ReplicatedVolume, { sequence, chain }: LogPosition): Promise<boolean> {
  if (sequence > log.tail.sequence) return true;
  const ours = await log.chainAt(sequence);
  return ours === null || ours === chain;
}

function refused(volume: ReplicatedVolume, why: string): MirrorvolError {
  return new MirrorvolError("ERR_OVERWRITE", `volume "${volume.name}" is not overwritten: ${why}`);
}
