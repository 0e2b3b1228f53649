// What may happen in a step. The first kind is the simplest: nothing.

import { crashPolicy, damageDevice, rot, setTrap } from "./faults.ts";
import type { Machine } from "./machine.ts";
import { newVolume } from "./shapes.ts";
import type { Pair, Side } from "./side.ts";
import type { Stage } from "./stage.ts";
import type { Choices } from "./tape.ts";
import { ALWAYS } from "./timeline.ts";

interface StepKind {
  readonly name: string;
  readonly weight: number;
  /** Not left out by the swarm. */
  readonly isAlways?: boolean;
  /** Only where everything may break. */
  readonly isUnlimited?: boolean;
  readonly take: (stage: Stage, plan: Choices) => Promise<void> | void;
}

const SECTORS_PER_BLOCK = 8;
const OPEN_MAX = 12;
const LABEL_STORM = 51;

export const STEP_KINDS: readonly StepKind[] = [
  { name: "nothing", weight: 6, isAlways: true, take: () => {} },
  { name: "write", weight: 40, isAlways: true, take: write },
  { name: "read", weight: 12, isAlways: true, take: read },
  { name: "start", weight: 10, isAlways: true, take: start },
  { name: "heal network", weight: 5, isAlways: true, take: (stage) => stage.network.heal() },
  { name: "odd write", weight: 6, take: oddWrite },
  { name: "big write", weight: 2, take: bigWrite },
  { name: "burst", weight: 3, take: burst },
  { name: "clear", weight: 5, take: clear },
  { name: "flush", weight: 2, take: (stage, plan) => serving(stage, plan, (side) => stage.flush(side)) },
  {
    name: "cp",
    weight: 5,
    take: (stage, plan) => serving(stage, plan, (side) => stage.consistencyPoint(side)),
  },
  { name: "time", weight: 6, take: letTimePass },
  { name: "crash", weight: 4, take: crash },
  { name: "crash both", weight: 1, take: crashBoth },
  { name: "stop", weight: 1, take: stop },
  { name: "cut", weight: 2, take: cut },
  { name: "storm", weight: 1, take: storm },
  { name: "half-open", weight: 1, take: lose },
  { name: "network down", weight: 1, take: down },
  { name: "network dark", weight: 1, take: dark },
  { name: "slow network", weight: 1, take: slowNetwork },
  { name: "trap", weight: 4, take: (stage, plan) => setTrap(stage, plan, anySide(stage, plan)) },
  { name: "rot", weight: 2, take: (stage, plan) => rot(stage, plan, anySide(stage, plan)) },
  { name: "slow disk", weight: 1, take: slowDisk },
  { name: "clock", weight: 1, take: jumpClock },
  { name: "cancel", weight: 1, take: cancel },
  { name: "promote", weight: 2, take: promote },
  { name: "promote by force", weight: 1, isUnlimited: true, take: promoteByForce },
  { name: "fail over", weight: 1, take: failOver },
  { name: "swap roles", weight: 2, take: swapRoles },
];

export async function takeStep(stage: Stage, plan: Choices, weights: readonly number[]): Promise<void> {
  const { name, take } = STEP_KINDS[plan.weighted(weights)]!;
  if (name !== "nothing") stage.timeline.say(name);
  await take(stage, plan);
}

function anyPair(stage: Stage, plan: Choices): Pair {
  return plan.pick(stage.pairs);
}

function anySide(stage: Stage, plan: Choices): Side {
  return plan.pick(anyPair(stage, plan).sides);
}

/** A side that clients may use; after a split there are two. */
function serving(stage: Stage, plan: Choices, action: (side: Side) => void): void {
  const sides = anyPair(stage, plan).sides.filter(({ model, volume }) => model !== null && volume !== null);
  if (sides.length === 0 || stage.open.size >= OPEN_MAX) return;
  const side = sides.length === 1 ? sides[0]! : plan.pick([...sides].reverse());
  if (side.volume!.role === "source") action(side);
}

