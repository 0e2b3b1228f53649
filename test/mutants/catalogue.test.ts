// The catalogue of planted bugs itself: each still applies to the engine as it is, changes something, transpiles, and
// names killers that exist; and together they go against every failure rule and every claim. Whether they are noticed
// takes longer: `npm run mutants`.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { assert, suite } from "../support/harness.ts";
import { projectRoot } from "../support/sources.ts";
import { CATALOGUE } from "./catalogue.ts";
import type { Rule } from "./mutant.ts";
import { mutatedSource, transpileAll } from "./transpile.ts";

const test = suite("the catalogue of mutants");

/** 5.18 and later do not exist; snapshots' rules of layout are not built. */
const RULES: readonly Rule[] = [
  ...Array.from({ length: 17 }, (_, i) => `5.${i + 1}` as Rule),
  ...(["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"] as const),
];

test("every mutant applies exactly once, and changes something", () => {
  for (const mutant of CATALOGUE) {
    assert.not.equal(mutant.original, mutant.replacement, mutant.name);
    mutatedSource(mutant);
  }
});

test("names are used once", () => {
  assert.is(new Set(CATALOGUE.map(({ name }) => name)).size, CATALOGUE.length);
  const places = CATALOGUE.map(({ file, original, replacement }) => `${file} ${original} ${replacement}`);
  assert.is(new Set(places).size, CATALOGUE.length);
});

test("killers are test files", () => {
  for (const { name, killers } of CATALOGUE) {
    assert.ok(killers.length > 0, name);
    for (const killer of killers) {
      assert.ok(existsSync(join(projectRoot, "test", `${killer}.test.ts`)), `${name}: ${killer}`);
    }
  }
});

test("every failure rule and every claim has a mutant that breaks it", () => {
  const broken = new Set(CATALOGUE.flatMap(({ rules }) => rules));
  assert.equal(
    RULES.filter((rule) => !broken.has(rule)),
    [],
  );
});

test("every mutant transpiles", () => {
  for (const [name, javaScript] of transpileAll(CATALOGUE)) assert.ok(javaScript.length > 0, name);
});

test.run();
