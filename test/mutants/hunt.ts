// The hunt for one mutant: the killers in their order until one is red.
//
//   1. the test files that it names      fast, and written for such a bug
//   2. the simulator                     up to so many histories
//   3. the other test files of its layer and of the layers above
//
// A kill is a kill only if the same thing is green without the mutant: a test file that turns red is run once in a tree
// without it (the first time that it turns red; that tells for the whole run), a seed is played there again. What is
// red there kills nothing, and is told at the end.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { layerOf, type Mutant } from "./mutant.ts";
import { hasSimulator, isSeedRed, runSim, runTest } from "./programs.ts";
import type { Tree } from "./tree.ts";

export interface Kill {
  readonly by: "test" | "simulator";
  /** The test file, or the seed. */
  readonly where: string;
  readonly what: string;
}

export interface Hunted {
  readonly mutant: Mutant;
  /** Null: it survived. */
  readonly kill: Kill | null;
  /** Histories that were played. */
  readonly seeds: number;
  readonly tests: number;
  readonly seconds: number;
  /** What said nothing: no end, or red without the mutant. */
  readonly notes: readonly string[];
}

export interface HuntOptions {
  /** 0: the simulator is left out. */
  readonly seeds: number;
  readonly firstSeed: number;
  /** Whether all other tests of the layer are tried in the end. */
  readonly isWide: boolean;
}

/** Folders of tests that may notice what is wrong in a layer. */
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  assembly: ["kernel", "raid", "log"],
  kernel: ["kernel", "raid", "log"],
  io: ["io", "log", "nbd"],
  log: ["log", "volume", "replication", "exhaustive"],
  raid: ["raid", "volume", "exhaustive"],
  volume: ["volume", "replication", "exhaustive"],
  replication: ["replication", "node", "exhaustive"],
  nbd: ["nbd"],
  node: ["node", "cli"],
};

/** Tells whether something is red in a tree without any mutant; each thing is run once. */
export class Baseline {
  readonly #tree: Tree;
  readonly #tests = new Map<string, Promise<boolean>>();
  #line: Promise<unknown> = Promise.resolve();

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  isTestGreen(name: string): Promise<boolean> {
    const known = this.#tests.get(name);
    if (known !== undefined) return known;
    const asked = this.#inLine(async () => (await runTest(this.#tree.path, name)).kind === "green");
    this.#tests.set(name, asked);
    return asked;
  }

  isSeedGreen(seed: number): Promise<boolean> {
    return this.#inLine(async () => !(await isSeedRed(this.#tree.path, seed)));
  }

  #inLine<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#line.then(work);
    this.#line = result.catch(() => {});
    return result;
  }
}

/** The mutant is planted in the tree already. */
export async function hunt(
  tree: Tree,
  mutant: Mutant,
  baseline: Baseline,
  options: HuntOptions,
): Promise<Hunted> {
  const startMs = performance.now();
  const hunt = new Hunt(tree, baseline);
  const kill =
    (await hunt.byTests(mutant.killers)) ??
    (await hunt.bySimulator(options)) ??
    (options.isWide ? await hunt.byTests(othersOf(tree, mutant)) : null);
  const { seeds, tests, notes } = hunt;
  return { mutant, kill, seeds, tests, notes, seconds: (performance.now() - startMs) / 1000 };
}

class Hunt {
  seeds = 0;
  tests = 0;
  readonly notes: string[] = [];
  readonly #tree: Tree;
  readonly #baseline: Baseline;

  constructor(tree: Tree, baseline: Baseline) {
    this.#tree = tree;
    this.#baseline = baseline;
  }

  async byTests(names: readonly string[]): Promise<Kill | null> {
    for (const name of names) {
      this.tests += 1;
      const { kind, what } = await runTest(this.#tree.path, name);
      if (kind === "green") continue;
      if (kind === "none") this.notes.push(`${name}: ${what}`);
      else if (await this.#baseline.isTestGreen(name)) return { by: "test", where: name, what };
      else this.notes.push(`${name} is red without a mutant`);
    }
    return null;
  }

  async bySimulator({ seeds, firstSeed }: HuntOptions): Promise<Kill | null> {
    if (seeds === 0 || !hasSimulator(this.#tree.path)) return null;
    for (let next = firstSeed; next < firstSeed + seeds; ) {
      const { kind, what, seed } = await runSim(this.#tree.path, next, firstSeed + seeds - next);
      if (kind === "green") break;
      if (kind === "none") {
        this.notes.push(what);
        return null;
      }
      if (await this.#baseline.isSeedGreen(seed)) {
        this.seeds = seed - firstSeed + 1;
        return { by: "simulator", where: `seed ${seed}`, what };
      }
      this.notes.push(`seed ${seed} is red without a mutant`);
      next = seed + 1;
    }
    this.seeds = seeds;
    return null;
  }
}

function othersOf(tree: Tree, mutant: Mutant): string[] {
  const names = (FOLDERS[layerOf(mutant)] ?? []).flatMap((folder) =>
    readdirSync(join(tree.path, "dist", "test", folder))
      .filter((file) => file.endsWith(".test.js"))
      .map((file) => `${folder}/${file.replace(/\.test\.js$/, "")}`),
  );
  return names.filter((name) => !mutant.killers.includes(name));
}
