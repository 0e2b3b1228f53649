// One history: a cast of machines and volumes, some hundred steps, and the end, at which all faults stop and
// everything is proved. The tape decides about all of it, so a history is nothing but its tape.
//
// Swarm: each history leaves out a random part of the kinds of steps, so that what one kind hides, another history
// without it shows.

import type { VolumeConfig } from "../../src/volume/volume.ts";
import { withShortLivedPages } from "../support/memory_image.ts";
import type { Situation } from "./coverage.ts";
import { Ending } from "./ending.ts";
import { chooseDamageable } from "./faults.ts";
import { Machine } from "./machine.ts";
import { Model, SECTOR_BYTES } from "./model.ts";
import { configOf, newVolume, SHAPES, VOLUME_BLOCKS } from "./shapes.ts";
import { type Pair, Side } from "./side.ts";
import { SimNetwork } from "./sim_network.ts";
import { Stage } from "./stage.ts";
import { STEP_KINDS, takeStep } from "./steps.ts";
import { encodeTape, type Tape } from "./tape.ts";
import { Timeline, turn } from "./timeline.ts";

export interface Outcome {
  /** Null: everything was as it must be. */
  readonly failure: string | null;
  readonly tape: Tape;
  /** A hash over every event, its time, and what was acknowledged. */
  readonly trace: number;
  readonly events: number;
  readonly operations: number;
  readonly acknowledged: number;
  readonly situations: ReadonlySet<Situation>;
  /** What was done, and what the machines said. */
  readonly log: readonly string[];
}

const STEPS = 130;
const SECTORS = (VOLUME_BLOCKS * 4096) / SECTOR_BYTES;
const CP_INTERVALS_MS = [1000, 200, 5000, 60_000];
/** How many events run between two steps. */
const PAUSES = [4, 0, 1, 2, 3, 6, 10, 16, 30, 60];

export function playHistory(tape: Tape): Promise<Outcome> {
  return withShortLivedPages(() => playSafely(tape));
}

async function playSafely(tape: Tape): Promise<Outcome> {
  const stage = await setStage(tape);
  // A promise that nobody looks at ends the program that embeds the engine.
  const onUnhandled = (reason: unknown) => stage.fail(`a rejection that nobody handles: ${String(reason)}`);
  process.on("unhandledRejection", onUnhandled);
  try {
    return await play(stage, tape);
  } finally {
    process.off("unhandledRejection", onUnhandled);
  }
}

async function play(stage: Stage, tape: Tape): Promise<Outcome> {
  const { plan } = tape;
  const weights = chooseWeights(tape, stage.isRecoverable);
  for (let step = 0; step < STEPS && stage.failure === null && !plan.isOver; step++) {
    await plan.span(async () => {
      await takeStep(stage, plan, weights);
      for (let events = plan.pick(PAUSES); events > 0 && (await stage.timeline.step()); events--);
      stage.look();
    });
  }
  if (stage.failure === null) await new Ending(stage, plan).run();
  const { timeline } = stage;
  timeline.note(stage.acknowledged);
  for (const machine of stage.machines) machine.dispose();
  // Whatever is still under way comes to its end before the next history takes its memory.
  await turn();
  return {
    failure: stage.failure,
    tape,
    trace: timeline.trace,
    events: timeline.count,
    operations: stage.operations,
    acknowledged: stage.acknowledged,
    situations: stage.situations,
    log: timeline.journal,
  };
}

async function setStage(tape: Tape): Promise<Stage> {
  const { plan, timing } = tape;
  const timeline = new Timeline();
  const network = new SimNetwork(timeline, timing);
  const isRecoverable = plan.below(3) < 2;
  const cast = plan.pick(["pair", "pair", "pair", "alone", "crossed"] as const);
  const seed = plan.below(1 << 20);
  const machines = ["a", "b"].map((name, i) => new Machine(name, timeline, timing, network, seed * 2 + i));
  if (cast === "alone") machines.pop();
  const names = cast === "crossed" ? ["orders", "parts"] : ["orders"];
  const pairs: Pair[] = [];
  for (const [i, name] of names.entries()) {
    pairs.push(await makePair(tape, name, i === 0 ? machines : [...machines].reverse(), isRecoverable));
  }
  const stage = new Stage({ timeline, network, machines, pairs, isRecoverable });
  for (const machine of machines) machine.start();
  return stage;
}

/** The first machine has the source. */
async function makePair(
  tape: Tape,
  name: string,
  machines: readonly Machine[],
  isRecoverable: boolean,
): Promise<Pair> {
  const { plan } = tape;
  const cpIntervalMs = plan.pick(CP_INTERVALS_MS);
  const target =
    machines.length === 1
      ? null
      : ({
          mode: plan.pick(["sync", "sync", "sync", "semi-sync", "async"] as const),
          onMirrorLoss: plan.pick(["stop", "continue"] as const),
          mirrorTimeoutMs: 1000,
        } as const);
  const sides: Side[] = [];
  for (const [i, machine] of machines.entries()) {
    const shape = plan.pick(SHAPES);
    const config: VolumeConfig = configOf(name, shape, cpIntervalMs);
    machine.disks.restore(await newVolume(config, shape, i === 0 ? "source" : "mirror"));
    const url = `ws://${machines[1]?.name}:8750`;
    machine.hosted.push({ config, target: i === 0 && target ? { url, ...target } : null });
    const side = new Side(machine, config, shape);
    side.damageable = chooseDamageable(plan, side, isRecoverable);
    machine.damageable.push(...side.damageable);
    if (i === 0) side.model = new Model(SECTORS);
    sides.push(side);
  }
  return { name, sides, target };
}

function chooseWeights({ plan }: Tape, isRecoverable: boolean): number[] {
  return STEP_KINDS.map(({ weight, isAlways, isUnlimited }) => {
    if (isUnlimited && isRecoverable) return 0;
    if (isAlways) return weight;
    return plan.below(5) < 2 ? 0 : weight;
  });
}

export function replayCommand(tape: Tape): string {
  return `npm run sim -- --tape ${encodeTape(tape.content)}`;
}
