// An image: what one commit made of the volume. It never changes; readers hold it while they read.
import type { SegmentGeometry } from "../raid/geometry.ts";
import type { Superblock } from "./superblock.ts";

export interface Image {
  readonly commit: number;
  readonly cp: number;
  readonly mapRoot: Uint32Array;
  readonly containerRoot: Uint32Array;
  readonly freeList: Uint32Array;
  readonly vvbnCursor: number;
  /** The seal that the image includes. */
  readonly appliedSequence: number;
  readonly appliedChain: bigint;
}

export function imageOf(superblock: Superblock): Image {
  const { commit, cp, mapRoot, containerRoot, freeList, vvbnCursor, appliedSequence, appliedChain } =
    superblock;
  return { commit, cp, mapRoot, containerRoot, freeList, vvbnCursor, appliedSequence, appliedChain };
}

/**
 * Readers and the reuse of space: a segment that a commit emptied is given back when no reader of an older image
 * is left.
 */
export class ReaderLedger {
  readonly #readers = new Map<number, number>();
  #waiting: { commit: number; segments: number[] }[] = [];
  /** With the geometry that they were written in: old readers may have to reconstruct. */
  readonly quarantined = new Map<number, SegmentGeometry>();
  #drainWaiters: (() => void)[] = [];

  enter(image: Image): void {
    this.#readers.set(image.commit, (this.#readers.get(image.commit) ?? 0) + 1);
  }

  leave(image: Image): void {
    const left = this.#readers.get(image.commit)! - 1;
    if (left > 0) this.#readers.set(image.commit, left);
    else this.#readers.delete(image.commit);
    this.#release();
  }

  /** Commit `commit` emptied these segments; readers of images before it may still look at them. */
  quarantine(
    commit: number,
    segments: readonly (readonly [segment: number, geometry: SegmentGeometry])[],
  ): void {
    if (segments.length === 0) return;
    for (const [segment, geometry] of segments) this.quarantined.set(segment, geometry);
    this.#waiting.push({ commit, segments: segments.map(([segment]) => segment) });
    this.#release();
  }

  geometryOf(segment: number): SegmentGeometry | null {
    return this.quarantined.get(segment) ?? null;
  }

  /** Resolves when nothing is quarantined. */
  drained(): Promise<void> {
    if (this.quarantined.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  #release(): void {
    if (this.#waiting.length === 0) return;
    const oldest = Math.min(...this.#readers.keys());
    this.#waiting = this.#waiting.filter(({ commit, segments }) => {
      if (oldest < commit) return true;
      for (const segment of segments) this.quarantined.delete(segment);
      return false;
    });
    if (this.quarantined.size > 0) return;
    for (const resolve of this.#drainWaiters.splice(0)) resolve();
  }
}
