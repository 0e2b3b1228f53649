// The decision, tried on every small world: a source and a mirror that share a past, may have branched, may
// have lost the ends or the beginnings of their logs. What is right is computed here from the real lists of
// entries, which the function never sees.

import { type Decision, decide, type Local } from "../../src/replication/decide.ts";
import { compareHistories, isHistory } from "../../src/replication/history.ts";
import type { MirrorState } from "../../src/replication/messages.ts";
import type { GenerationRecord } from "../../src/replication/port.ts";
import { assert, suite } from "../support/harness.ts";

const test = suite("decide");
const ID = new Uint8Array(16).fill(1);
const ROOT = new Uint8Array(16).fill(2);
const G1 = { number: 1, id: 11n, startSequence: 0, startChain: 0n };

/** A log as the chain of each of its entries; the chain of entry s is entries[s - 1]. */
type Entries = readonly bigint[];

interface World {
  readonly source: Entries;
  readonly mirror: Entries;
  /** The source's log holds what follows this sequence; the mirror's likewise. */
  readonly sourceFrom: number;
  readonly mirrorFrom: number;
  /** Where the source started its second generation, or null. */
  readonly branch: number | null;
  readonly requiredThrough: number;
  readonly sourceDurableThrough: number;
  readonly hasServed: boolean;
}

const chainOf = (entries: Entries, sequence: number) => (sequence === 0 ? 0n : entries[sequence - 1]!);
const heldChain = (entries: Entries, from: number, sequence: number) =>
  sequence < from || sequence > entries.length ? null : chainOf(entries, sequence);

function historyOf(world: World): GenerationRecord[] {
  if (world.branch === null) return [G1];
  const startChain = chainOf(world.source, world.branch);
  return [G1, { number: 2, id: 12n, startSequence: world.branch, startChain }];
}

function sideOf(entries: Entries, history: readonly GenerationRecord[]) {
  const sequence = entries.length;
  return {
    sizeBlocks: 64,
    halfBytes: 4096,
    history,
    tail: { sequence, chain: chainOf(entries, sequence) },
    durable: sequence,
    cp: 0,
    root: ROOT,
    inSync: true,
    everInSync: true,
  };
}

const localOf = (world: World): Local => ({
  ...sideOf(world.source, historyOf(world)),
  volumeId: ID,
  role: "source",
  requiredThrough: world.requiredThrough,
  hasServed: world.hasServed,
  chainAtTheirTail: heldChain(world.source, world.sourceFrom, world.mirror.length),
});

const remoteOf = (world: World): MirrorState => ({
  ...sideOf(world.mirror, [G1]),
  volumeId: new Uint8Array(16),
  role: "mirror",
  boundTo: ID,
  requiredThrough: 0,
  sourceDurableThrough: world.sourceDurableThrough,
  seals: [],
});

/** Asks as often as the function wants, as a source does; a second question for the same is a fault. */
function resolve(local: Local, remote: MirrorState, chainAt: (sequence: number) => bigint | null): Decision {
  const chains = new Map<number, bigint | null>();
  for (;;) {
    const decision = decide(local, remote, chains);
    if (decision.kind !== "ask") return decision;
    assert.not.ok(chains.has(decision.sequence), "asked twice");
    chains.set(decision.sequence, chainAt(decision.sequence));
  }
}

const resolveWorld = (world: World) =>
  resolve(localOf(world), remoteOf(world), (sequence) => heldChain(world.mirror, world.mirrorFrom, sequence));

const DEPTH = 3;
const upTo = (max: number) => Array.from({ length: max + 1 }, (_, index) => index);

/** `shared` entries that both have, then `own` with another mark. */
const entriesOf = (shared: number, own: number, mark: bigint): Entries => [
  ...upTo(shared).slice(1).map(BigInt),
  ...upTo(own)
    .slice(1)
    .map((index) => mark + BigInt(index)),
];

