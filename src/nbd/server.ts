// The NBD server: a listener and its connections. Each connection is on its own; what they share is the
// directory of exports, the limits, and the memory for payloads.
import type { ByteStream, Streams } from "../io/stream.ts";
import type { Clock } from "../io/world.ts";
import { Budget } from "./budget.ts";
import { NbdConnection, type NbdConnectionStatus } from "./connection.ts";
import type { NbdEvent } from "./event.ts";
import type { ExportDirectory } from "./export.ts";
import { completeLimits, type NbdLimits } from "./limits.ts";

export interface NbdServerOptions {
  readonly streams: Streams;
  /** "host:port" (port 0: any) or "unix:/path". */
  readonly address: string;
  readonly exports: ExportDirectory;
  readonly clock: Clock;
  readonly limits?: Partial<NbdLimits>;
  readonly onEvent?: (event: NbdEvent) => void;
}

export interface NbdServer {
  /** Where it listens, with the real port. */
  readonly address: string;
  readonly connections: readonly NbdConnectionStatus[];
  /** Accepts nobody new, lets requests in flight finish within limits.closeMs, then closes. Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Rejects as the streams do, with ERR_ADDRESS_IN_USE for instance. */
export async function serveNbd(options: NbdServerOptions): Promise<NbdServer> {
  const { clock, exports, onEvent = () => {} } = options;
  const limits = completeLimits(options.limits);
  const budget = new Budget(limits);
  const connections = new Set<NbdConnection>();
  let isClosing = false;
  let onEmpty = () => {};

  const onGone = (connection: NbdConnection) => {
    connections.delete(connection);
    if (connections.size === 0) onEmpty();
  };
  const onStream = (stream: ByteStream) => {
    if (!isClosing && connections.size < limits.connectionsMax) {
      const connection = new NbdConnection(stream, { exports, limits, budget, clock, onEvent, onGone });
      connections.add(connection);
      connection.start();
      return;
    }
    const reason = isClosing ? "the server closes" : `more than ${limits.connectionsMax} connections`;
    refuse(stream, reason, onEvent);
  };
  const listener = await options.streams.listen(options.address, onStream);

  const drain = async () => {
    isClosing = true;
    const stopped = listener.close();
    const empty = new Promise<void>((resolve) => (onEmpty = resolve));
    for (const connection of [...connections]) connection.finish("the server closes");
    const deadline = clock.setTimer(limits.closeMs, () => {
      for (const connection of [...connections]) connection.destroy("the server closes");
    });
    if (connections.size > 0) await empty;
    deadline.cancel();
    await stopped;
  };
  let closed: Promise<void> | null = null;
  const close = () => (closed ??= drain());

  return {
    address: listener.address,
    get connections() {
      return Array.from(connections, (connection) => connection.status);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

function refuse(stream: ByteStream, reason: string, onEvent: (event: NbdEvent) => void): void {
  stream.onData = () => {};
  stream.onClose = () => {};
  stream.destroy();
  onEvent({ kind: "closed", remote: stream.remote, reason, isViolation: false });
}
