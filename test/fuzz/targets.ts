// Every target, in the order in which they run.
import type { Target } from "./target.ts";
import { entriesTarget, entryTarget, halfHeaderTarget } from "./targets/log_codec.ts";
import { logFilesTarget } from "./targets/log_files.ts";
import { nbdParserTarget, nbdSessionTarget } from "./targets/nbd.ts";
import { mirrorPeerTarget, sourcePeerTarget } from "./targets/peers.ts";
import { adminTarget, argumentsTarget, configTarget, unitsTarget } from "./targets/settings.ts";
import { volumeFilesTarget } from "./targets/volume_files.ts";
import { freeNodeTarget, mapNodeTarget, summaryTarget, superblockTarget } from "./targets/volume_records.ts";
import { frameTarget } from "./targets/wire.ts";

export const TARGETS: readonly Target[] = [
  entryTarget,
  entriesTarget,
  halfHeaderTarget,
  superblockTarget,
  summaryTarget,
  freeNodeTarget,
  mapNodeTarget,
  frameTarget,
  nbdParserTarget,
  nbdSessionTarget,
  unitsTarget,
  configTarget,
  argumentsTarget,
  adminTarget,
  logFilesTarget,
  volumeFilesTarget,
  mirrorPeerTarget,
  sourcePeerTarget,
];
