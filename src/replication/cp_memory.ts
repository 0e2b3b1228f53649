// What a source remembers of its consistency points, across sessions: the root hashes of the last ones. The CP
// data themselves are kept by the volume for as long as it keeps the log half.

const KEPT = 16;

export class CpMemory {
  /** By cp, oldest first. */
  readonly #roots = new Map<number, Uint8Array>();
  /** The newest one whose work has begun. */
  begun = 0;
  /** Images that were compared and repaired since the last consistency point that both sides agreed on. */
  repairs = 0;
  /** A difference that the repair did not mend: it stays until the mirror is made anew. */
  divergence: string | null = null;

  setRoot(cp: number, root: Uint8Array): void {
    this.#roots.delete(cp);
    this.#roots.set(cp, root.slice());
    for (const oldest of this.#roots.keys()) {
      if (this.#roots.size <= KEPT) break;
      this.#roots.delete(oldest);
    }
  }

  forgetDivergence(): void {
    if (this.divergence !== null) this.repairs = 0;
    this.divergence = null;
  }

  root(cp: number): Uint8Array | null {
    return this.#roots.get(cp) ?? null;
  }
}
