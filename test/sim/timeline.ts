// Time and order of a simulated world: a heap of events, each at a moment, run one after the other.
//
// Between two events the program gets a turn of the real event loop, so that everything that needs no more than
// microtasks has happened before the next one. An event belongs to a *life*, the time between a machine's start
// and its crash: of a life that has ended nothing happens any more, so what a dead program still waits for never
// comes. Equal moments run in the order in which they were set.
//
// The trace is a hash over (moment, label) of every event that ran: two runs of one seed must have the same.

export interface Life {
  isOver: boolean;
}

interface TimelineEvent {
  readonly atUs: number;
  readonly order: number;
  readonly life: Life;
  readonly label: number;
  action: (() => void) | null;
}

export interface Scheduled {
  cancel(): void;
}

/** What belongs to nobody's life. */
export const ALWAYS: Life = { isOver: false };

const HASH_PRIME = 0x01000193;

export class Timeline {
  nowUs = 0;
  /** Events that ran. */
  count = 0;
  /** What happened, for a person. */
  readonly journal: string[] = [];
  #trace = 0x811c9dc5;
  readonly #heap: TimelineEvent[] = [];
  #order = 0;

  /** Of all that happened so far. */
  get trace(): number {
    return this.#trace >>> 0;
  }

  get pending(): number {
    return this.#heap.length;
  }

  say(text: string): void {
    this.journal.push(`${(this.nowUs / 1000).toFixed(2)} ms  ${text}`);
  }

  /** Mixes something that was observed into the trace. */
  note(value: number): void {
    this.#trace = Math.imul(this.#trace ^ value, HASH_PRIME);
  }

  after(delayUs: number, life: Life, label: number, action: () => void): Scheduled {
    const event = { atUs: this.nowUs + Math.max(0, delayUs), order: this.#order++, life, label, action };
    this.#push(event);
    return { cancel: () => void ((event as TimelineEvent).action = null) };
  }

  /** Runs the next event, if it comes before the moment; then lets the program go on. False: there is none. */
  async step(untilUs = Number.POSITIVE_INFINITY): Promise<boolean> {
    // What was begun since the last event may have set the next one only after a turn.
    for (let isRested = false; ; ) {
      const next = this.#heap[0];
      if (next === undefined || next.atUs > untilUs) {
        if (isRested) return false;
        await turn();
        isRested = true;
        continue;
      }
      this.#pop();
      if (next.action === null || next.life.isOver) continue;
      this.nowUs = next.atUs;
      this.count += 1;
      this.note(next.label);
      this.note(next.atUs);
      next.action();
      await turn();
      return true;
    }
  }

  /** Runs everything that comes within the time. */
  async run(forUs: number): Promise<void> {
    const endUs = this.nowUs + forUs;
    while (await this.step(endUs));
    this.nowUs = endUs;
  }

  #push(event: TimelineEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent]!, event)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (isBefore(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: TimelineEvent, b: TimelineEvent): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order);
}

/** One turn of the real event loop: every microtask there is has run when it resolves. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
