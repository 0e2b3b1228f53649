// The network between simulated machines. Addresses are "machine:port".
//
// Packets of one connection keep their order and take a time drawn from the tape. Between two machines the network
// can be *down* (connecting is refused), *dark* (connecting gets no answer; what is connected loses everything, and
// nobody is told), or slow. A connection can be cut (both sides hear it), lost in both directions or in one.
// When a machine crashes, its peers are told at once (a reset) or never.

import type { Streams } from "../../src/io/stream.ts";
import type { Connection, Listener, Transport } from "../../src/io/transport.ts";
import { MirrorvolError } from "../../src/kernel/errors.ts";
import { type MemoryLink, MemoryNetwork } from "../support/memory_network.ts";
import type { Choices } from "./tape.ts";
import { ALWAYS, type Life, type Timeline } from "./timeline.ts";

const PACKET_US = 100;
/** Zero is the usual delay. */
const FACTORS = [1, 1, 1, 2, 4, 10, 30, 100];
const LABEL_PACKET = 21;
const LABEL_CONNECT = 22;
/** How long a system tries to connect to who does not answer. */
const CONNECT_TIMEOUT_US = 10_000_000;

interface Attached {
  readonly link: MemoryLink;
  readonly client: string;
  readonly server: string;
}

export class SimNetwork {
  /** Refuses new connections. */
  isDown = false;
  /** Swallows everything. */
  isDark = false;
  slowFactor = 1;
  /** A machine connects to another one that still holds an earlier connection of its. */
  onSecondSession: () => void = () => {};
  readonly #timeline: Timeline;
  readonly #timing: Choices;
  readonly #network: MemoryNetwork;
  readonly #listeners = new Map<Life, Listener[]>();
  #attached: Attached[] = [];

  constructor(timeline: Timeline, timing: Choices) {
    this.#timeline = timeline;
    this.#timing = timing;
    this.#network = new MemoryNetwork({
      schedule: (step) => void timeline.after(this.#delayUs(), ALWAYS, LABEL_PACKET, step),
    });
  }

  get connectionCount(): number {
    return this.#attached.length;
  }

  transport(machine: string, life: Life): Transport {
    return {
      connect: (url, { signal } = {}) => this.#connect(machine, life, url, signal),
      listen: async (address, onConnection) => {
        const accept = (connection: Connection) => {
          if (!life.isOver) onConnection(new LivingConnection(connection, life));
        };
        const listener = await this.#network.transport.listen(address, accept);
        this.#listeners.set(life, [...(this.#listeners.get(life) ?? []), listener]);
        return listener;
      },
    };
  }

  get streams(): Streams {
    return this.#network.streams;
  }

  cutAll(): void {
    for (const { link } of this.#take()) link.cut("connection reset");
  }

  /** Half-open: nobody is told. One direction only: requests arrive, answers do not, or the other way round. */
  loseAll(direction: "both" | "to server" | "to client"): void {
    for (const { link } of this.#attached) {
      if (direction !== "to client") link.client.out.isLost = true;
      if (direction !== "to server") link.server.out.isLost = true;
    }
  }

  goDark(): void {
    this.isDark = true;
    this.loseAll("both");
  }

  heal(): void {
    this.isDown = false;
    this.isDark = false;
    this.slowFactor = 1;
  }

  /** The machine is gone. What it had sent and nobody has taken is gone too. */
  crash(machine: string, life: Life, isReset: boolean): void {
    for (const listener of this.#listeners.get(life) ?? []) void listener.close();
    this.#listeners.delete(life);
    for (const each of this.#take((at) => at.client === machine || at.server === machine)) {
      const own = each.client === machine ? each.link.client : each.link.server;
      own.onClose = () => {};
      if (isReset && !this.isDark) each.link.cut("connection reset");
      else each.link.lose();
    }
  }

  #take(isWanted: (attached: Attached) => boolean = () => true): Attached[] {
    const taken = this.#attached.filter(isWanted);
    this.#attached = this.#attached.filter((each) => !isWanted(each));
    return taken;
  }

  async #connect(client: string, life: Life, url: string, signal?: AbortSignal): Promise<Connection> {
    await this.#wait(this.isDark ? CONNECT_TIMEOUT_US : 2 * this.#delayUs(), life);
    if (this.isDown || this.isDark) {
      throw new MirrorvolError("ERR_CONNECT", `connect ${url}: the network is down`);
    }
    const connection = await this.#network.transport.connect(url, signal ? { signal } : {});
    const link = this.#network.links.pop()!;
    this.#network.links.length = 0;
    const server = /^ws:\/\/([^:/]+)/.exec(url)![1]!;
    this.#attached = this.#attached.filter(({ link }) => !link.server.isClosed);
    if (this.#attached.some((each) => each.client === client && each.server === server))
      this.onSecondSession();
    this.#attached.push({ link, client, server });
    return new LivingConnection(connection, life);
  }

  #wait(delayUs: number, life: Life): Promise<void> {
    return new Promise((resolve) => void this.#timeline.after(delayUs, life, LABEL_CONNECT, resolve));
  }

  #delayUs(): number {
    return PACKET_US * FACTORS[this.#timing.below(FACTORS.length)]! * this.slowFactor;
  }
}

/** Whose program is dead hears nothing. */
class LivingConnection implements Connection {
  readonly #inner: Connection;
  readonly #life: Life;

  constructor(inner: Connection, life: Life) {
    this.#inner = inner;
    this.#life = life;
  }

  get remote(): string {
    return this.#inner.remote;
  }

  get bufferedBytes(): number {
    return this.#inner.bufferedBytes;
  }

  get sentBytes(): number {
    return this.#inner.sentBytes;
  }

  get receivedBytes(): number {
    return this.#inner.receivedBytes;
  }

  send(data: Uint8Array, done?: (error: Error | null) => void): void {
    this.#inner.send(data, done && ((error) => !this.#life.isOver && done(error)));
  }

  pause(): void {
    this.#inner.pause();
  }

  resume(): void {
    this.#inner.resume();
  }

  close(reason?: string): void {
    this.#inner.close(reason);
  }

  set onMessage(handler: (data: Uint8Array) => void) {
    this.#inner.onMessage = (data) => void (this.#life.isOver || handler(data));
  }

  get onMessage(): (data: Uint8Array) => void {
    return this.#inner.onMessage;
  }

  set onClose(handler: (reason: string) => void) {
    this.#inner.onClose = (reason) => void (this.#life.isOver || handler(reason));
  }

  get onClose(): (reason: string) => void {
    return this.#inner.onClose;
  }
}
