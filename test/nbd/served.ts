// A server over streams in memory, with a clock that moves when the test says so.
import type { NbdEvent } from "../../src/nbd/event.ts";
import type { BlockDevice, ExportDirectory } from "../../src/nbd/export.ts";
import type { NbdLimits } from "../../src/nbd/limits.ts";
import { type NbdServer, serveNbd } from "../../src/nbd/server.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { MemoryDevice } from "./memory_device.ts";
import { MemoryStreams, type MemoryWire } from "./memory_streams.ts";
import { RawClient } from "./raw_client.ts";

export function directoryOf(devices: Record<string, BlockDevice>, description?: string): ExportDirectory {
  return {
    list: () => Object.keys(devices),
    find: (name) => (Object.hasOwn(devices, name) ? devices[name]! : null),
    describe: () => description ?? null,
  };
}

export interface Served {
  readonly device: MemoryDevice;
  readonly server: NbdServer;
  readonly clock: ManualClock;
  readonly events: NbdEvent[];
  readonly streams: MemoryStreams;
  /** A client that has not said anything yet. */
  connect(): RawClient & { readonly wire: MemoryWire };
}

export interface ServedOptions {
  readonly device?: MemoryDevice;
  readonly exports?: ExportDirectory;
  readonly limits?: Partial<NbdLimits>;
}

export async function served(options: ServedOptions = {}): Promise<Served> {
  const device = options.device ?? new MemoryDevice(1 << 20);
  const streams = new MemoryStreams();
  const clock = new ManualClock();
  const events: NbdEvent[] = [];
  const server = await serveNbd({
    streams,
    address: "memory:1",
    exports: options.exports ?? directoryOf({ disk: device }),
    clock,
    ...(options.limits ? { limits: options.limits } : {}),
    onEvent: (event) => events.push(event),
  });
  const connect = () => new RawClient(streams.connect()) as RawClient & { readonly wire: MemoryWire };
  return { device, server, clock, events, streams, connect };
}

/** What the server said about the last connection that ended. */
export function lastEnd(events: readonly NbdEvent[]): { reason: string; isViolation: boolean } {
  const closed = events.filter((event) => event.kind === "closed").at(-1);
  return { reason: closed?.reason ?? "", isViolation: closed?.isViolation ?? false };
}