/** Some blocks are busier than others. */
function place(plan: Choices, side: Side, blocks: number): number {
  const total = side.volume!.bytes / 4096;
  const range = plan.chance(60) ? Math.min(total, 12 + blocks) : total;
  return plan.below(Math.max(1, range - blocks + 1));
}

function write(stage: Stage, plan: Choices): void {
  for (let count = 1 + (plan.chance(60) ? plan.below(6) : 0); count > 0; count--) writeOnce(stage, plan);
}

function writeOnce(stage: Stage, plan: Choices): void {
  serving(stage, plan, (side) => {
    const blocks = 1 + (plan.chance(30) ? plan.below(4) : 0);
    const lba = place(plan, side, blocks);
    const mode = plan.chance(5) ? plan.pick(["async", "semi-sync"] as const) : undefined;
    stage.write(side, lba * SECTORS_PER_BLOCK, blocks * SECTORS_PER_BLOCK, mode);
  });
}

function oddWrite(stage: Stage, plan: Choices): void {
  serving(stage, plan, (side) => {
    const first = place(plan, side, 3) * SECTORS_PER_BLOCK + plan.below(SECTORS_PER_BLOCK);
    stage.write(side, first, 1 + plan.below(2 * SECTORS_PER_BLOCK), undefined);
  });
}

function bigWrite(stage: Stage, plan: Choices): void {
  serving(stage, plan, (side) => {
    const blocks = 16 + plan.below(64);
    stage.write(side, place(plan, side, blocks) * SECTORS_PER_BLOCK, blocks * SECTORS_PER_BLOCK, undefined);
  });
}

/** Several at once, on the same blocks too. */
function burst(stage: Stage, plan: Choices): void {
  for (let count = 2 + plan.below(6); count > 0; count--) writeOnce(stage, plan);
}

function clear(stage: Stage, plan: Choices): void {
  serving(stage, plan, (side) => {
    const blocks = 1 + (plan.chance(30) ? plan.below(48) : plan.below(4));
    const how = plan.pick(["trim", "zero"] as const);
    stage.clear(side, place(plan, side, blocks) * SECTORS_PER_BLOCK, blocks * SECTORS_PER_BLOCK, how);
  });
}

function read(stage: Stage, plan: Choices): void {
  serving(stage, plan, (side) => {
    const blocks = 1 + plan.below(4);
    stage.read(side, place(plan, side, blocks) * SECTORS_PER_BLOCK, blocks * SECTORS_PER_BLOCK);
  });
}

/** The pause that follows a step counts events; this one counts time, so that timers come. */
function letTimePass(stage: Stage, plan: Choices): Promise<void> {
  return stage.timeline.run(plan.pick([1000, 20_000, 200_000, 1_200_000]));
}

function crash(stage: Stage, plan: Choices): void {
  crashMachine(stage, plan, plan.pick(stage.machines));
}

function crashBoth(stage: Stage, plan: Choices): void {
  if (stage.machines.every(({ isUp }) => isUp)) stage.met("crash of both sides at once");
  for (const machine of stage.machines) crashMachine(stage, plan, machine);
}

export function crashMachine(stage: Stage, plan: Choices, machine: Machine): void {
  const { life } = machine;
  if (life === null) return;
  stage.timeline.say(`  ${machine.name} crashes`);
  stage.sightings.crash(machine);
  machine.crash(crashPolicy(stage, plan, machine), plan.chance(70));
  stage.lifeEnded(life);
  for (const pair of stage.pairs) {
    for (const side of pair.sides) {
      if (side.machine !== machine) continue;
      if (plan.chance(15)) damageDevice(stage, plan, side);
    }
  }
}

function start(stage: Stage, plan: Choices): void {
  const down = stage.machines.filter(({ isUp }) => !isUp);
  if (down.length > 0) plan.pick(down).start();
}

