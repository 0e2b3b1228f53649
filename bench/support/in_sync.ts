// Waiting until a pair is in sync.

import type { ServedStatus } from "../../src/node/status.ts";
import { sleep } from "./clock.ts";

const DEADLINE_MS = 120_000;

export async function untilInSync(status: () => ServedStatus | Promise<ServedStatus>): Promise<void> {
  const deadlineMs = performance.now() + DEADLINE_MS;
  for (;;) {
    const { state, mirror } = await status();
    if (state === "serving" && mirror?.state === "in sync") return;
    if (performance.now() > deadlineMs) throw new Error(`not in sync: ${state}, ${JSON.stringify(mirror)}`);
    await sleep(10);
  }
}
