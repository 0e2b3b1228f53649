// A transaction's view of the segments: what it may take, and what it gives back.
import type { SegmentGeometry } from "../../src/raid/geometry.ts";
import { SegmentLedger } from "../../src/volume/segment_ledger.ts";
import { SegmentTable } from "../../src/volume/segments.ts";
import { assert, suite } from "../support/harness.ts";
import { makeKernel } from "./fixture.ts";

const test = suite("segment ledger");
const ALL = 0b1111;
const STRIPES = 32;

/** Segments with so many live blocks each; null: empty. */
function ledgerOver(lives: readonly (number | null)[], quarantined: readonly number[] = []): SegmentLedger {
  const table = new SegmentTable(makeKernel(), new Uint8Array(16).fill(1), lives.length);
  const geometry: SegmentGeometry = { k: 3, m: 1, members: ALL };
  for (const [segment, live] of lives.entries()) {
    if (live !== null) table.set(segment, { used: true, geometry, written: STRIPES, live });
  }
  const options = { table, wanted: { k: 3, m: 1 }, segmentStripes: STRIPES };
  return new SegmentLedger(
    { ...options, quarantined: new Map(quarantined.map((segment) => [segment, geometry])) },
    null,
  );
}

test("a segment that lost its last block is not taken by the same commit: the old image still needs it", () => {
  const ledger = ledgerOver([2, 5, null]);
  ledger.addLive(0, -2);
  assert.is(ledger.emptyCount(), 1);
  assert.is(ledger.openSegment(ALL), 2);
  ledger.advance(2, STRIPES);
  assert.is(ledger.openSegment(ALL), null, "there is no other one");
  assert.equal(ledger.settle().emptied.sort(), [0, 2]);
});

test("a segment that a reader may look at is not taken", () => {
  const ledger = ledgerOver([null, null], [0]);
  assert.is(ledger.openSegment(ALL), 1);
  ledger.advance(1, STRIPES);
  assert.is(ledger.openSegment(ALL), null);
});

test("the open segment is filled as long as it fits the living members", () => {
  const ledger = ledgerOver([null, null, null]);
  assert.is(ledger.openSegment(ALL), 0);
  ledger.addLive(0, 3);
  ledger.advance(0, 1);
  assert.is(ledger.openSegment(ALL), 0);
  assert.is(ledger.openSegment(0b0111), 1, "a member was lost");
  assert.equal(ledger.get(1).geometry, { k: 2, m: 1, members: 0b0111 });
});

test.run();
