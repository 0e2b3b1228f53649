import type { Recorder } from "./support/rows.ts";
export async function memory(_recorder: Recorder): Promise<void> {}
