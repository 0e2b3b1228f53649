// npm run bench -- [SUITE...] [--quick] [--json FILE] [--save]
//
// Without a suite all are run, one after the other, each in a process of its own.

import { parseArgs } from "node:util";

export interface Arguments {
  readonly suites: readonly string[];
  /** Rough figures in a short time. */
  readonly isQuick: boolean;
  /** Writes the rows there, as an array. */
  readonly jsonFile: string | null;
  /** Keeps the rows under bench/results, from where the report is made. */
  readonly isSaved: boolean;
}

export function parseArguments(args: readonly string[], known: readonly string[]): Arguments {
  const options = {
    quick: { type: "boolean" },
    save: { type: "boolean" },
    json: { type: "string" },
  } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const odd = positionals.find((name) => !known.includes(name));
  if (odd !== undefined) throw new Error(`there is no suite "${odd}"; there are ${known.join(", ")}`);
  return {
    suites: positionals,
    isQuick: values.quick ?? false,
    jsonFile: values.json ?? null,
    isSaved: values.save ?? false,
  };
}
