// The volumes that are measured: geometry, log, size. Both sides of a pair look alike, so that neither is the
// smaller machine.

import type { VolumeConfig } from "../../src/index.ts";

export const MIB = 1024 ** 2;
export const VOLUME = "bench";

export interface Shape {
  readonly sizeBytes: number;
  readonly memberCount: number;
  readonly parity: number;
  readonly logCopies: number;
  readonly logBytes: number;
  readonly cpIntervalMs?: number;
}

/** "3+1, 2 logs" */
export function shapeName({ memberCount, parity, logCopies }: Shape): string {
  return `${memberCount - parity}+${parity}, ${logCopies} log${logCopies > 1 ? "s" : ""}`;
}

export function volumeConfig(shape: Shape, folder: string, name = VOLUME): VolumeConfig {
  const { sizeBytes, memberCount, parity, logCopies, logBytes, cpIntervalMs } = shape;
  return {
    name,
    sizeBytes,
    parity,
    logBytes,
    members: Array.from({ length: memberCount }, (_, i) => `${folder}/${name}-member${i}`),
    log: Array.from({ length: logCopies }, (_, i) => `${folder}/${name}-log${i}`),
    ...(cpIntervalMs === undefined ? {} : { cpIntervalMs }),
  };
}

/** The same as the configuration file has it. */
export function volumeEntry(shape: Shape, folder: string, name = VOLUME): Record<string, unknown> {
  const { sizeBytes, parity, logBytes, members, log } = volumeConfig(shape, folder, name);
  const interval = shape.cpIntervalMs === undefined ? {} : { cpInterval: shape.cpIntervalMs };
  return { size: sizeBytes, members, parity, log, logSize: logBytes, ...interval };
}
