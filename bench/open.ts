import type { Recorder } from "./support/rows.ts";
export async function open(_recorder: Recorder): Promise<void> {}
