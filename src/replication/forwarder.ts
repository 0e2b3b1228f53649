// Sends a source's log entries to its mirror, in order, without gaps.
//
//   reading    entries come back from the log files, up to the durable tail
//   attaching  what is appended from now on stays in the ring and is remembered; the entries before it are
//              read back as they become durable
//   live       what is appended in one turn goes out at its end: small entries as one message, which costs a copy and
//              saves much more; large ones each as it lies in the ring
//
// Invariants:
//   - `sentThrough` grows by one with each entry, whatever the state;
//   - the ring keeps every entry whose bytes the connection may still look at (ring_hold.ts): it follows the
//     connection's callbacks, and lets go of all only when none is outstanding;
//   - a connection that does not keep up costs `BUFFERED_BYTES_MAX` and the ring, no more: then the live state
//     ends, and what was not sent is read back later. One that takes nothing at all holds its entries in the
//     ring until it is given up (mirrorTimeoutMs).

import { ENTRY_KIND, ENTRY_KIND_SEAL, ENTRY_LBA } from "../../assembly/format.ts";
import { assert } from "../kernel/errors.ts";
import type { UnderWay } from "../volume/under_way.ts";
import { streamEntries } from "./entry_stream.ts";
import { Cursor } from "./fields.ts";
import type { Link } from "./link.ts";
import type { AppendedEntry, ReplicatedVolume } from "./port.ts";
import type { RingHold } from "./ring_hold.ts";

/** Smaller than any ring, so that a slow mirror does not fill it. */
export const BUFFERED_BYTES_MAX = 1024 * 1024;
/** Entries are joined up to so many bytes: small enough for the peer's inbox. */
const JOINED_BYTES_MAX = 256 * 1024;
/** Buffers for joined entries that are kept for the next ones. */
const SPARE_BUFFERS_MAX = 4;

export interface ForwarderOptions {
  readonly volume: ReplicatedVolume;
  readonly link: Link;
  readonly ring: RingHold;
  readonly underWay: UnderWay;
  /** What the mirror has. */
  readonly from: number;
  /** The seal of that consistency point is on its way. */
  readonly onSeal: (cp: number, sequence: number) => void;
  /** Everything that was appended is sent or about to be. */
  readonly onLive: () => void;
  /** The log cannot give what is needed, ERR_LOG_RANGE for instance. */
  readonly onFailed: (error: unknown) => void;
}

