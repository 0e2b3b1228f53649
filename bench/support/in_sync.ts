// Waiting for a pair: until it is in sync, and until the mirror has made the consistency points of its source.

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

/** `cp`: of the source. */
export async function untilMirrored(cp: number, status: () => Promise<ServedStatus>): Promise<void> {
  const deadlineMs = performance.now() + DEADLINE_MS;
  while ((await status()).cp < cp) {
    if (performance.now() > deadlineMs) throw new Error(`the mirror has not made consistency point ${cp}`);
    await sleep(10);
  }
}
