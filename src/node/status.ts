// What a node says about itself: the answer of GET /status, and so of `mirrorvol status --json`.
export interface PromoteAnswer {
  readonly volume: string;
  readonly generation: number;
  readonly startSequence: number;
  /** From the request until the volume was served. */
  readonly ms: number;
}
