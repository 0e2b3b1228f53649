// The dirty index against the plainest model: of everything that touched a block, the highest sequence counts, in
// whatever order the entries became visible.
import { DirtyIndex } from "../../src/volume/dirty_index.ts";
import { assert, suite } from "../support/harness.ts";
import { randomFrom } from "./fixture.ts";

const test = suite("dirty index");
const BLOCKS = 40;
const hashOf = (sequence: number) => Uint32Array.of(sequence, 1, 2, 3);

function kindAt(index: DirtyIndex, lba: number): string {
  const found = index.find(lba);
  if (found === null) return "nothing";
  return found.kind === "trim" ? "trim" : `block of ${index.hashes[found.slot * 4]}`;
}

test("an older block never replaces a newer one", () => {
  const index = new DirtyIndex();
  index.putBlock(3, 7, 70, hashOf(7), 0);
  index.putBlock(3, 5, 50, hashOf(5), 0);
  assert.is(kindAt(index, 3), "block of 7");
  assert.is(index.sequenceOf(3), 7);
  index.putBlock(3, 9, 90, hashOf(9), 0);
  assert.is(kindAt(index, 3), "block of 9");
});

test("an older trim never takes the place of a newer one, although it is longer", () => {
  const index = new DirtyIndex();
  index.putTrim(10, 5, 8);
  index.putTrim(5, 20, 4);
  // Written between the two: newer than the long one, older than the short one.
  for (const lba of [7, 12, 20]) index.putBlock(lba, 6, 0, hashOf(6), 0);
  assert.equal(
    [5, 7, 12, 20, 24, 25].map((lba) => kindAt(index, lba)),
    ["trim", "block of 6", "trim", "block of 6", "trim", "nothing"],
  );
  const { lbas, trims } = index.toCpData(1, { sequence: 9, chain: 0n }, 1);
  assert.equal([...lbas], [7, 20], "no block that a newer trim covers");
  assert.equal(trims, [{ lba: 5, count: 20 }]);
});

test("blocks and trims in any order: the highest sequence counts for each block", () => {
  const random = randomFrom(17);
  for (let round = 0; round < 300; round++) {
    const index = new DirtyIndex();
    const newest = new Array<number>(BLOCKS).fill(0);
    const kinds = new Array<string>(BLOCKS).fill("nothing");
    const note = (lba: number, sequence: number, kind: string) => {
      if (sequence < newest[lba]!) return;
      newest[lba] = sequence;
      kinds[lba] = kind;
    };
    const sequences = Array.from({ length: 1 + random(24) }, (_, i) => i + 1);
    while (sequences.length > 0) {
      const sequence = sequences.splice(random(sequences.length), 1)[0]!;
      const lba = random(BLOCKS);
      const count = 1 + random(BLOCKS - lba);
      if (random(2) === 0) {
        index.putBlock(lba, sequence, 0, hashOf(sequence), 0);
        note(lba, sequence, `block of ${sequence}`);
      } else {
        index.putTrim(lba, count, sequence);
        for (let at = lba; at < lba + count; at++) note(at, sequence, "trim");
      }
    }
    for (let lba = 0; lba < BLOCKS; lba++) {
      assert.is(kindAt(index, lba), kinds[lba], `round ${round}, block ${lba}`);
      assert.is(index.sequenceOf(lba), newest[lba], `round ${round}, block ${lba}`);
    }
    const { lbas } = index.toCpData(1, { sequence: 99, chain: 0n }, 1);
    const blocks = kinds.flatMap((kind, lba) => (kind.startsWith("block") ? [lba] : []));
    assert.equal([...lbas], blocks, `round ${round}`);
  }
});

test.run();
