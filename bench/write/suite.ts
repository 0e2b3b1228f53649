import type { Recorder } from "../support/rows.ts";
export async function write(_recorder: Recorder): Promise<void> {}
