// What histories must have met, counted. `npm run sim` prints the counters, and a run of three thousand histories or
// more fails when one of them is still zero: a simulator that never meets a case proves nothing about it.

export const SITUATIONS = [
  "crash in the middle of a CP",
  "crash during recovery",
  "crash during recovery after a crash during recovery",
  "crash while writes are under way",
  "crash of both sides at once",
  "crash of the mirror in the middle of a CP",
  "crash while the mirror catches up",
  "crash during the first sync",
  "crash during an image sync",
  "crash during a promotion",
  "crash right after a promotion",
  "orderly stop",
  "torn unsynced sectors",
  "unsynced writes dropped",
  "unsynced writes kept",
  "write error on a member",
  "write error on a log copy",
  "sync error on a member",
  "sync error on a log copy",
  "read error on a member",
  "lost write on a member",
  "misdirected write on a member",
  "misdirected read on a member",
  "no space on a member",
  "bit rot on a member",
  "bit rot on a log copy",
  "member gone at a start",
  "member blank at a start",
  "member stale at a start",
  "members swapped at a start",
  "log copy gone at a start",
  "log copy stale at a start",
  "more members damaged than parity",
  "stuck disk",
  "slow disk",
  "connection cut",
  "reconnect storm",
  "second session beside the first",
  "connection half-open",
  "one direction lost",
  "network down",
  "network dark",
  "slow network",
  "clock jumped",
  "write cancelled",
  "write in doubt",
  "alone and back in sync",
  "image sync",
  "promoted",
  "promoted in the middle of a CP",
  "promoted by force",
  "promotion refused",
  "both sides acknowledged after a split",
  "old source fenced",
  "diverged",
  "roles swapped after a failover",
  "in sync after a failover",
  "cleaner at work",
  "log half full",
  "every log half full",
  "unrecoverable read refused",
  "checked after a crash",
] as const;

export type Situation = (typeof SITUATIONS)[number];

export function isSituation(text: string): text is Situation {
  return (SITUATIONS as readonly string[]).includes(text);
}

export class Coverage {
  readonly counts = new Map<Situation, number>();

  met(situation: Situation): void {
    this.counts.set(situation, (this.counts.get(situation) ?? 0) + 1);
  }

  /** Each history counts once for each situation. */
  add(situations: Iterable<Situation>): void {
    for (const situation of new Set(situations)) this.met(situation);
  }

  get missing(): Situation[] {
    return SITUATIONS.filter((situation) => !this.counts.has(situation));
  }
}
