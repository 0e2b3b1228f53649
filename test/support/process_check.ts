// The members and logs of a node that does not run, looked at offline by its own commands: every node of the block
// map, every block against its checksum, every entry of the log.
import { runMirrorvol } from "../../examples/support/processes.ts";
import { assert } from "./harness.ts";
import type { ProcessSide } from "./process_side.ts";

export async function checkOffline({ members, logs }: ProcessSide): Promise<void> {
  for (const args of [
    ["map", "--data", ...members],
    ["log", ...logs],
  ]) {
    const { code, stdout, stderr } = await runMirrorvol("inspect", ...args);
    assert.is(code, 0, `inspect ${args[0]}: ${stderr}${faultsIn(stdout)}`);
  }
}

function faultsIn(report: string): string {
  return report
    .split("\n")
    .filter((line) => /FAULT|left out/.test(line))
    .join("\n");
}
