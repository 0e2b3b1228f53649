import type { Recorder } from "./support/rows.ts";
export async function wire(_recorder: Recorder): Promise<void> {}