function* worlds(): Generator<World> {
  for (const shared of upTo(DEPTH))
    for (const sourceOwn of upTo(2))
      for (const mirrorOwn of upTo(2)) {
        const source = entriesOf(shared, sourceOwn, 100n);
        const mirror = entriesOf(shared, mirrorOwn, 200n);
        if (mirror.length === 0) continue;
        for (const branch of [null, ...upTo(source.length)])
          for (const sourceFrom of upTo(source.length))
            for (const mirrorFrom of upTo(mirror.length))
              for (const requiredThrough of [0, source.length + 1])
                for (const sourceDurableThrough of upTo(mirror.length))
                  for (const hasServed of [false, true])
                    yield {
                      source,
                      mirror,
                      branch,
                      sourceFrom,
                      mirrorFrom,
                      requiredThrough,
                      sourceDurableThrough,
                      hasServed,
                    };
      }
}

/** The first sequences on which both agree. */
function agreed(a: Entries, b: Entries): number {
  let count = 0;
  while (count < a.length && count < b.length && a[count] === b[count]) count++;
  return count;
}

function check(world: World, decision: Decision): void {
  const { source, mirror } = world;
  const common = agreed(source, mirror);
  const isMirrorOnChain = common === mirror.length;
  const lostKnown = Math.max(world.requiredThrough, world.sourceDurableThrough) > source.length;
  if (decision.kind === "forward") {
    assert.ok(isMirrorOnChain, "forwarded onto another chain");
    assert.ok(mirror.length >= world.sourceFrom, "forwarded what the log no longer holds");
    assert.not.ok(lostKnown, "serves without what was durable");
  }
  if (decision.kind === "adopt") {
    assert.ok(common === source.length && mirror.length > source.length, "adopted another chain");
    assert.ok(mirror.length >= Math.max(world.requiredThrough, world.sourceDurableThrough));
    assert.is(decision.through, mirror.length);
    assert.not.ok(world.hasServed, "put entries under what was served");
    assert.is(world.branch, null);
  }
  if (decision.kind === "image") {
    assert.not.ok(lostKnown, "overwrites the mirror without what was durable");
    // Whatever the source was known to have made durable stays: only the rest may be overwritten.
    if (world.branch !== null) assert.ok(world.sourceDurableThrough <= world.branch);
  }
  if (decision.kind === "lost") assert.ok(lostKnown || world.mirrorFrom > source.length);
  if (decision.kind === "diverged") {
    const isBranchKnown = world.branch !== null && world.sourceDurableThrough > world.branch;
    assert.ok(!isMirrorOnChain || isBranchKnown, "diverged without a difference");
  }
}

test("in every small world the decision loses nothing that was acknowledged", () => {
  const seen = new Map<string, number>();
  for (const world of worlds()) {
    const decision = resolveWorld(world);
    seen.set(decision.kind, (seen.get(decision.kind) ?? 0) + 1);
    try {
      check(world, decision);
    } catch (error) {
      throw new Error(`${JSON.stringify(decision)} in ${describe(world)}`, { cause: error });
    }
  }
  for (const kind of ["forward", "adopt", "image", "lost", "diverged"]) {
    assert.ok((seen.get(kind) ?? 0) > 50, `${kind} was decided ${seen.get(kind)} times`);
  }
});

const describe = (world: World) =>
  JSON.stringify(world, (_, value) => (typeof value === "bigint" ? `${value}n` : value));

test("a mirror on our chain whose follow-up the log holds is always forwarded to", () => {
  for (const world of worlds()) {
    const isOnChain = agreed(world.source, world.mirror) === world.mirror.length;
    const isHeld = world.mirror.length >= world.sourceFrom && world.mirror.length <= world.source.length;
    const isKnownDurable = world.sourceDurableThrough <= (world.branch ?? DEPTH);
    const fits = world.branch === null || world.mirror.length <= world.branch;
    if (isOnChain && isHeld && isKnownDurable && fits && world.requiredThrough === 0) {
      assert.is(resolveWorld(world).kind, "forward");
    }
  }
});

