// A mutant: a planted bug. One place in one file of the engine is replaced by text that breaks a promise of the design;
// the tests must notice. A mutant that nobody kills is a test that is missing.
//
// Rules for a mutant, so that a kill means something:
//   - it changes behaviour that was promised: no equivalent change, no mere loss of speed;
//   - it is one that a person could write: a sync left out, a check forgotten, two steps in the wrong order;
//   - it names the rule it breaks, and the test files that are likely to notice, the fast ones first;
//   - its original text occurs exactly once in its file. When the engine changes so that it does not, the catalogue's
//     own test is red until the mutant is written anew.

/** Of the design: a failure rule ("5.1" to "5.17"), a claim ("A" to "J"), or a rule of the layout ("4.1" ...). */
export type Rule =
  | `5.${number}`
  | `4.${number}`
  | `3.${string}`
  | "A"
  | "B"
  | "C"
  | "D"
  | "E"
  | "F"
  | "G"
  | "H"
  | "I"
  | "J";

export interface Mutant {
  readonly name: string;
  readonly rules: readonly Rule[];
  /** What it breaks, in words. */
  readonly promise: string;
  /** From the project's root; below src/ or assembly/. */
  readonly file: string;
  readonly original: string;
  readonly replacement: string;
  /** Test files that are likely to notice, as their paths below test/ without ".test.ts", the best one first. */
  readonly killers: readonly string[];
}

/** The file's text with the bug in it. Throws unless the original is there exactly once. */
export function plant(mutant: Mutant, text: string): string {
  const { name, file, original, replacement } = mutant;
  const pieces = text.split(original);
  if (pieces.length !== 2) {
    throw new Error(`mutant ${name}: its original text is ${pieces.length - 1} times in ${file}, not once`);
  }
  return pieces.join(replacement);
}

/** Those of assembly/ need the module built anew. */
export function isOfKernel({ file }: Mutant): boolean {
  return file.startsWith("assembly/");
}

/** The folder below src/, or "assembly". */
export function layerOf({ file }: Mutant): string {
  const [top, folder] = file.split("/");
  return top === "assembly" ? "assembly" : folder!;
}
