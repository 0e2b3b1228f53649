// Which units to take for lost, when it is not known which ones lie.
//
// A unit that cannot be read is known to be lost. One that is silently wrong looks like any other, and spoils
// everything that is computed from it. But the wanted block brings its own hash: so whatever set of units is
// assumed to be wrong, a block that fits its hash proves the assumption. (A wrong unit among those used would
// have changed the result: every unit of a row counts in every other.) All sets that contain the known ones
// and have at most m members are tried, small ones first, because few faults are likelier than many:
//
//     k = 2, m = 2, unit 0 known:    {0}   {0,1} {0,2} {0,3}
//
// At most 1 + 17 + 136 sets (k = 15, m = 3, one known).

import { countOf } from "./geometry.ts";

/** All supersets of `known` with at most `countMax` of `unitCount` units, in order of size. */
export function* erasureSets(known: number, unitCount: number, countMax: number): Generator<number> {
  for (let extra = 0; extra <= countMax - countOf(known); extra++) {
    yield* extended(known, 0, unitCount, extra);
  }
}

function* extended(set: number, from: number, unitCount: number, extra: number): Generator<number> {
  if (extra === 0) {
    yield set;
    return;
  }
  for (let unit = from; unit < unitCount; unit++) {
    if (!(set & (1 << unit))) yield* extended(set | (1 << unit), unit + 1, unitCount, extra - 1);
  }
}
