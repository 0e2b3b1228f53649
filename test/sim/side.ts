// A side is one copy of a volume on one machine; a pair has two, a volume alone has one.

import type { MirrorTarget } from "../../src/replication/source.ts";
import type { Volume, VolumeConfig } from "../../src/volume/volume.ts";
import type { MemoryFile } from "../support/memory_file.ts";
import type { Hosted, Machine, Running } from "./machine.ts";
import type { Model } from "./model.ts";
import type { Shape } from "./shapes.ts";
import type { Life } from "./timeline.ts";

export class Side {
  readonly machine: Machine;
  readonly config: VolumeConfig;
  readonly shape: Shape;
  /** Null: it has no right to serve. */
  model: Model | null = null;
  /** Members and log copies that faults may damage, with no limit on how. */
  damageable: readonly string[] = [];
  /** Those that were, while it ran. */
  readonly damaged = new Set<string>();
  /** Something was damaged behind its back, or failed. */
  isTouched = false;
  promotion: "none" | "under way" | "done" = "none";
  /** In which it was begun. */
  promotionLife: Life | null = null;

  constructor(machine: Machine, config: VolumeConfig, shape: Shape) {
    this.machine = machine;
    this.config = config;
    this.shape = shape;
  }

  get running(): Running | null {
    return this.machine.isUp ? (this.machine.running.get(this.config.name) ?? null) : null;
  }

  get volume(): Volume | null {
    return this.running?.volume ?? null;
  }

  /** Its machine is down, and is given these files. */
  becomeMirror(files: ReadonlyMap<string, MemoryFile>): void {
    this.machine.disks.restore(files);
    this.#hosted.target = null;
    this.model = null;
    this.promotion = "none";
    this.damaged.clear();
    this.isTouched = false;
  }

  /** Its machine is down. */
  becomeSource(mirror: Side, target: Omit<MirrorTarget, "url">): void {
    this.#hosted.target = { url: `ws://${mirror.machine.name}:8750`, ...target };
    this.promotion = "none";
  }

  get #hosted(): Hosted {
    return this.machine.hosted.find(({ config }) => config === this.config)!;
  }
}

export interface Pair {
  readonly name: string;
  /** First the one that is configured as the source; one side only for a volume alone. */
  readonly sides: Side[];
  readonly target: Omit<MirrorTarget, "url"> | null;
}