function stop(stage: Stage, plan: Choices): void {
  const machine = plan.pick(stage.machines);
  const { life } = machine;
  if (life === null || machine.isStopping) return;
  void machine.stop().then(
    (leaked) => {
      stage.met("orderly stop");
      stage.lifeEnded(life);
      if (leaked > 0) stage.fail(`${machine.name}: ${leaked} bytes of its arenas were not given back`);
    },
    (error) => stage.fail(`${machine.name}: an orderly stop failed: ${String(error)}`),
  );
}

function cut(stage: Stage): void {
  if (stage.network.connectionCount > 0) stage.met("connection cut");
  stage.network.cutAll();
}

/** Whatever connects is cut again, many times. */
function storm(stage: Stage, plan: Choices): void {
  stage.met("reconnect storm");
  const everyUs = 200 + plan.below(200_000);
  for (let count = 3 + plan.below(12); count > 0; count--) {
    stage.timeline.after(count * everyUs, ALWAYS, LABEL_STORM, () => stage.network.cutAll());
  }
}

function lose(stage: Stage, plan: Choices): void {
  const direction = plan.pick(["both", "to server", "to client"] as const);
  if (stage.network.connectionCount > 0) {
    stage.met(direction === "both" ? "connection half-open" : "one direction lost");
  }
  stage.network.loseAll(direction);
}

function down(stage: Stage): void {
  stage.network.isDown = true;
  stage.met("network down");
  stage.network.cutAll();
}

function dark(stage: Stage): void {
  stage.network.goDark();
  stage.met("network dark");
}

function slowNetwork(stage: Stage, plan: Choices): void {
  stage.network.slowFactor = 5 + plan.below(100);
  stage.met("slow network");
}

function slowDisk(stage: Stage, plan: Choices): void {
  const { files } = plan.pick(stage.machines).disks;
  const file = plan.pick([...files.values()]);
  if (plan.chance(50)) {
    file.slowFactor = 10 + plan.below(100);
    stage.met("slow disk");
  } else {
    file.stuckUntilUs = stage.timeline.nowUs + plan.below(8_000_000);
    stage.met("stuck disk");
  }
}

function jumpClock(stage: Stage, plan: Choices): void {
  plan.pick(stage.machines).clockAheadMs += plan.below(100_000);
  stage.met("clock jumped");
}

function cancel(stage: Stage, plan: Choices): void {
  if (stage.open.size > 0) stage.cancel(plan.pick([...stage.open]));
}

function promote(stage: Stage, plan: Choices): void {
  promoteMirror(stage, plan, false);
}

function promoteByForce(stage: Stage, plan: Choices): void {
  promoteMirror(stage, plan, true);
}

function promoteMirror(stage: Stage, plan: Choices, isForced: boolean): void {
  const pair = anyPair(stage, plan);
  const mirror = pair.sides.find(({ model }) => model === null);
  if (mirror) stage.promote(pair, mirror, isForced);
}

/** What an operator does: the source is gone, so the mirror is promoted. */
function failOver(stage: Stage, plan: Choices): void {
  const pair = anyPair(stage, plan);
  const mirror = pair.sides.find(({ model }) => model === null);
  const source = pair.sides.find(({ model }) => model !== null);
  if (mirror === undefined || source === undefined || mirror.machine === source.machine) return;
  crashMachine(stage, plan, source.machine);
  stage.promoteSoon(pair, mirror);
}

/** What an operator does after a failover: the old source is made anew, as the mirror of the new one. */
async function swapRoles(stage: Stage, plan: Choices): Promise<void> {
  const pair = anyPair(stage, plan);
  const [old, promoted] = pair.sides;
  if (old === undefined || promoted === undefined || promoted.promotion !== "done") return;
  for (const side of pair.sides) crashMachine(stage, plan, side.machine);
  old.becomeMirror(await newVolume(old.config, old.shape, "mirror"));
  promoted.becomeSource(old, pair.target!);
  pair.sides.reverse();
  stage.met("roles swapped after a failover");
  stage.sightings.swapped(pair);
  for (const { machine } of pair.sides) machine.start();
}
