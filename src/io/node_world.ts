// The real world: files and devices, WebSockets, sockets, the monotonic clock, the system's randomness.

import { createHmac, randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { NodeStorage } from "./node_storage.ts";
import { NodeStreams } from "./node_stream.ts";
import { NodeTransport } from "./node_transport.ts";
import type { Authenticator, Clock, Random, Timer, World } from "./world.ts";

/** setTimeout takes no more; a longer wait is cut into pieces of this. */
const TIMEOUT_MAX_MS = 0x7fffffff;

export const nodeClock: Clock = {
  nowMs: () => performance.now(),
  setTimer(delayMs: number, callback: () => void): Timer {
    let handle: ReturnType<typeof setTimeout>;
    const wait = (restMs: number) => {
      const nowMs = Math.min(Math.max(0, restMs), TIMEOUT_MAX_MS);
      handle = setTimeout(() => (restMs > nowMs ? wait(restMs - nowMs) : callback()), nowMs);
    };
    wait(delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};

const nodeRandom: Random = {
  bytes(length: number): Uint8Array {
    return Uint8Array.from(randomBytes(length));
  },
};

export const nodeAuthenticator: Authenticator = {
  hmac(secret: Uint8Array, data: Uint8Array): Uint8Array {
    return Uint8Array.from(createHmac("sha256", secret).update(data).digest());
  },
};

export function nodeWorld(): World {
  return {
    storage: new NodeStorage(),
    transport: new NodeTransport(),
    streams: new NodeStreams(),
    clock: nodeClock,
    random: nodeRandom,
    authenticator: nodeAuthenticator,
  };
}
