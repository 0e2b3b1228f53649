// EIO, ENOSPC and SIGKILL at the N-th fdatasync and the N-th write of a real node, for every N of a short life: it
// starts, takes writes, makes a consistency point, takes more, and ends. What must hold afterwards stands in
// test/support/process_fault_case.ts.
//
// `npm run test:thorough -- strace_faults` tries every N; `npm test` a few that the seed chooses.
import { skip, suite } from "../support/harness.ts";
import { SeededRandom } from "../support/memory_random.ts";
import { runFaultCase } from "../support/process_fault_case.ts";
import { ProcessLoad } from "../support/process_load.ts";
import { ProcessPair } from "../support/process_pair.ts";
import { MIB, ProcessSide } from "../support/process_side.ts";
import { type CallFault, straceObstacle, type TracedCall } from "../support/process_strace.ts";
import { isThorough } from "../support/thorough.ts";

export const deadlineMs = 900_000;
/** Its thread pool can be of one thread, and calls are counted by thread. */
export const runtime = "node";

const SIZE_BYTES = 4 * MIB;
/** Large enough to hold everything without one of them. */
const VOLUME = { cpInterval: "1h", writeTimeout: "5s", memberSize: "16MiB" };
const SHAPE = { sizeBytes: SIZE_BYTES, memberCount: 3, parity: 1, volume: VOLUME };
const WRITES_BEFORE = 150;
/** A life has about so many calls of each kind; npm test takes one of them. */
const CALLS_ABOUT: Record<TracedCall, number> = { fdatasync: 60, pwrite64: 60, pwritev: 10 };
/** After so many calls that never came, there are no more. */
const MISSES_MAX = 3;

const seed = Number(process.env["MIRRORVOL_SEED"] ?? Date.now() % 1_000_000);
const random = new SeededRandom(seed);

const test = suite(`faults of system calls (MIRRORVOL_SEED=${seed})`);

type Kind = Omit<CallFault, "nth">;
type Victim = "a lone volume" | "the source" | "the mirror";

const ERRORS: readonly Kind[] = [
  { call: "fdatasync", effect: "EIO", isLasting: false },
  { call: "pwrite64", effect: "ENOSPC", isLasting: false },
  { call: "pwritev", effect: "EIO", isLasting: false },
];
const KILLS: readonly Kind[] = [
  { call: "fdatasync", effect: "SIGKILL", isLasting: false },
  { call: "pwrite64", effect: "SIGKILL", isLasting: false },
  { call: "pwritev", effect: "SIGKILL", isLasting: false },
];
const ENDS: readonly Kind[] = [
  { call: "fdatasync", effect: "EIO", isLasting: true },
  { call: "pwrite64", effect: "ENOSPC", isLasting: true },
];

/** A volume, or a pair, that has lived for a while; each case takes a copy. */
interface Template {
  readonly lone: ProcessSide | null;
  readonly pair: ProcessPair | null;
  readonly load: ProcessLoad;
}

async function makeTemplate(victim: Victim): Promise<Template> {
  const load = new ProcessLoad(SIZE_BYTES, seed);
  const isLone = victim === "a lone volume";
  const lone = isLone ? await ProcessSide.create(SHAPE) : null;
  const pair = isLone ? null : await ProcessPair.create({ ...SHAPE, portSeed: seed });
  await (lone?.start() ?? pair!.start());
  const source = lone ?? pair!.source;
  await load.throughout(source, WRITES_BEFORE, async () => {});
  // Part of it is in the image, part in the log only.
  await source.consistencyPoint();
  await load.throughout(source, WRITES_BEFORE, async () => {});
  await source.kill();
  await pair?.mirror.kill();
  return { lone, pair, load };
}

/** False when the call never came. */
async function runCase(template: Template, victim: Victim, fault: CallFault): Promise<boolean> {
  const pair = (await template.pair?.copy()) ?? null;
  const source = pair?.source ?? (await ProcessSide.copyOf(template.lone!));
  const load = template.load.copy(fault.nth);
  const side = victim === "the mirror" ? pair!.mirror : source;
  try {
    return await runFaultCase({ source, pair, victim: side, fault, load });
  } catch (error) {
    const { call, nth, effect, isLasting } = fault;
    const what = `${effect} at ${call} ${nth}${isLasting ? " and all later ones" : ""} of ${victim}`;
    throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
  } finally {
    await (pair ?? source).close();
  }
}

async function everyCall(template: Template, victim: Victim, kind: Kind): Promise<void> {
  let misses = 0;
  let hits = 0;
  for (let nth = 1; misses < MISSES_MAX; nth++) {
    if (await runCase(template, victim, { ...kind, nth })) {
      hits++;
      misses = 0;
    } else misses++;
  }
  console.log(`    ${victim}: ${kind.effect} at each of ${hits} ${kind.call}s`);
}

for (const victim of ["a lone volume", "the source", "the mirror"] as const) {
  const kinds = [...ERRORS, ...KILLS, ...ENDS];
  const chosen = isThorough ? kinds : [kinds[random.below(kinds.length)]!];
  for (const kind of chosen) {
    const { call, effect, isLasting } = kind;
    test(`${victim}: ${effect} at ${isLasting ? "every" : "one"} ${call}`, async () => {
      const obstacle = straceObstacle();
      if (obstacle !== null) skip(obstacle);
      const template = await makeTemplate(victim);
      try {
        if (isThorough) await everyCall(template, victim, kind);
        else await runCase(template, victim, { ...kind, nth: 1 + random.below(CALLS_ABOUT[call]) });
      } finally {
        await (template.pair ?? template.lone!).close();
      }
    });
  }
}

test.run();
