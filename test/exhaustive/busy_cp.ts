// The consistency point at which things are lost: changes in the image and in the log before it, writes while it is
// made. The same for every case, so that event n is the same one in all of them.
import type { Storage } from "../../src/io/disk.ts";
import type { Volume } from "../../src/volume/volume.ts";
import type { MemoryStorage } from "../support/memory_storage.ts";
import { type Expectation, write } from "../volume/expectation.ts";
import { openVolume } from "../volume/fixture.ts";
import { type Sources, sourcesOf } from "./losses.ts";
import { overwrite } from "./recovery.ts";
import { agedVolume, fork, type Room, type Shape, type Subject } from "./volumes.ts";

/** A volume that is about to make its CP. */
export interface Busy extends Subject {
  /** Never opened: fork it. */
  readonly storage: MemoryStorage;
  readonly expectation: Expectation;
  /** Where stale files come from is some commits behind. */
  readonly sources: Sources;
  /** Events from the beginning of the CP to its end. */
  readonly events: number;
}

export async function busyVolume(shape: Shape, logCopies: number, room: Room): Promise<Busy> {
  const aged = await agedVolume(shape, logCopies, room);
  const storage = fork(aged.storage);
  const expectation = aged.expectation.copy();
  const volume = await openVolume(storage, aged.config);
  for (let round = 0; round < 3; round++) {
    await overwrite(volume, expectation, 50 + round);
    await volume.consistencyPoint();
  }
  await volume.close();
  const sources = await sourcesOf(aged, aged.storage);
  const busy = { name: aged.name, config: aged.config, storage, expectation, sources, events: 0 };
  return { ...busy, events: await countEvents(busy) };
}

async function countEvents({ storage, config, expectation }: Busy): Promise<number> {
  const trial = fork(storage);
  const expected = expectation.copy();
  const volume = await openUntilCp(trial, config, expected);
  const first = trial.eventCount;
  await makeCp(volume, expected);
  const events = trial.eventCount - first;
  await volume.close();
  return events;
}

/** Opened, with changes that the CP will have to take. */
export async function openUntilCp(
  storage: Storage,
  config: Subject["config"],
  expectation: Expectation,
): Promise<Volume> {
  const volume = await openVolume(storage, config);
  await Promise.all([0, 1, 2].map((part) => write(volume, expectation, 10 + part * 40, 3, 500 + part)));
  return volume;
}

/** Rejects only when all of it has ended. */
export async function makeCp(volume: Volume, expectation: Expectation): Promise<void> {
  const writes = [0, 1].map((part) => write(volume, expectation, 20 + part * 50, 2, 600 + part));
  for (const result of await Promise.allSettled([volume.consistencyPoint(), ...writes])) {
    if (result.status === "rejected") throw result.reason;
  }
}

/** A second CP, which finds out what has not been used by the first. */
export async function makeNextCp(volume: Volume, expectation: Expectation): Promise<void> {
  await overwrite(volume, expectation, 70);
  await volume.consistencyPoint();
}