const base: World = {
  source: entriesOf(3, 0, 0n),
  mirror: entriesOf(3, 0, 0n),
  sourceFrom: 0,
  mirrorFrom: 0,
  branch: null,
  requiredThrough: 0,
  sourceDurableThrough: 0,
  hasServed: false,
};
const decideWith = (local: Partial<Local>, remote: Partial<MirrorState>) =>
  resolve({ ...localOf(base), ...local }, { ...remoteOf(base), ...remote }, () => null);
const nothing = { sequence: 0, chain: 0n };

test("a blank mirror gets an image, but not from a source that lost entries", () => {
  const blank = { boundTo: null, tail: nothing, history: [{ ...G1, id: 99n }] };
  assert.is(decideWith({}, blank).kind, "image");
  assert.is(decideWith({ requiredThrough: 4 }, blank).kind, "lost");
});

test("a volume that was a source before is not blank, although it is bound to nobody", () => {
  const decision = decideWith({}, { boundTo: null, history: [{ ...G1, id: 99n }] });
  assert.is(decision.kind, "diverged");
});

test("a promoted mirror fences, whatever its positions are", () => {
  const next = { number: 2, id: 5n, startSequence: 2, startChain: 2n };
  for (const role of ["source", "mirror"] as const) {
    const decision = decideWith({}, { role, history: [G1, next] });
    assert.equal(decision, { kind: "fenced", by: next });
  }
});

test("another history, role, size, log or owner is refused", () => {
  const kind = (remote: Partial<MirrorState>) => decideWith({}, remote);
  assert.is(kind({ history: [{ ...G1, id: 12n }] }).kind, "diverged");
  const codes: [Partial<MirrorState>, string][] = [
    [{ role: "source" }, "ERR_NOT_A_MIRROR"],
    [{ sizeBlocks: 63 }, "ERR_SIZE_DIFFERS"],
    [{ halfBytes: 4095 }, "ERR_MIRROR_LOG_SMALL"],
    [{ boundTo: new Uint8Array(16).fill(9) }, "ERR_NOT_BOUND"],
  ];
  for (const [remote, code] of codes) {
    const decision = kind(remote);
    assert.is(decision.kind === "refused" && decision.code, code);
  }
});

test("two images of the same consistency point with different roots are compared again", () => {
  const other = new Uint8Array(16).fill(3);
  assert.is(decideWith({ cp: 5 }, { cp: 5, root: other }).kind, "image");
  assert.is(decideWith({ cp: 5 }, { cp: 4, root: other }).kind, "forward");
});

test("histories are matched by number, and truncated ones too", () => {
  const a = upTo(5).map((n) => ({ number: n + 1, id: BigInt(n), startSequence: n * 10, startChain: 0n }));
  assert.equal(compareHistories(a, a).kind, "equal");
  assert.equal(compareHistories(a, a.slice(2)).kind, "equal");
  assert.equal(compareHistories(a, a.slice(0, 4)), { kind: "newer", next: a[4] });
  assert.equal(compareHistories(a.slice(1, 3), a), { kind: "older", next: a[3] });
  const other = a.map((record) => (record.number === 4 ? { ...record, id: 77n } : record));
  assert.is(compareHistories(a, other).kind, "diverged");
  const moved = a.map((record) => (record.number === 4 ? { ...record, startSequence: 31 } : record));
  assert.is(compareHistories(a, moved).kind, "diverged");
  assert.is(compareHistories(a.slice(0, 2), a.slice(3)).kind, "diverged");
  assert.is(compareHistories(a, []).kind, "diverged");
});

test("a list that is no history is known as such", () => {
  assert.ok(isHistory([G1, { ...G1, number: 2 }]));
  assert.not.ok(isHistory([G1, { ...G1, number: 3 }]));
  assert.not.ok(
    isHistory([
      { ...G1, startSequence: 5 },
      { ...G1, number: 2, startSequence: 4 },
    ]),
  );
});

test.run();
