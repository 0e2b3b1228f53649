// A fuzz target: one parser (or one whole part that is fed by strangers), and what must hold for any input.
//
// The property is the same everywhere:
//   - no crash: what is refused is refused with a MirrorvolError, and never with ERR_ASSERTION, which is for
//     what the programmer promised;
//   - no silent acceptance: what is accepted is encoded again to the same bytes, or an oracle of a few lines
//     that shares no code with the parser agrees;
//   - no hang and no unbounded memory: the fuzzer watches the time and the memory that an input takes.
//
// An input is always a piece of bytes; text targets decode it, targets with a whole machine behind them read
// it as a script. So there is one mutator, one shrinker and one format of the corpus.

import { MirrorvolError } from "../../src/kernel/errors.ts";

/** "accepted", or what the refusal says without its numbers: a new text is as good as new code reached. */
export type Verdict = string;

export const ACCEPTED: Verdict = "accepted";

export interface Target {
  readonly name: string;
  /** Longest input that the mutator makes. */
  readonly bytesMax: number;
  /** Fresh inputs in every `npm test`. */
  readonly share: number;
  /** Inputs between two looks at coverage and memory: many for a quick parser, few for a whole machine. */
  readonly batch?: number;
  /** Pieces of the format that chance would not find: magics, keywords. */
  readonly words?: readonly Uint8Array[];
  /** Well-formed inputs to begin with. */
  seeds(): readonly Uint8Array[] | Promise<readonly Uint8Array[]>;
  /** Puts right what a mutation breaks and chance never mends: checksums, magics. */
  seal?(input: Uint8Array): Uint8Array;
  /** Throws when the property does not hold. */
  check(input: Uint8Array): Verdict | Promise<Verdict>;
}

/** The verdict for an error that the world may cause; throws any other. */
export function refusal(error: unknown, codes?: readonly string[]): Verdict {
  const isOurs = error instanceof MirrorvolError && error.code !== "ERR_ASSERTION";
  if (!isOurs || (codes !== undefined && !codes.includes(error.code))) throw error;
  return `${error.code}: ${shapeOf(error.message)}`;
}

/** For texts that repeat much of the input: the code alone tells what is new. */
export function refusalCode(error: unknown, code: string): Verdict {
  refusal(error, [code]);
  return code;
}

/** A text without what an input puts into it: numbers, and what stands in quotation marks. */
export function shapeOf(text: string): string {
  return text
    .slice(0, 200)
    .replace(/"[^"]*"|'[^']*'/g, "@")
    .replace(/[0-9a-f]*\d[0-9a-f]*/g, "#")
    .slice(0, 80);
}

/** The property of a codec whose format has one encoding for each value. */
export function expectSameBytes(actual: Uint8Array, input: Uint8Array, what: string): void {
  if (actual.length !== input.length) {
    throw new Error(`${what}: accepted ${input.length} bytes, encodes to ${actual.length}`);
  }
  const at = actual.findIndex((byte, index) => byte !== input[index]);
  if (at >= 0) throw new Error(`${what}: byte ${at} was accepted as ${input[at]}, but means ${actual[at]}`);
}

export function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export function bytesOfText(text: string): Uint8Array {
  return encoder.encode(text);
}

/** What is no UTF-8 becomes replacement characters: a text target is fuzzed with every text. */
export function textOfBytes(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** `input`, cut or filled with zeros to `length`: fixed records keep their zeros out of the corpus. */
export function padded(input: Uint8Array, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set(input.subarray(0, length));
  return bytes;
}

/** Without the zeros at its end. */
export function trimmed(bytes: Uint8Array): Uint8Array {
  let length = bytes.length;
  while (length > 0 && bytes[length - 1] === 0) length -= 1;
  return bytes.slice(0, length);
}
