// Shrinking: from a history that fails to a short one that fails too.
//
// A history is its tape, so only the tape is changed, in passes that are repeated until none helps or the time is
// over: all delays as usual; the end of the plan cut off; steps taken out, many at once and then fewer; numbers of the
// plan made smaller. A change is kept when the history still fails, in whatever way.

import { type Outcome, playHistory } from "./history.ts";
import { Tape, type TapeContent } from "./tape.ts";

type Play = (tape: Tape) => Promise<Outcome>;

class Shrinker {
  best: Outcome;
  readonly #play: Play;
  readonly #endMs: number;

  constructor(failed: Outcome, seconds: number, play: Play) {
    this.best = failed;
    this.#play = play;
    this.#endMs = Date.now() + seconds * 1000;
  }

  get isLate(): boolean {
    return Date.now() > this.#endMs;
  }

  get content(): TapeContent {
    return this.best.tape.content;
  }

  async try(content: TapeContent): Promise<boolean> {
    if (this.isLate) return false;
    const outcome = await this.#play(Tape.replay(content));
    if (outcome.failure === null) return false;
    this.best = outcome;
    return true;
  }

  async run(): Promise<void> {
    await this.try({ plan: this.content.plan, timing: [] });
    for (let before = -1; before !== this.#size && !this.isLate; ) {
      before = this.#size;
      await this.#takeStepsOut();
      await this.#makeSmaller();
    }
  }

  get #size(): number {
    return this.content.plan.reduce((sum, choice) => sum + choice + 1, 0);
  }

  async #takeStepsOut(): Promise<void> {
    for (let width = 64; width >= 1; width = Math.floor(width / 2)) {
      for (let at = this.best.tape.plan.spans.length - width; at >= 0 && !this.isLate; at -= width) {
        const { spans } = this.best.tape.plan;
        const [first, last] = [spans[at], spans[Math.min(at + width, spans.length) - 1]];
        if (first === undefined || last === undefined) continue;
        const { plan, timing } = this.content;
        await this.try({ plan: [...plan.slice(0, first.start), ...plan.slice(last.end)], timing });
      }
    }
  }

  async #makeSmaller(): Promise<void> {
    for (let at = 0; at < this.content.plan.length && !this.isLate; at++) {
      const { plan, timing } = this.content;
      const choice = plan[at]!;
      if (choice === 0) continue;
      const isGone = await this.try({ plan: plan.with(at, 0), timing });
      if (!isGone && choice > 1) await this.try({ plan: plan.with(at, choice >> 1), timing });
    }
  }
}

export async function shrink(failed: Outcome, seconds: number, play: Play = playHistory): Promise<Outcome> {
  const shrinker = new Shrinker(failed, seconds, play);
  await shrinker.run();
  return shrinker.best;
}