type State = "idle" | "reading" | "attaching" | "live" | "stopped";

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #volume: ReplicatedVolume;
  readonly #link: Link;
  #state: State = "idle";
  #sentThrough: number;
  /** Appended since attaching began, still in the ring. */
  #attached: AppendedEntry[] = [];
  /** What is appended behind this entry is taken from the ring. */
  #attachedAt = 0;
  /** Appended in this turn, not sent yet. */
  #due: AppendedEntry[] = [];
  /** The first sequence of each message that was sent from the ring and whose callback is outstanding, oldest first. */
  readonly #outstanding: number[] = [];
  readonly #spareBuffers: Uint8Array[] = [];

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#volume = options.volume;
    this.#link = options.link;
    this.#sentThrough = options.from;
  }

  get sentThrough(): number {
    return this.#sentThrough;
  }

  get isLive(): boolean {
    return this.#state === "live";
  }

  start(): void {
    assert(this.#state === "idle", "forwarder: it was started before");
    this.#read();
  }

  onAppended(entry: AppendedEntry): void {
    if (this.#state === "live") this.#sendSoon(entry);
    else if (this.#state === "attaching") this.#attached.push(entry);
  }

  /** Sends nothing any more. What the connection still looks at stays in the ring until it lets go. */
  stop(): void {
    this.#state = "stopped";
    this.#attached = [];
    this.#due = [];
    this.#holdRing();
  }

  #read(): void {
    this.#state = "reading";
    this.#due = [];
    this.#holdRing();
    void this.#catchUp().catch((error: unknown) => {
      if (this.#isStopped()) return;
      this.stop();
      this.#options.onFailed(error);
    });
  }

  async #catchUp(): Promise<void> {
    const { log } = this.#volume;
    while (this.#sentThrough < log.durable) {
      await this.#readBack(log.durable);
      if (this.#isStopped()) return;
    }
    await this.#attach();
  }

  async #attach(): Promise<void> {
    const { log } = this.#volume;
    this.#state = "attaching";
    const attachedAt = log.tail.sequence;
    this.#attachedAt = attachedAt;
    this.#holdRing();
    await log.whenDurable(attachedAt);
    if (this.#isStopped()) return;
    await this.#readBack(attachedAt);
    if (this.#isStopped()) return;
    this.#state = "live";
    const attached = this.#attached;
    this.#attached = [];
    this.#due = attached;
    this.#sendDue();
    if (this.#state !== "live") return;
    this.#holdRing();
    this.#options.onLive();
  }

  #readBack(through: number): Promise<void> {
    const onSent = ({ sequence, seal }: { sequence: number; seal: number | null }) => {
      if (this.#isStopped()) return;
      this.#sentThrough = sequence;
      if (seal !== null) this.#options.onSeal(seal, sequence);
    };
    const { log } = this.#volume;
    const isStopped = () => this.#isStopped();
    const from = this.#sentThrough + 1;
    const { underWay } = this.#options;
    return underWay.add(streamEntries({ link: this.#link, log, from, through, onSent, isStopped }));
  }

  #sendSoon(entry: AppendedEntry): void {
    if (this.#due.push(entry) === 1) void Promise.resolve().then(() => this.#sendDue());
  }

  #sendDue(): void {
    // It may have ended since.
    if (this.#state !== "live") return;
    for (let from = 0; from < this.#due.length; ) {
      if (this.#link.bufferedBytes > BUFFERED_BYTES_MAX) return this.#read();
      const to = endOfMessage(this.#due, from);
      this.#sendLive(this.#due.slice(from, to));
      // What is said about a seal that was sent may end the session.
      if (this.#state !== "live") return;
      from = to;
    }
    this.#due = [];
  }

  /** One message. */
  #sendLive(entries: readonly AppendedEntry[]): void {
    const first = entries[0]!.sequence;
    assert(first === this.#sentThrough + 1, `forwarder: ${first} after ${this.#sentThrough}`);
    this.#sentThrough += entries.length;
    this.#outstanding.push(first);
    if (entries.length === 1) this.#link.sendBytes(entries[0]!.view, () => this.#sent(first));
    else this.#sendJoined(entries, first);
    for (const { sequence, view } of entries) {
      const seal = sealOf(view);
      if (seal !== null) this.#options.onSeal(seal, sequence);
    }
  }

  #sendJoined(entries: readonly AppendedEntry[], first: number): void {
    const buffer = this.#spareBuffers.pop() ?? new Uint8Array(JOINED_BYTES_MAX);
    let bytes = 0;
    for (const { view } of entries) {
      buffer.set(view, bytes);
      bytes += view.length;
    }
    this.#link.sendBytes(buffer.subarray(0, bytes), () => {
      if (this.#spareBuffers.length < SPARE_BUFFERS_MAX) this.#spareBuffers.push(buffer);
      this.#sent(first);
    });
  }

  /** The connection has let go of the message that began with the entry, sent or not. */
  #sent(sequence: number): void {
    this.#outstanding.splice(this.#outstanding.indexOf(sequence), 1);
    this.#holdRing();
  }

  /** What the connection still looks at, and what is to be sent from the ring, stays there. */
  #holdRing(): void {
    const { ring } = this.#options;
    const oldest = this.#outstanding[0];
    if (oldest !== undefined) ring.keepAfter(this, oldest - 1);
    else if (this.#state === "attaching") ring.keepAfter(this, this.#attachedAt);
    else if (this.#state === "live") ring.keepAfter(this, this.#sentThrough);
    else ring.letGo(this);
  }

  #isStopped(): boolean {
    return this.#state === "stopped";
  }
}

/** Behind the last entry that goes into one message with the one at `from`. */
function endOfMessage(entries: readonly AppendedEntry[], from: number): number {
  let bytes = 0;
  let to = from;
  while (to < entries.length && bytes + entries[to]!.view.length <= JOINED_BYTES_MAX)
    bytes += entries[to++]!.view.length;
  return Math.max(to, from + 1);
}

function sealOf(entry: Uint8Array): number | null {
  if (entry[ENTRY_KIND] !== ENTRY_KIND_SEAL) return null;
  return Number(new Cursor(entry).view.getBigUint64(ENTRY_LBA, true));
}
