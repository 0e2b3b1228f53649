// mirrorvol promote: a mirror becomes the source. The node answers when the volume is served.
import { loadConfig } from "../node/config.ts";
import type { PromoteAnswer } from "../node/status.ts";
import { askNode } from "./admin_client.ts";
import { requireVolumes } from "./volumes.ts";

export async function promote(command: {
  readonly config: string;
  readonly volume: string;
  readonly force: boolean;
}): Promise<number> {
  const config = loadConfig(command.config);
  requireVolumes("promote", config, [command.volume]);
  const path = `/volumes/${encodeURIComponent(command.volume)}/promote`;
  const answer = (await askNode(config, "POST", path, { force: command.force })) as PromoteAnswer;
  if (answer.isForced) {
    const what = `what its source acknowledged beyond sequence ${answer.startSequence} is not known here`;
    process.stderr.write(`mirrorvol: ${command.volume} was not known to be in sync: ${what}\n`);
  }
  const where = `generation ${answer.generation}, from sequence ${answer.startSequence}`;
  process.stdout.write(`${command.volume} is promoted and served: ${where}, in ${answer.ms} ms\n`);
  return 0;
}
