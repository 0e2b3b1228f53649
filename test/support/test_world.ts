// A World whose storage, network, time and randomness belong to the test. The same seed and the same calls
// give the same run.

import type { Storage } from "../../src/io/disk.ts";
import { nodeAuthenticator } from "../../src/io/node_world.ts";
import type { World } from "../../src/io/world.ts";
import { ManualClock } from "./manual_clock.ts";
import { MemoryNetwork } from "./memory_network.ts";
import { SeededRandom } from "./memory_random.ts";
import { MemoryStorage } from "./memory_storage.ts";

export interface MemoryWorldOptions<S extends Storage = Storage> {
  readonly seed: number;
  /** A MemoryStorage of its own unless given. */
  readonly storage?: S;
  /** Share one to connect several worlds. */
  readonly network?: MemoryNetwork;
  readonly clock?: ManualClock;
}

export interface MemoryWorld<S extends Storage> extends World {
  readonly storage: S;
  readonly network: MemoryNetwork;
  readonly clock: ManualClock;
  readonly random: SeededRandom;
}

export function memoryWorld<S extends Storage = MemoryStorage>(
  options: MemoryWorldOptions<S>,
): MemoryWorld<S> {
  const network = options.network ?? new MemoryNetwork();
  return {
    storage: options.storage ?? (new MemoryStorage() as Storage as S),
    transport: network.transport,
    streams: network.streams,
    clock: options.clock ?? new ManualClock(),
    random: new SeededRandom(options.seed),
    // A pure function: the real one is as repeatable as any.
    authenticator: nodeAuthenticator,
    network,
  };
}
