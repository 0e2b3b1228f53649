import type { Recorder } from "./support/rows.ts";
export async function loop(_recorder: Recorder): Promise<void> {}
