// Two histories of generations, compared. A history is the list of every generation that a volume went
// through, oldest first: number, random id, and the position from which it went on.
//
//   a: 1 x@0, 2 y@70          b: 1 x@0                 b is a prefix: a is newer, from 70 on
//   a: 1 x@0, 2 y@70          b: 1 x@0, 2 z@68         the same number with another id: diverged
//
// A superblock keeps the newest 64 generations only, so they are matched by number. Histories that share no
// number cannot be compared, which counts as diverged.

import type { GenerationRecord, LogPosition } from "./port.ts";

export type Relation =
  | { readonly kind: "equal" }
  /** Ours goes on with `next` where theirs ends. */
  | { readonly kind: "newer"; readonly next: GenerationRecord }
  /** Theirs goes on with `next` where ours ends. */
  | { readonly kind: "older"; readonly next: GenerationRecord }
  | { readonly kind: "diverged"; readonly reason: string };

export function compareHistories(
  ours: readonly GenerationRecord[],
  theirs: readonly GenerationRecord[],
): Relation {
  if (ours.length === 0 || theirs.length === 0) return diverged("a history is empty");
  const base = Math.max(ours[0]!.number, theirs[0]!.number);
  const a = ours.filter((record) => record.number >= base);
  const b = theirs.filter((record) => record.number >= base);
  const common = Math.min(a.length, b.length);
  if (common === 0) return diverged("they share no generation");
  for (let index = 0; index < common; index++) {
    if (!isSame(a[index]!, b[index]!)) return diverged(describeDifference(a[index]!, b[index]!));
  }
  if (a.length > common) return { kind: "newer", next: a[common]! };
  if (b.length > common) return { kind: "older", next: b[common]! };
  return { kind: "equal" };
}

/** The present generation. */
export function newestOf(history: readonly GenerationRecord[]): GenerationRecord {
  return history[history.length - 1]!;
}

/** Whether a history, as it came from a peer, can be one at all. */
export function isHistory(history: readonly GenerationRecord[]): boolean {
  return history.every((record, index) => {
    const before = history[index - 1];
    return (
      before === undefined ||
      (record.number === before.number + 1 && record.startSequence >= before.startSequence)
    );
  });
}

export function describeGeneration(record: GenerationRecord): string {
  return `generation ${record.number} (${record.id.toString(16)}) from sequence ${record.startSequence} on`;
}

/** What a fenced volume has beyond the start of the newer generation; empty if nothing. */
export function describeFork(by: GenerationRecord, tail: LogPosition): string {
  if (tail.sequence <= by.startSequence) return "";
  return `; entries ${by.startSequence + 1} to ${tail.sequence} are a fork, kept in the log`;
}

function isSame(a: GenerationRecord, b: GenerationRecord): boolean {
  return (
    a.number === b.number &&
    a.id === b.id &&
    a.startSequence === b.startSequence &&
    a.startChain === b.startChain
  );
}

function diverged(reason: string): Relation {
  return { kind: "diverged", reason };
}

function describeDifference(a: GenerationRecord, b: GenerationRecord): string {
  return `here ${describeGeneration(a)}, there ${describeGeneration(b)}`;
}
