// Every set of lost members at every event of a consistency point, for geometries up to three parity units, as
// loss_cases.ts says: up to m members while the volume runs and at the next opening, in every way that losses.ts
// knows; and every set of one more.
//
//   npm test                              a few events and sets of each shape
//   npm run test:thorough -- exhaustive   all of them
import { assert, suite } from "../support/harness.ts";
import { isThorough, share } from "../support/thorough.ts";
import { type Busy, busyVolume } from "./busy_cp.ts";
import { at, nameOf } from "./crash_scheme.ts";
import {
  crashPointsOf,
  loseTooMany,
  loseWhileRunning,
  lossesOf,
  openWithout,
  openWithTooFew,
} from "./loss_cases.ts";
import { describeLosses, LOSS_MODES, membersOf, namesOf, type Part, setsOf } from "./losses.ts";
import type { Shape } from "./volumes.ts";

export const deadlineMs = 1_800_000;

const SHAPES: readonly Shape[] = [
  { data: 3, parity: 1 },
  { data: 1, parity: 1 },
  { data: 2, parity: 1, spares: 1 },
  { data: 2, parity: 2 },
  { data: 1, parity: 2 },
  { data: 4, parity: 2 },
  { data: 1, parity: 3 },
  { data: 3, parity: 3 },
];
const LOG_COPIES = 2;
/** What is said when too few members are left. */
const CODES = ["ERR_TOO_FEW_MEMBERS", "ERR_NO_MEMBERS", "ERR_UNRECOVERABLE", "ERR_MEMBERS_STALE"];
/** Files of another volume are refused whatever else is there; so they are not among the ways to lose too many. */
const MODES_BEYOND = LOSS_MODES.filter((mode) => mode !== "foreign");

const total = { running: 0, crash: 0, runningBeyond: 0, crashBeyond: 0, refused: 0 };
const MINIMUM = isThorough
  ? { running: 3000, crash: 10_000, runningBeyond: 500, crashBeyond: 2000 }
  : { running: 16, crash: 24, runningBeyond: 4, crashBeyond: 8 };

function exactly(parts: readonly Part[], count: number): (readonly Part[])[] {
  return setsOf(parts, count).filter((set) => set.length === count);
}

function runningCases({ events }: Busy, sets: readonly (readonly Part[])[]) {
  const all = Array.from({ length: events }, (_, i) => sets.map((lost) => ({ event: i + 1, lost })));
  return all.flat();
}

const test = suite("exhaustive: lost members");

for (const shape of share(SHAPES, 4)) {
  const { data, parity, spares = 0 } = shape;
  const name = `${data}+${parity}${spares > 0 ? `, ${spares} spare` : ""}`;
  let busy: Busy;
  let members: Part[];

  test(`${name}: a volume at its consistency point`, async () => {
    busy = await busyVolume(shape, LOG_COPIES, "wide");
    members = membersOf(busy.config);
    assert.ok(busy.events > 20, `${busy.events} events`);
  });

  test(`${name}: up to ${parity} die at an event`, async () => {
    for (const lossCase of share(runningCases(busy, setsOf(members, parity)), 5)) {
      total.running += 1;
      const where = `${busy.name}: ${namesOf(lossCase.lost)} at event ${lossCase.event}`;
      await at(where, () => loseWhileRunning(busy, lossCase));
    }
  });

  test(`${name}: ${parity + 1} die at an event`, async () => {
    for (const lossCase of share(runningCases(busy, exactly(members, parity + 1)), 2)) {
      total.runningBeyond += 1;
      const where = `${busy.name}: ${namesOf(lossCase.lost)} at event ${lossCase.event}`;
      const hasFailed = await at(where, () => loseTooMany(busy, lossCase, CODES));
      assert.ok(hasFailed || spares > 0, `${where}: the volume goes on`);
    }
  });

  test(`${name}: a crash, then up to ${parity} are lost`, async () => {
    const cases = (await crashPointsOf(busy)).flatMap((point) => {
      return setsOf(members, parity).flatMap((lost) => {
        return LOSS_MODES.map((_, mode) => ({
          point,
          losses: lossesOf(lost, LOSS_MODES, mode, point.event),
        }));
      });
    });
    for (const crashCase of share(cases, 8)) {
      total.crash += 1;
      const where = `${busy.name}: ${nameOf(crashCase.point)}, then ${describeLosses(crashCase.losses)}`;
      await at(where, () => openWithout(busy, crashCase, "ERR_MEMBERS_FOREIGN"));
    }
  });

  test(`${name}: a crash, then ${parity + 1} are lost`, async () => {
    const cases = (await crashPointsOf(busy)).flatMap((point) => {
      return exactly(members, parity + 1).map((lost, mode) => {
        return { point, losses: lossesOf(lost, MODES_BEYOND, mode + point.event, point.event) };
      });
    });
    for (const crashCase of share(cases, 3)) {
      total.crashBeyond += 1;
      const where = `${busy.name}: ${nameOf(crashCase.point)}, then ${describeLosses(crashCase.losses)}`;
      await at(where, async () => {
        if (await openWithTooFew(busy, crashCase, CODES)) total.refused += 1;
      });
    }
  });
}

test("as many cases as there should be", () => {
  console.log(`    ${JSON.stringify(total)}`);
  for (const kind of ["running", "crash", "runningBeyond", "crashBeyond"] as const)
    assert.ok(total[kind] >= MINIMUM[kind], `${kind}: ${total[kind]} cases`);
});

test.run();
