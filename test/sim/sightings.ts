// What a history has met, as far as it can be seen from outside: at every look at the stage, and at every crash.
// (Faults and steps report themselves.) See coverage.ts for what is done with it.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { SourceRelationshipStatus } from "../../src/replication/source.ts";
import type { Volume } from "../../src/volume/volume.ts";
import type { Situation } from "./coverage.ts";
import type { Machine, Running } from "./machine.ts";
import type { Pair, Side } from "./side.ts";
import type { Stage } from "./stage.ts";

/** A crash so soon after a promotion is one right after it. */
const SOON_US = 100_000;
const LOOKS_PER_STATUS = 8;

export class Sightings {
  readonly #stage: Stage;
  readonly #everInSync = new Set<Pair>();
  readonly #everAlone = new Set<Side>();
  readonly #promotedAtUs = new Map<Side, number>();
  /** Sides that acknowledged something since the promotion of one of them. */
  readonly #acknowledged = new Map<Pair, Set<Side>>();
  readonly #swapped = new Set<Pair>();
  #looks = 0;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  look(pair: Pair): void {
    for (const side of pair.sides) {
      const { running } = side;
      if (running?.volume == null) continue;
      this.#lookAtVolume(running.volume);
      if (running.relationship !== null) this.#lookAtRelation(pair, side, running.relationship.status());
    }
  }

  promotionBegins(side: Side): void {
    if (side.machine.disks.isWriting(side.config.members)) this.#met("promoted in the middle of a CP");
  }

  promoted(side: Side): void {
    this.#promotedAtUs.set(side, this.#stage.timeline.nowUs);
  }

  /** The old source has become the mirror of the new one. */
  swapped(pair: Pair): void {
    this.#swapped.add(pair);
    this.#everInSync.delete(pair);
    this.#acknowledged.delete(pair);
    for (const side of pair.sides) this.#promotedAtUs.delete(side);
  }

  acknowledged(side: Side): void {
    const pair = this.#stage.pairs.find(({ sides }) => sides.includes(side))!;
    if (!pair.sides.some((each) => this.#promotedAtUs.has(each))) return;
    const sides = this.#acknowledged.get(pair) ?? new Set();
    this.#acknowledged.set(pair, sides.add(side));
    if (sides.size > 1) this.#met("both sides acknowledged after a split");
  }

  crash(machine: Machine): void {
    const { isOpening } = machine;
    if (isOpening) this.#met("crash during recovery");
    if (isOpening && machine.hasCrashedOpening)
      this.#met("crash during recovery after a crash during recovery");
    machine.hasCrashedOpening = isOpening;
    for (const operation of this.#stage.open) {
      if (operation.life === machine.life && operation.kind === "write")
        this.#met("crash while writes are under way");
    }
    for (const pair of this.#stage.pairs) {
      for (const side of pair.sides) if (side.machine === machine) this.#crashOf(pair, side, isOpening);
    }
  }

  #crashOf(pair: Pair, side: Side, isOpening: boolean): void {
    const { nowUs } = this.#stage.timeline;
    if (side.promotion === "under way") this.#met("crash during a promotion");
    if (nowUs - (this.#promotedAtUs.get(side) ?? -SOON_US) < SOON_US)
      this.#met("crash right after a promotion");
    const isInCp = !isOpening && side.machine.disks.isWriting(side.config.members);
    if (isInCp) this.#met("crash in the middle of a CP");
    if (isInCp && side.model === null) this.#met("crash of the mirror in the middle of a CP");
    const relation = relationOf(pair);
    if (relation?.state !== "catching up") return;
    this.#met("crash while the mirror catches up");
    if (relation.detail.includes("image")) {
      this.#met(this.#everInSync.has(pair) ? "crash during an image sync" : "crash during the first sync");
    }
  }

  #lookAtVolume(volume: Volume): void {
    // A status takes long, and what it says of the cleaner stays.
    if (++this.#looks % LOOKS_PER_STATUS === 0 && volume.status().segments.evacuated > 0)
      this.#met("cleaner at work");
    const isFull = volume.role === "source" && volume.log.needsSeal(BLOCK_BYTES);
    if (isFull) this.#met(volume.log.canSeal ? "log half full" : "every log half full");
  }

  #lookAtRelation(pair: Pair, side: Side, status: SourceRelationshipStatus): void {
    const { state, detail, aloneSince } = status;
    if (detail.includes("image")) this.#met("image sync");
    if (detail.startsWith("fenced")) this.#met("old source fenced");
    if (state === "diverged") this.#met("diverged");
    if (aloneSince !== null && this.#everInSync.has(pair)) this.#everAlone.add(side);
    if (state !== "in sync" || aloneSince !== null) return;
    this.#everInSync.add(pair);
    if (this.#everAlone.delete(side)) this.#met("alone and back in sync");
    if (this.#swapped.has(pair)) this.#met("in sync after a failover");
  }

  #met(situation: Situation): void {
    this.#stage.met(situation);
  }
}

function relationOf(pair: Pair): SourceRelationshipStatus | undefined {
  const ofSide = ({ running }: Side): Running["relationship"] => running?.relationship ?? null;
  return pair.sides
    .map(ofSide)
    .find((relationship) => relationship !== null)
    ?.status();
}
