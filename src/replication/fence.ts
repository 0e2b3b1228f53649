// Demotion: a newer generation of the same volume exists elsewhere. The volume stops serving at once, and it is
// recorded, so that it does not serve after a restart either. What it has beyond the position where the newer
// generation began stays in its log, as a fork.

import { fenced } from "../volume/refusals.ts";
import type { GenerationRecord, ReplicatedVolume } from "./port.ts";

export async function fence(volume: ReplicatedVolume, by: GenerationRecord): Promise<void> {
  const gate = { refused: fenced(volume.name, by) };
  volume.setGate(gate);
  await volume.persist({ role: "mirror", fencedBy: by });
  // Who was about to go on alone may have opened it meanwhile. Whoever comes later finds the record.
  volume.setGate(gate);
}
