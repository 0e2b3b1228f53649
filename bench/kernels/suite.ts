// The kernels and what else there is for the same work, all in one run.

import type { Recorder } from "../support/rows.ts";
import { digestPeers } from "./digest_peers.ts";
import { measureIsal } from "./isal.ts";
import { measure } from "./measure.ts";
import { OurKernels } from "./ours.ts";
import { parityPeers } from "./parity_peers.ts";
import { measureRonomon } from "./ronomon.ts";
import { matrix } from "./sizes.ts";

export async function kernels(recorder: Recorder): Promise<void> {
  const wanted = matrix(recorder.isQuick);
  const ours = await OurKernels.create();
  await measure(recorder, ours.digests(wanted));
  await measure(recorder, await digestPeers(recorder, wanted));
  await measure(recorder, ours.parity(wanted));
  await measure(recorder, parityPeers(wanted));
  await measureRonomon(recorder, wanted);
  await measureIsal(recorder, wanted);
}
