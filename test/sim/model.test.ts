// The checker itself: a model that lets everything pass would make every history green. Each rule of model.ts is
// broken here by a volume that answers wrong.

import { assert, suite } from "../support/harness.ts";
import { fill, Model, SECTOR_BYTES, type Write } from "./model.ts";

const test = suite("simulator's model");

const SECTORS = 4;
const ZEROS = new Uint8Array(SECTOR_BYTES);

/** A model, a clock that goes on with every call, and writes that are known by their numbers. */
class Bench {
  readonly model = new Model(SECTORS);
  readonly #writes: Write[] = [];
  #nowUs = 0;

  begin(id: number, how: { isZero?: boolean; isWeak?: boolean } = {}): this {
    this.#writes[id] = this.model.begin(0, 1, { id, ...how }, ++this.#nowUs);
    return this;
  }

  acknowledge(id: number, isSafe = true): this {
    this.model.acknowledge(this.#writes[id]!, 0, 1, ++this.#nowUs, isSafe);
    return this;
  }

  doubt(id: number): this {
    this.model.doubt(this.#writes[id]!, ++this.#nowUs);
    return this;
  }

  /** What is wrong with a read that gives that write; null: nothing. */
  sees(id: number, model = this.model): string | null {
    return model.observe(model.beginRead(0, 1, ++this.#nowUs), content(id), true);
  }

  /** The same, of who was promoted. */
  promotedSees(id: number, isForced = false): string | null {
    return this.sees(id, this.model.promoted(isForced));
  }
}

function content(id: number, sector = 0): Uint8Array {
  if (id === 0) return ZEROS;
  const bytes = new Uint8Array(SECTOR_BYTES);
  fill(bytes, sector, id);
  return bytes;
}

test("an acknowledged write is there, and nothing else", () => {
  const bench = new Bench().begin(1).acknowledge(1);
  assert.is(bench.sees(1), null);
  assert.match(bench.sees(0)!, /holds write 0; it may hold 1/);
  bench.begin(2).acknowledge(2);
  assert.match(bench.sees(1)!, /holds write 1; it may hold 2/);
});

test("a write that is under way may be seen or not", () => {
  assert.is(new Bench().begin(1).sees(0), null);
  assert.is(new Bench().begin(1).sees(1), null);
});

test("what was in doubt and is seen stays", () => {
  const bench = new Bench().begin(1).doubt(1);
  assert.is(bench.sees(1), null);
  assert.match(bench.sees(0)!, /it may hold 1/);
});

test("what was in doubt and is not seen never comes back", () => {
  const bench = new Bench().begin(1).doubt(1);
  assert.is(bench.sees(0), null);
  assert.match(bench.sees(1)!, /it may hold 0/);
});

test("of two writes at once either may be the last one", () => {
  assert.is(new Bench().begin(1).begin(2).acknowledge(2).acknowledge(1).sees(1), null);
  assert.is(new Bench().begin(1).begin(2).acknowledge(2).acknowledge(1).sees(2), null);
});

test("bytes that nobody wrote there are wrong", () => {
  const bench = new Bench().begin(1).acknowledge(1);
  const torn = content(1).slice();
  torn[100]! ^= 1;
  const read = () => bench.model.beginRead(0, 1, 100);
  assert.match(bench.model.observe(read(), torn, true)!, /nobody wrote/);
  assert.match(bench.model.observe(read(), content(1, 3), true)!, /nobody wrote/, "another sector's");
});

test("zeros that may be older than a trim say nothing about the trim", () => {
  const bench = new Bench().begin(1);
  const read = bench.model.beginRead(0, 1, 10);
  bench.acknowledge(1).begin(2, { isZero: true });
  assert.is(bench.model.observe(read, ZEROS, true), null);
  assert.is(bench.sees(1), null);
});

test("zeros after a trim, and only then", () => {
  const bench = new Bench().begin(1).acknowledge(1).begin(2, { isZero: true }).acknowledge(2);
  assert.match(bench.sees(1)!, /it may hold 2 \(zeros\)/);
  assert.is(bench.sees(0), null);
});

test("who was promoted has what was safe, and not less", () => {
  const bench = new Bench().begin(1).acknowledge(1);
  assert.is(bench.promotedSees(1), null);
  assert.match(bench.promotedSees(0)!, /it may hold 1/);
});

test("what the mirror had not confirmed, it may lack", () => {
  const bench = new Bench().begin(1).acknowledge(1, false);
  assert.is(bench.promotedSees(0), null);
  assert.is(bench.promotedSees(1), null);
  bench.model.everythingIsSafe();
  assert.match(bench.promotedSees(0)!, /it may hold 1/);
});

test("a read of what its client did not want on the mirror says nothing about the mirror", () => {
  const weak = new Bench().begin(1, { isWeak: true }).acknowledge(1, false);
  assert.is(weak.sees(1), null);
  assert.is(weak.promotedSees(0), null);
  const strong = new Bench().begin(1);
  assert.is(strong.sees(1), null);
  assert.match(strong.promotedSees(0)!, /it may hold 1/);
});

test("by force anything that was ever written is allowed, and what is read stays", () => {
  const bench = new Bench().begin(1).acknowledge(1).begin(2).acknowledge(2);
  const promoted = bench.model.promoted(true);
  assert.is(bench.sees(1, promoted), null);
  assert.match(bench.sees(2, promoted)!, /it may hold 1/);
});

test.run();
