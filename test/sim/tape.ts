// The tape: every choice of a history, in the order in which it was made.
//
// A history has two streams of choices. *plan* says what happens (clients' operations, faults, crashes, how far
// the world runs between them); *timing* says how long each operation of a disk and each packet takes. A new
// tape draws its choices from a seed and records them. A replayed tape gives them back, and zeros behind its
// end; every choice is made so that zero means the simplest thing (no fault, the usual delay, stop). That is what
// makes shrinking work: a tape with a part cut out, or a number made smaller, is a history of its own.
//
// As text: the choices of both streams as base64url of varints, runs of zeros counted, with a dot between.

import { SeededRandom } from "../support/memory_random.ts";

/** A part of the plan that belongs together, such as one step: [start, end) of its choices. */
export interface Span {
  readonly start: number;
  end: number;
}

export class Choices {
  /** What was chosen so far. */
  readonly taken: number[] = [];
  readonly spans: Span[] = [];
  readonly #given: readonly number[] | null;
  readonly #random: SeededRandom | null;

  constructor(source: readonly number[] | SeededRandom) {
    this.#given = source instanceof SeededRandom ? null : source;
    this.#random = source instanceof SeededRandom ? source : null;
  }

  /** A replayed tape has given all it had. */
  get isOver(): boolean {
    return this.#given !== null && this.taken.length >= this.#given.length;
  }

  /** A whole number from 0 to limit - 1. */
  below(limit: number): number {
    const value = this.#given ? (this.#given[this.taken.length] ?? 0) : this.#random!.below(limit);
    const chosen = value < limit ? value : limit - 1;
    this.taken.push(chosen);
    return chosen;
  }

  /** True in about one of `of` cases; false is the simple one. */
  oneIn(of: number): boolean {
    return this.below(of) === of - 1;
  }

  /** False is the simple one. */
  chance(percent: number): boolean {
    return percent > 0 && this.below(100) >= 100 - percent;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  /** The index of a weight; the first one that is not zero is the simple one. */
  weighted(weights: readonly number[]): number {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let left = this.below(total);
    for (let index = 0; index < weights.length; index++) {
      left -= weights[index]!;
      if (left < 0) return index;
    }
    return weights.length - 1;
  }

  /** What is chosen within belongs together, for the shrinker. */
  async span<T>(action: () => Promise<T>): Promise<T> {
    const span: Span = { start: this.taken.length, end: this.taken.length };
    this.spans.push(span);
    try {
      return await action();
    } finally {
      span.end = this.taken.length;
    }
  }
}

export interface TapeContent {
  readonly plan: readonly number[];
  readonly timing: readonly number[];
}

export class Tape {
  readonly plan: Choices;
  readonly timing: Choices;

  static ofSeed(seed: number): Tape {
    return new Tape(new SeededRandom(seed * 2), new SeededRandom(seed * 2 + 1));
  }

  static replay(content: TapeContent): Tape {
    return new Tape(content.plan, content.timing);
  }

  private constructor(plan: readonly number[] | SeededRandom, timing: readonly number[] | SeededRandom) {
    this.plan = new Choices(plan);
    this.timing = new Choices(timing);
  }

  get content(): TapeContent {
    return { plan: this.plan.taken, timing: this.timing.taken };
  }
}

export function encodeTape({ plan, timing }: TapeContent): string {
  return `${encodeChoices(plan)}.${encodeChoices(timing)}`;
}

/** Throws an Error that says what is wrong with the text. */
export function decodeTape(text: string): TapeContent {
  const [plan, timing, ...more] = text.trim().split(".");
  if (plan === undefined || timing === undefined || more.length > 0) {
    throw new Error("a tape is two parts with a dot between");
  }
  return { plan: decodeChoices(plan), timing: decodeChoices(timing) };
}

/** 0 n: n zeros; otherwise a choice. Zeros at the end are left out. */
function encodeChoices(choices: readonly number[]): string {
  const bytes: number[] = [];
  let zeros = 0;
  for (const choice of choices) {
    if (choice === 0) {
      zeros += 1;
      continue;
    }
    if (zeros > 0) pushVarint(bytes, 0, zeros);
    zeros = 0;
    pushVarint(bytes, choice);
  }
  return Buffer.from(bytes).toString("base64url");
}

function pushVarint(bytes: number[], ...values: number[]): void {
  for (let value of values) {
    for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
    bytes.push(value);
  }
}

function decodeChoices(text: string): number[] {
  const bytes = Buffer.from(text, "base64url");
  const choices: number[] = [];
  let at = 0;
  const next = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("the tape ends in the middle of a number");
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const value = next();
    if (value > 0) choices.push(value);
    else for (let count = next(); count > 0; count--) choices.push(0);
  }
  return choices;
}
