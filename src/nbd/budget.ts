// Memory for payloads, shared by all connections of a server. Each connection has a little that nobody can take
// from it, so that small requests never wait for other clients; what it holds beyond that comes from one pool, and
// whoever finds too little there waits in line.
//
// Invariants:
//   - all connections together hold at most ownBytesMax each, and the pool;
//   - the first in line is served first: many small requests do not keep a large one from its turn;
//   - who announces a payload and never sends it keeps what it took, until its connection ends, and no more.
import { assert } from "../kernel/errors.ts";

export interface BudgetLimits {
  readonly ownBytesMax: number;
  readonly poolBytesMax: number;
}

export class Budget {
  readonly #limits: BudgetLimits;
  #poolBytes = 0;
  /** Oldest first. */
  #line: Share[] = [];

  constructor(limits: BudgetLimits) {
    this.#limits = limits;
  }

  /** For a connection; `onTurn`: what was refused may fit now. */
  share(onTurn: () => void): Share {
    return new Share(this, this.#limits.ownBytesMax, onTurn);
  }

  /** False: not now, and the share is in line. */
  take(share: Share, bytes: number): boolean {
    const isNext = this.#line.length === 0 || this.#line[0] === share;
    const fits = isNext && this.#poolBytes + bytes <= this.#limits.poolBytesMax;
    if (fits) {
      this.#poolBytes += bytes;
      this.leave(share);
    } else if (!this.#line.includes(share)) this.#line.push(share);
    return fits;
  }

  give(bytes: number): void {
    this.#poolBytes -= bytes;
    assert(this.#poolBytes >= 0, "nbd: more was given back than was taken");
    this.#serveLine();
  }

  leave(share: Share): void {
    this.#line = this.#line.filter((each) => each !== share);
  }

  /** Each in its turn, until one does not fit. */
  #serveLine(): void {
    for (let first = this.#line[0]; first !== undefined; first = this.#line[0]) {
      first.onTurn();
      if (this.#line[0] === first) return;
    }
  }
}

/** One connection's. */
export class Share {
  readonly onTurn: () => void;
  readonly #budget: Budget;
  readonly #ownBytesMax: number;
  #bytes = 0;

  constructor(budget: Budget, ownBytesMax: number, onTurn: () => void) {
    this.#budget = budget;
    this.#ownBytesMax = ownBytesMax;
    this.onTurn = onTurn;
  }

  /** False: not now; onTurn comes. */
  take(bytes: number): boolean {
    const needed = this.#beyondOwn(this.#bytes + bytes) - this.#beyondOwn(this.#bytes);
    if (needed > 0 && !this.#budget.take(this, needed)) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    const freed = this.#beyondOwn(this.#bytes) - this.#beyondOwn(this.#bytes - bytes);
    this.#bytes -= bytes;
    if (freed > 0) this.#budget.give(freed);
  }

  /** The connection is gone and waits for nothing. What it still holds it gives back as it is done. */
  close(): void {
    this.#budget.leave(this);
  }

  #beyondOwn(bytes: number): number {
    return Math.max(0, bytes - this.#ownBytesMax);
  }
}
