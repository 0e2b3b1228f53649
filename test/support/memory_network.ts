// A simulated network: WebSocket-like connections and byte streams, without sockets and without timers.
//
//   const network = new MemoryNetwork();                 // or { isManual: true } and network.pump()
//   const a = memoryWorld({ seed: 1, network });
//   const b = memoryWorld({ seed: 2, network });
//   const listener = await b.transport.listen("b:0", ...);
//   const connection = await a.transport.connect(`ws://${listener.address}/`);
//   network.links[0].cut("cable pulled");                 // both sides hear it
//   network.links[0].lose();                              // half-open: nothing arrives, nobody hears it
//   network.isDown = true;                                // connecting fails
//
// All steps of all connections go through one queue. Each runs in a microtask of its own, or, in a manual
// network, when the test pumps; so the same calls give the same run.

import type { ByteStream, Streams } from "../../src/io/stream.ts";
import type { Connection, Listener, Transport } from "../../src/io/transport.ts";
import { MirrorvolError } from "../../src/kernel/errors.ts";
import { MemoryChannel, type Schedule } from "./memory_channel.ts";
import { MemoryConnection, MemoryStream } from "./memory_connection.ts";

/** A connection or a stream, seen from outside. */
export interface MemoryLink {
  readonly address: string;
  readonly client: MemoryConnection | MemoryStream;
  readonly server: MemoryConnection | MemoryStream;
  /** Breaks it; both sides' onClose hear the reason. */
  cut(reason?: string): void;
  /** Nothing arrives any more in either direction; nobody is told. */
  lose(): void;
}

type Accept = (isStream: boolean) => MemoryLink;

const FIRST_PORT = 40_000;
const REFUSED = "nobody listens there";

export class MemoryNetwork {
  /** While set, connecting fails. What is connected stays. */
  isDown = false;
  /** Every connection and stream ever made, oldest first. */
  readonly links: MemoryLink[] = [];
  readonly transport: Transport;
  readonly streams: Streams & { connect(address: string): Promise<MemoryStream> };
  readonly #listeners = new Map<string, Accept>();
  readonly #steps: (() => void)[] = [];
  readonly #isManual: boolean;
  readonly #scheduleOutside: Schedule | null;
  #nextPort = FIRST_PORT;

  /** `schedule`: who runs the steps instead, in whatever order between connections. */
  constructor(options: { readonly isManual?: boolean; readonly schedule?: Schedule } = {}) {
    this.#isManual = options.isManual === true;
    this.#scheduleOutside = options.schedule ?? null;
    this.transport = {
      connect: async (url, { signal } = {}) => this.#connect(url, signal),
      listen: async (address, onConnection) => this.#listen(address, false, onConnection as never),
    };
    this.streams = {
      listen: async (address, onStream) => this.#listen(address, true, onStream as never),
      connect: async (address) => this.#dial(address, address, true).client as MemoryStream,
    };
  }

  get stepCount(): number {
    return this.#steps.length;
  }

  /** Runs up to `count` waiting steps of a manual network; returns how many there were. */
  pump(count = Number.POSITIVE_INFINITY): number {
    let done = 0;
    for (; done < count && this.#steps.length > 0; done += 1) this.#steps.shift()!();
    return done;
  }

  cutAll(reason = "connection lost"): void {
    for (const link of this.links) link.cut(reason);
  }

  readonly #schedule = (step: () => void): void => {
    if (this.#scheduleOutside !== null) return this.#scheduleOutside(step);
    this.#steps.push(step);
    if (!this.#isManual) queueMicrotask(() => this.#steps.shift()!());
  };

  #connect(url: string, signal: AbortSignal | undefined): Connection {
    signal?.throwIfAborted();
    const match = /^ws:\/\/([^/]+)/.exec(url);
    if (match === null) throw connectError(url, "not a ws: address");
    return this.#dial(match[1]!, url, false).client as MemoryConnection;
  }

  #dial(address: string, shown: string, isStream: boolean): MemoryLink {
    const accept = this.#listeners.get(address);
    if (this.isDown) throw connectError(shown, "the network is down");
    if (accept === undefined) throw connectError(shown, REFUSED);
    return accept(isStream);
  }

  #listen(address: string, isStream: boolean, onAccept: (end: Connection | ByteStream) => void): Listener {
    const bound = address.replace(/:0$/, () => `:${(this.#nextPort += 1)}`);
    if (this.#listeners.has(bound)) {
      throw new MirrorvolError("ERR_ADDRESS_IN_USE", `listen on ${address}: somebody listens there`);
    }
    const accept: Accept = (wantsStream) => {
      if (wantsStream !== isStream) throw connectError(bound, "the listener speaks another protocol");
      const link = this.#makeLink(bound, isStream);
      this.#schedule(() => onAccept(link.server));
      return link;
    };
    this.#listeners.set(bound, accept);
    return {
      address: bound,
      close: async () => {
        if (this.#listeners.get(bound) === accept) this.#listeners.delete(bound);
      },
    };
  }

  #makeLink(address: string, isStream: boolean): MemoryLink {
    const toServer = new MemoryChannel(this.#schedule);
    const toClient = new MemoryChannel(this.#schedule);
    const remote = `client:${(this.#nextPort += 1)}`;
    const client = isStream
      ? new MemoryStream(address, toServer, toClient)
      : new MemoryConnection(address, toServer, toClient, true);
    const server = isStream
      ? new MemoryStream(remote, toClient, toServer)
      : new MemoryConnection(remote, toClient, toServer, false);
    const link: MemoryLink = {
      address,
      client,
      server,
      cut: (reason = "connection lost") => client.cut(reason),
      lose: () => client.lose(),
    };
    this.links.push(link);
    return link;
  }
}

function connectError(url: string, cause: string): MirrorvolError {
  return new MirrorvolError("ERR_CONNECT", `connect ${url}: ${cause}`, { cause });
}
