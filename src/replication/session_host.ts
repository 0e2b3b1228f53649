// What a source's session needs, and whom it asks and tells: the relationship that it belongs to.

import type { Connection } from "../io/transport.ts";
import type { World } from "../io/world.ts";
import type { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { UnderWay } from "../volume/under_way.ts";
import type { CpMemory } from "./cp_memory.ts";
import type { Decision } from "./decide.ts";
import type { BodyOf, MirrorState } from "./messages.ts";
import type { ReplicatedVolume } from "./port.ts";
import type { RingHold } from "./ring_hold.ts";
import type { SourceSession } from "./source_session.ts";

export interface SourceSessionHost {
  /** It was decided. False: the session goes no further. */
  onDecision(session: SourceSession, decision: Decision, remote: MirrorState): Promise<boolean>;
  onAck(session: SourceSession, received: number, durable: number): void;
  /** The forwarder sends entries as they are appended. */
  onLive(session: SourceSession): void;
  onSynced(session: SourceSession, through: number): void;
  onProgress(): void;
  onNotice(session: SourceSession, code: string, text: string): void;
  onRefused(session: SourceSession, refusal: BodyOf<"refuse">): void;
  onClosed(session: SourceSession, reason: string, fault: MirrorvolError | null): void;
}

export interface SourceSessionOptions {
  readonly world: World;
  readonly kernel: Kernel;
  readonly volume: ReplicatedVolume;
  readonly connection: Connection;
  readonly host: SourceSessionHost;
  readonly memory: CpMemory;
  readonly ring: RingHold;
  readonly underWay: UnderWay;
  /** The volume's name on the mirror. */
  readonly name: string;
  readonly secret: Uint8Array | null;
  readonly timeoutMs: number;
  /** Some writes are acknowledged when the mirror has received them. */
  readonly wantsReceived: boolean;
  readonly hasServed: () => boolean;
}
