// What a source's relationship with its mirror is made from, and what it says about itself.

import type { World } from "../io/world.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { WriteMode } from "../volume/pending.ts";
import type { ReplicatedVolume } from "./port.ts";
import type { MirrorRelationState, OnRelationEvent } from "./relation_report.ts";

export interface MirrorTarget {
  /** Of the mirror's node: "ws://host:port". */
  readonly url: string;
  /** The volume's name over there. Default: its own. */
  readonly volume?: string;
  readonly mode: WriteMode;
  readonly onMirrorLoss: "stop" | "continue";
  /** Default 5000. */
  readonly mirrorTimeoutMs?: number;
}

export interface SourceRelationshipOptions {
  readonly world: World;
  readonly kernel: Kernel;
  readonly volume: ReplicatedVolume;
  readonly target: MirrorTarget;
  readonly secret: Uint8Array | null;
  /** What happens, for people; the name is for programs. */
  readonly onEvent?: OnRelationEvent;
}

interface WireCount {
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

const NOTHING: WireCount = { sentBytes: 0, receivedBytes: 0 };

export function addWire(a: WireCount = NOTHING, b: WireCount = NOTHING): WireCount {
  return { sentBytes: a.sentBytes + b.sentBytes, receivedBytes: a.receivedBytes + b.receivedBytes };
}

export interface SourceRelationshipStatus {
  readonly state: MirrorRelationState;
  readonly detail: string;
  /** What the mirror is known to have made durable. */
  readonly acknowledgedSequence: number;
  readonly ledger: { readonly entries: number; readonly bytes: number };
  readonly aloneSince: number | null;
  readonly wire: WireCount;
}
