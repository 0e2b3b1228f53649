// Every target, in the order in which they run.
import type { Target } from "./target.ts";
import { entriesTarget, entryTarget, halfHeaderTarget } from "./targets/log_codec.ts";

export const TARGETS: readonly Target[] = [entryTarget, entriesTarget, halfHeaderTarget];
