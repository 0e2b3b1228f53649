// mirrorvol create: makes the members and logs of the named volumes, or of all.

import { nodeWorld } from "../io/node_world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { loadConfig, type VolumeEntry } from "../node/config.ts";
import { createVolumes } from "../node/create.ts";
import { formatSize } from "../node/units.ts";
import { requireVolumes } from "./volumes.ts";

export async function create(command: {
  readonly config: string;
  readonly volumes: readonly string[];
}): Promise<number> {
  const config = loadConfig(command.config);
  const names = requireVolumes("create", config, command.volumes);
  // A signal must not leave half of it behind: the volume under way is finished, then all are removed.
  const interrupted = new AbortController();
  const stop = () =>
    interrupted.abort(new MirrorvolError("ERR_INTERRUPTED", "interrupted; nothing is left behind"));
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    const created: string[] = [];
    const onCreated = (name: string) => void created.push(name);
    const onBegin = (name: string) => {
      if (process.stderr.isTTY) process.stderr.write(`creating ${name} ...\n`);
    };
    await createVolumes(nodeWorld(), config, names, { signal: interrupted.signal, onBegin, onCreated });
    for (const name of created) process.stdout.write(`${summaryOf(config.volumes.get(name)!)}\n`);
    return 0;
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

function summaryOf({ volume, role }: VolumeEntry): string {
  const data = volume.dataUnits ?? volume.members.length - volume.parity;
  const spares = volume.members.length - data - volume.parity;
  const members = `${data} + ${volume.parity} members${spares > 0 ? ` and ${spares} spare` : ""}`;
  const facts = [role, formatSize(volume.sizeBytes), members, `${volume.log.length} log copies`];
  return `created ${volume.name}: ${facts.join(", ")}`;
}
