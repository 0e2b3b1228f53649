// What a node says about itself: the answer of GET /status, and so of `mirrorvol status --json`.
import type { MirrorStatus } from "../replication/mirror.ts";
import type { SourceRelationshipStatus } from "../replication/source.ts";
import type { VolumeStatus } from "../volume/volume.ts";
import type { VolumeEntry } from "./config.ts";
import type { OpenedVolume } from "./open_volume.ts";

export interface NodeStatus {
  readonly name: string;
  readonly version: string;
  readonly pid: number;
  /** Real addresses; null where the configuration has none. */
  readonly listen: string | null;
  readonly nbd: string | null;
  readonly http: string | null;
  readonly admin: string;
  /** Resident memory of the process, bytes. */
  readonly memoryBytes: number;
  readonly nbdConnections: number;
  readonly volumes: readonly (ServedStatus | FailedStatus)[];
}

export type ServedStatus = VolumeStatus & {
  /** A member or a log copy is missing. */
  readonly degraded: boolean;
  /** Clients can open it. */
  readonly exported: boolean;
  /** Of a source that has a mirror. */
  readonly mirror?: SourceRelationshipStatus;
  /** Of a mirror. */
  readonly source?: MirrorStatus;
};

/** A volume that could not be opened. */
export interface FailedStatus {
  readonly name: string;
  /** As configured: what the superblocks say is not known. */
  readonly role: string;
  readonly state: "failed";
  readonly reason: string;
  readonly degraded: true;
  readonly exported: false;
  readonly members: readonly { readonly path: string; readonly state: "unknown" }[];
}

export interface PromoteAnswer {
  readonly volume: string;
  readonly generation: number;
  /** The last sequence before the new generation: everything up to it is served. */
  readonly startSequence: number;
  /** It was not known to be in sync: what its source acknowledged beyond startSequence is not known. */
  readonly isForced: boolean;
  /** From the request until the volume was served. */
  readonly ms: number;
}

/** `source`: what the MirrorService says about it, for a mirror. */
export function servedStatus({ volume, relationship }: OpenedVolume, source?: MirrorStatus): ServedStatus {
  const status = volume.status();
  return {
    ...status,
    degraded: lossesOf(status).length > 0,
    exported: status.role === "source",
    ...(relationship === null ? {} : { mirror: relationship.status() }),
    ...(status.role === "mirror" && source !== undefined ? { source } : {}),
  };
}

/** What is missing, for people. */
export function lossesOf({ members, log }: VolumeStatus): string[] {
  const describe = (what: string) => (each: { path: string; state: string; reason?: string }) =>
    `${what} ${each.path} is ${each.state}${each.reason === undefined ? "" : `: ${each.reason}`}`;
  const isLost = ({ state }: { state: string }) => state !== "current";
  return [...members.filter(isLost).map(describe("member")), ...log.filter(isLost).map(describe("log copy"))];
}

export function failedStatus({ volume, role }: VolumeEntry, reason: string): FailedStatus {
  const members = volume.members.map((path) => ({ path, state: "unknown" as const }));
  return { name: volume.name, role, state: "failed", reason, degraded: true, exported: false, members };
}
