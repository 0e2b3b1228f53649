import fc from "fast-check";
import { Arena } from "../../src/kernel/arena.ts";
import { assert, suite } from "../support/harness.ts";

const PAGE = 4096;
const test = suite("arena");
const make = (pages: number) => new Arena(new ArrayBuffer((pages + 1) * PAGE), PAGE);
const code = (expected: string) => (error: unknown) => (error as { code?: string }).code === expected;
const isPending = async (promise: Promise<unknown>) =>
  (await Promise.race([promise, Promise.resolve("pending")])) === "pending";

test("behaves as a list of used ranges does, whatever the order of calls", () => {
  const operation = fc.oneof(
    fc.record({ allocate: fc.integer({ min: 1, max: 9 * PAGE }) }),
    fc.record({ free: fc.nat(100) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
      const arena = make(24);
      const pieces: Uint8Array[] = [];
      for (const each of operations) {
        if ("allocate" in each) tryAllocate(arena, pieces, each.allocate);
        else if (pieces.length > 0) arena.free(pieces.splice(each.free % pieces.length, 1)[0]!);
        checkDisjoint(arena, pieces, 24);
      }
      for (const piece of pieces) arena.free(piece);
      // Everything is joined again: one piece takes it all.
      assert.is(arena.allocate(24 * PAGE).byteOffset, PAGE);
    }),
  );
});

function tryAllocate(arena: Arena, pieces: Uint8Array[], bytes: number): void {
  try {
    const piece = arena.allocate(bytes);
    assert.is(piece.length, bytes);
    assert.is(piece.byteOffset % PAGE, 0);
    pieces.push(piece);
  } catch (error) {
    assert.ok(code("ERR_ARENA_FULL")(error));
    assert.not.ok(hasGap(pieces, Math.ceil(bytes / PAGE), 24), "a gap was large enough");
  }
}

const roomOf = (piece: Uint8Array) => Math.ceil(piece.length / PAGE);

function usedPages(pieces: Uint8Array[], pageCount: number): boolean[] {
  const used = new Array<boolean>(pageCount).fill(false);
  for (const piece of pieces) {
    const first = piece.byteOffset / PAGE - 1;
    for (let page = first; page < first + roomOf(piece); page++) {
      assert.not.ok(used[page], "two pieces overlap");
      used[page] = true;
    }
  }
  return used;
}

function checkDisjoint(arena: Arena, pieces: Uint8Array[], pageCount: number): void {
  const used = usedPages(pieces, pageCount).filter(Boolean).length;
  assert.is(arena.freeBytes, (pageCount - used) * PAGE);
}

function hasGap(pieces: Uint8Array[], pages: number, pageCount: number): boolean {
  let run = 0;
  for (const used of usedPages(pieces, pageCount)) {
    run = used ? 0 : run + 1;
    if (run >= pages) return true;
  }
  return false;
}

test("leases are served in order, and a small one does not overtake", async () => {
  const arena = make(4);
  const first = arena.allocate(3 * PAGE);
  const large = arena.lease(2 * PAGE);
  const small = arena.lease(PAGE);
  assert.ok(await isPending(large));
  assert.ok(await isPending(small), "the small one fits, but came later");
  arena.free(first);
  const served = await Promise.all([large, small]);
  assert.equal(
    served.map((view) => view.length),
    [2 * PAGE, PAGE],
  );
});

test("an aborted lease leaves the queue and lets the next one through", async () => {
  const arena = make(4);
  arena.allocate(3 * PAGE);
  const abort = new AbortController();
  const large = arena.lease(2 * PAGE, abort.signal);
  const small = arena.lease(PAGE);
  abort.abort(new Error("enough"));
  assert.is(await large.catch((error: Error) => error.message), "enough");
  assert.is((await small).length, PAGE);
});

test("what can never be had is refused at once", async () => {
  const arena = make(2);
  const error = await arena.lease(3 * PAGE).catch((thrown: unknown) => thrown);
  assert.ok(code("ERR_ARENA_FULL")(error));
});

test("the error says how much is free", () => {
  const arena = make(4);
  arena.allocate(PAGE);
  assert.throws(() => arena.allocate(4 * PAGE), /no room for 16384 bytes: 12288 of 16384 are free/);
});

test("freeing twice, or what is not ours, is refused", () => {
  const arena = make(2);
  const piece = arena.allocate(1);
  arena.free(piece);
  assert.throws(() => arena.free(piece), code("ERR_ASSERTION"));
  assert.throws(() => arena.free(new Uint8Array(PAGE)), code("ERR_ASSERTION"));
  assert.throws(() => arena.allocate(0), code("ERR_ASSERTION"));
});

test.run();
