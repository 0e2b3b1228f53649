// The scheme of all exhaustive crash tests: one run of a workload gives all its crash points.
//
// The simulated storage tells of each write, sync, create and remove just before it happens. At that moment the
// recorder keeps what a new process would find if the power failed now (a fork that shares every page, so it costs
// next to nothing), together with what the workload has been promised so far. The workload goes on; between its
// rounds the points are recovered, one after the other, and forgotten. So nothing ever has to be stopped, every
// volume is closed, and its kernel is used again.
//
// What becomes of the unsynced writes is the point's *fate*: all dropped, all kept, or drawn by a seed (a third of
// the writes dropped, a third kept, of the rest each sector by itself). The write that was made last is among them:
// so the crash points behind a write contain the one that tears it.
//
// Where neither the image nor the promises have changed since the event before, there is no new point.
//
// A failure names workload, event and fate; the same three always give the same image.

import type { MemoryStorage, StorageEvent } from "../support/memory_storage.ts";
import { isThorough } from "../support/thorough.ts";

export type Fate = number | "drop" | "keep";

export interface CrashPoint<T> {
  /** Counted from 1 since the recorder began; the event that did not happen any more. */
  readonly event: number;
  readonly fate: Fate;
  /** What a new process finds. */
  readonly storage: MemoryStorage;
  /** What had been promised by then. */
  readonly promised: T;
}

export type Fates = (event: number) => readonly Fate[];

/** One fate for each event, all kinds in turn. */
export const oneFate: Fates = (event) => [event % 5 === 0 ? "drop" : event % 5 === 2 ? "keep" : event];

/** The two extremes and one in between, at every event. */
export const allFates: Fates = (event) => ["drop", "keep", event];

/** Only every so manieth event in a short run, from some event on; all of them in a thorough one. */
export function shareOf(fates: Fates, stride: number, from = 0): Fates {
  if (isThorough) return fates;
  return (event) => (event % stride === from % stride ? oneFate(event) : []);
}

/** What a workload has been promised. */
export interface Promised<T> {
  copy(): T;
  /** Grows with each promise. */
  readonly promises: number;
}

export class CrashRecorder<T extends Promised<T>> {
  /** Crash points so far. */
  count = 0;
  readonly #storage: MemoryStorage;
  readonly #promised: T;
  readonly #fatesOf: Fates;
  readonly #first: number;
  #points: CrashPoint<T>[] = [];
  /** By kind of fate: has such a crash another image than at the last point, and what had been promised by then. */
  readonly #seen = { drop: unseen(), keep: unseen(), seed: unseen() };

  constructor(storage: MemoryStorage, promised: T, fates: Fates) {
    this.#storage = storage;
    this.#promised = promised;
    this.#fatesOf = fates;
    this.#first = storage.eventCount;
    storage.onEvent = (event) => {
      this.#record(event.number - this.#first);
      this.#look(event);
    };
  }

  /** A crash when everything is over is one more point; no more are recorded after it. */
  end(): void {
    this.#record(this.#storage.eventCount - this.#first + 1);
    this.#storage.onEvent = () => {};
  }

  /** The points that were recorded since the last call. */
  take(): CrashPoint<T>[] {
    return this.#points.splice(0);
  }

  /** Recovers every point that was recorded since the last call. */
  async recoverAll(label: string, recover: (point: CrashPoint<T>) => Promise<void>): Promise<void> {
    for (const point of this.take()) await at(`${label}, ${nameOf(point)}`, () => recover(point));
  }

  /** A point is left out if nothing has changed since the one before it: neither the image nor what was promised. */
  #record(event: number): void {
    const { promises } = this.#promised;
    for (const fate of this.#fatesOf(event)) {
      const seen = this.#seen[typeof fate === "number" ? "seed" : fate];
      if (!seen.isChanged && seen.promises === promises) continue;
      seen.isChanged = false;
      seen.promises = promises;
      const storage = this.#storage.ifPowerFailedNow(fate);
      this.#points.push({ event, fate, storage, promised: this.#promised.copy() });
      this.count += 1;
    }
  }

  /** A write shows unless it is dropped, a sync shows unless everything is kept or there was nothing to sync. */
  #look({ kind, path }: StorageEvent): void {
    const isEffective = kind !== "sync" || this.#storage.unsynced(path).length > 0;
    if (!isEffective) return;
    const { drop, keep, seed } = this.#seen;
    if (kind !== "write") drop.isChanged = true;
    if (kind !== "sync") keep.isChanged = true;
    seed.isChanged = true;
  }
}

function unseen(): { isChanged: boolean; promises: number } {
  return { isChanged: true, promises: -1 };
}

export function nameOf({ event, fate }: CrashPoint<unknown>): string {
  return `crash at event ${event} (${typeof fate === "number" ? `seed ${fate}` : fate})`;
}

/** Names the case in whatever the work throws. */
export async function at<T>(label: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { message = String(error), stack } = error as Partial<Error>;
    throw Object.assign(new Error(`${label}: ${message}`), { stack: `${label}: ${stack}` });
  }
}
