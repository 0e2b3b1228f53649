import type { Recorder } from "./support/rows.ts";
export async function resync(_recorder: Recorder): Promise<void> {}
