// The fault atlas: what may break in a history, and where.
//
// In a *recoverable* history a good copy always survives: of each side at most `parity` members and all log copies
// but one may be damaged, the same ones from the beginning to the end, in any way at all. (A member that is dropped
// stays dropped, so two members that are damaged one after the other are two.) Whatever else happens to machines and
// network, the system must repair itself, and go on when the faults stop.
//
// In an *unlimited* history every member may be damaged. Then volumes may stop, and reads may fail; what is read must
// be right all the same. Of the log one copy stays good: who loses the newest entries in every copy at once cannot
// know that there were any.

import { type CrashPolicy, MemoryFile, seededCrash } from "../support/memory_file.ts";
import { isSituation } from "./coverage.ts";
import type { Machine } from "./machine.ts";
import type { Side } from "./side.ts";
import type { SimFile, Trap } from "./sim_disks.ts";
import type { Stage } from "./stage.ts";
import type { Choices } from "./tape.ts";

const TRAPS: readonly Trap[] = [
  "read error",
  "write error",
  "sync error",
  "no space",
  "lost write",
  "misdirected write",
  "misdirected read",
];
const SECTOR_BYTES = 512;

/** Draws what may be damaged on a side. */
export function chooseDamageable(plan: Choices, side: Side, isRecoverable: boolean): string[] {
  const { members, parity, log } = side.config;
  const memberCount = isRecoverable ? plan.below(parity + 1) : plan.below(members.length + 1);
  const copyCount = plan.below(log.length);
  return [...draw(plan, members, memberCount), ...draw(plan, log, copyCount)];
}

function draw(plan: Choices, from: readonly string[], count: number): string[] {
  const left = [...from];
  return Array.from({ length: count }, () => left.splice(plan.below(left.length), 1)[0]!);
}

/** The files of a member, or of a log copy (one for each half). */
export function filesOf(side: Side, device: string): SimFile[] {
  const { files } = side.machine.disks;
  return [...files]
    .filter(([path]) => path === device || path.startsWith(`${device}.`))
    .map(([, file]) => file);
}

export function isMember(side: Side, device: string): boolean {
  return side.config.members.includes(device);
}

export function setTrap(stage: Stage, plan: Choices, side: Side): void {
  if (side.damageable.length === 0) return;
  const device = plan.pick(side.damageable);
  const kind = plan.pick(TRAPS);
  const files = filesOf(side, device);
  if (files.length === 0) return;
  const file = plan.pick(files);
  const isOfMembers = isMember(side, device);
  const onSprung = () => {
    side.isTouched = true;
    stage.timeline.say(`  ${kind} on ${side.machine.name}: ${file.memory.path}`);
    const situation = `${kind} ${isOfMembers ? "on a member" : "on a log copy"}`;
    if (isSituation(situation)) stage.met(situation);
    const { damaged, config } = side;
    if (isOfMembers && damaged.add(device).size > config.parity)
      stage.met("more members damaged than parity");
  };
  file.traps.push({ kind, byBlocks: 1 + plan.below(64), onSprung });
}

/** Flips bits of some sectors that hold something. */
export function rot(stage: Stage, plan: Choices, side: Side): void {
  if (side.damageable.length === 0) return;
  const device = plan.pick(side.damageable);
  const files = filesOf(side, device);
  if (files.length === 0) return;
  const { memory } = plan.pick(files);
  const used = memory.usedRanges();
  if (used.length === 0) return;
  const sector = new Uint8Array(SECTOR_BYTES);
  for (let count = 1 + plan.below(4); count > 0; count--) {
    const { offset, bytes } = plan.pick(used);
    const at = offset + plan.below(Math.floor(bytes / SECTOR_BYTES)) * SECTOR_BYTES;
    memory.read(at, sector);
    const byte = plan.below(SECTOR_BYTES);
    sector[byte]! ^= 1 << plan.below(8);
    memory.poke(at, sector);
    stage.timeline.say(`  bit rot on ${side.machine.name}: ${memory.path} at ${at}`);
  }
  side.isTouched = true;
  stage.met(isMember(side, device) ? "bit rot on a member" : "bit rot on a log copy");
}

/** While the machine is down: a device is gone, blank, an old copy of itself, or two have changed places. */
export function damageDevice(stage: Stage, plan: Choices, side: Side): void {
  if (side.damageable.length === 0) return;
  const device = plan.pick(side.damageable);
  const { files } = side.machine.disks;
  const paths = [...files.keys()].filter((path) => path === device || path.startsWith(`${device}.`));
  if (paths.length === 0) return;
  const isOfMembers = isMember(side, device);
  const how = plan.pick(["gone", "blank", "stale", "swapped"] as const);
  if (how === "swapped") return swap(stage, plan, side, device);
  side.isTouched = true;
  stage.timeline.say(`  ${device} on ${side.machine.name} is ${how}`);
  for (const path of paths) {
    const file = files.get(path)!;
    if (how === "gone") files.delete(path);
    else if (how === "blank") file.memory = new MemoryFile(path, file.memory.bytes);
    else if (file.older !== null) file.memory = file.older.afterCrash(() => "keep");
  }
  if (how === "gone") stage.met(isOfMembers ? "member gone at a start" : "log copy gone at a start");
  else if (how === "stale") stage.met(isOfMembers ? "member stale at a start" : "log copy stale at a start");
  else if (isOfMembers) stage.met("member blank at a start");
}

/** Harmless for members: each is recognised by what it says it is. So the other one may be any. */
function swap(stage: Stage, plan: Choices, side: Side, device: string): void {
  if (!isMember(side, device)) return;
  const { files } = side.machine.disks;
  const other = plan.pick(side.config.members);
  const [mine, theirs] = [files.get(device), files.get(other)];
  if (mine === undefined || theirs === undefined || mine === theirs) return;
  files.set(device, theirs);
  files.set(other, mine);
  const isBoth = side.damageable.includes(other);
  if (!isBoth) side.damageable = side.damageable.map((each) => (each === device ? other : each));
  stage.met("members swapped at a start");
}

/** What a power failure does to what is not durable. */
export function crashPolicy(stage: Stage, plan: Choices, machine: Machine): (file: SimFile) => CrashPolicy {
  const kind = plan.below(4);
  const seed = plan.below(1 << 16);
  const isAnything = [...machine.disks.files.values()].some(({ memory }) => memory.unsynced.length > 0);
  if (isAnything) {
    if (kind === 0) stage.met("unsynced writes kept");
    else stage.met(kind === 1 ? "unsynced writes dropped" : "torn unsynced sectors");
  }
  if (kind === 0) return () => () => "keep";
  if (kind === 1) return () => () => "drop";
  let count = 0;
  return () => seededCrash(seed * 100 + count++);
}
