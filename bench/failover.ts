import type { Recorder } from "./support/rows.ts";
export async function failover(_recorder: Recorder): Promise<void> {}
