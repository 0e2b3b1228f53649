// What the benchmarks write: rows in their format, percentiles split by consistency points.

import { parseArguments } from "../../bench/support/arguments.ts";
import { faultOf, format, Recorder } from "../../bench/support/rows.ts";
import { emptySplit, isWithin, median, percentiles, Samples, sortInto } from "../../bench/support/samples.ts";
import { assert, suite } from "../support/harness.ts";

const test = suite("benchmark rows");

const ROW = { suite: "write", case: "floor", params: { depth: 1 }, metric: "rate", value: 2, unit: "1/s" };

test("a row has its keys and nothing else", () => {
  assert.is(faultOf(ROW), null);
  assert.match(faultOf({ ...ROW, note: "x" })!, /unknown key note/);
  assert.match(faultOf({ ...ROW, unit: "" })!, /unit/);
  assert.match(faultOf({ ...ROW, value: Number.NaN })!, /value/);
  assert.match(faultOf({ ...ROW, params: { nested: {} } })!, /parameter/);
  assert.match(faultOf({ ...ROW, params: [] })!, /params/);
  assert.match(faultOf(null)!, /object/);
});

test("a recorder adds what all of its rows have in common", () => {
  const shown: string[] = [];
  const recorder = new Recorder("write", { runtime: "node" }, false, (line) => shown.push(line));
  recorder.addAll("floor", { depth: 1 }, [
    ["rate", 2, "1/s"],
    ["p50", 3, "us"],
  ]);
  recorder.skip("peer", "it is missing");
  assert.equal(recorder.rows[0], { ...ROW, params: { runtime: "node", depth: 1 } });
  assert.is(recorder.rows.length, 2);
  assert.match(shown[0]!, /rate 2 1\/s, p50 3 us/);
  assert.match(shown[1]!, /peer +skipped: it is missing/);
  assert.throws(() => recorder.add("floor", {}, "rate", Number.POSITIVE_INFINITY, "1/s"), /value/);
});

test("figures have three digits", () => {
  assert.equal([0, 0.01234, 1.234, 12.34, 123.4, 12345].map(format), [
    "0",
    "0.0123",
    "1.23",
    "12.3",
    "123",
    "12,345",
  ]);
});

test("an operation belongs to a consistency point when any part of it does", () => {
  const intervals = [
    { startMs: 10, endMs: 20 },
    { startMs: 30, endMs: 40 },
  ];
  const at = (startMs: number, endMs: number) => isWithin(startMs, endMs, intervals);
  assert.equal([at(0, 10), at(20, 30), at(40, 50)], [false, false, false]);
  assert.equal([at(0, 11), at(19, 25), at(25, 31), at(39, 60), at(12, 13), at(0, 60)], Array(6).fill(true));
  assert.is(isWithin(0, 1, []), false);
});

test("percentiles are split, and nothing is counted twice", () => {
  const samples = new Samples();
  // More than the first arrays hold: they grow.
  for (let i = 0; i < 100_000; i++) samples.add(i, i + (i < 50_000 ? 1 : 4));
  const split = emptySplit();
  sortInto(split, samples, [{ startMs: 50_000, endMs: 200_000 }]);
  assert.is(split.all.count, 100_000);
  assert.is(split.during.count, 50_000);
  assert.is(split.between.count, 50_000);
  const p50 = (histogram: typeof split.all) => percentiles(histogram)[0]!;
  const isNear = ([name, us]: [string, number], expected: number) =>
    name === "p50" && Math.abs(us / expected - 1) < 0.01;
  assert.ok(isNear(p50(split.between), 1000));
  assert.ok(isNear(p50(split.during), 4000));
  assert.equal(percentiles(emptySplit().all), []);
});

test("medians", () => {
  assert.is(median([3, 1, 2]), 2);
  assert.is(median([4, 1, 2, 3]), 2.5);
});

test("arguments", () => {
  const known = ["write", "wire"];
  const parsed = parseArguments(["write", "--json", "file", "--quick"], known);
  assert.equal(parsed, { suites: ["write"], isQuick: true, jsonFile: "file", isSaved: false });
  assert.throws(() => parseArguments(["writ"], known), /there is no suite "writ"/);
  assert.throws(() => parseArguments(["--jso", "x"], known));
});

test.run();
