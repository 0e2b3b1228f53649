// All planted bugs, and what a rule of the design is called.

import type { Mutant } from "./mutant.ts";
import { OF_BLOCKS } from "./of_blocks.ts";
import { OF_COMMITS } from "./of_commits.ts";
import { OF_FORWARDING } from "./of_forwarding.ts";
import { OF_LOG } from "./of_log.ts";
import { OF_OUTSIDE } from "./of_outside.ts";
import { OF_RAID } from "./of_raid.ts";
import { OF_REPLICATION } from "./of_replication.ts";

export const CATALOGUE: readonly Mutant[] = [
  ...OF_LOG,
  ...OF_RAID,
  ...OF_COMMITS,
  ...OF_BLOCKS,
  ...OF_REPLICATION,
  ...OF_FORWARDING,
  ...OF_OUTSIDE,
];
