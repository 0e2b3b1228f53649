// Which volumes a command means.
import type { NodeConfig } from "../node/config.ts";
import { type CommandName, usageError } from "./arguments.ts";

/** The names given, or all; each must be in the configuration. */
export function requireVolumes(
  command: CommandName,
  config: NodeConfig,
  names: readonly string[],
): readonly string[] {
  const unknown = names.find((name) => !config.volumes.has(name));
  if (unknown !== undefined) {
    const known = [...config.volumes.keys()].join(", ");
    throw usageError(command, `there is no volume "${unknown}" in ${config.file}, which has ${known}`);
  }
  return names.length > 0 ? [...new Set(names)] : [...config.volumes.keys()];
}
