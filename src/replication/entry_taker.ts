// Takes entries from the other side into the log: a mirror those that are forwarded, a source those that only
// its mirror has.
//
// An entry is never dropped: when the log has no room, the link is held (which the peer feels as backpressure)
// and the entry is offered again when there is some. If there is no room because every half is in use, a mirror
// tells its source: for that one, exhaustion is the loss of its mirror, with that reason.
//
// What became durable in one group commit is acknowledged by one message.

import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { EntrySplitter } from "./entry_stream.ts";
import type { Link } from "./link.ts";
import type { ReplicatedVolume } from "./port.ts";

export interface EntryTakerOptions {
  readonly volume: ReplicatedVolume;
  readonly kernel: Kernel;
  readonly link: Link;
  /** Every half of the log is in use. */
  readonly onExhausted: () => void;
}

/** What a mirror tells its source then. */
export const LOG_IS_FULL = {
  code: "ERR_MIRROR_LOG_FULL",
  text: "every half of the mirror's log waits for its consistency point",
};

const NOTHING = new Uint8Array(0);

export class EntryTaker {
  readonly #volume: ReplicatedVolume;
  readonly #link: Link;
  readonly #splitter: EntrySplitter;
  readonly #onExhausted: () => void;
  /** Entries for which there is no room yet. */
  #left: Uint8Array = NOTHING;
  #isAckDue = false;
  #isRetryDue = false;
  #isClosed = false;

  constructor({ volume, kernel, link, onExhausted }: EntryTakerOptions) {
    this.#volume = volume;
    this.#onExhausted = onExhausted;
    this.#link = link;
    this.#splitter = new EntrySplitter(kernel);
  }

  /** Throws for what is no entry, or not the next one. */
  take(bytes: Uint8Array): void {
    this.#left = bytes;
    while (this.#left.length > 0) {
      const { entry } = this.#splitter.first(this.#left);
      if (this.#volume.adopt(entry) === null) return this.#wait();
      this.#left = this.#left.subarray(entry.length);
    }
    this.#left = NOTHING;
  }

  /** The log has room again. Not at once: this is called from within the log. */
  retrySoon(): void {
    if (this.#left.length === 0 || this.#isRetryDue) return;
    this.#isRetryDue = true;
    void Promise.resolve().then(() => this.#retry());
  }

  ackSoon(): void {
    if (this.#isAckDue) return;
    this.#isAckDue = true;
    void Promise.resolve().then(() => this.#ack());
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#left = NOTHING;
    this.#splitter.close();
  }

  #wait(): void {
    this.#link.hold();
    if (this.#volume.log.status().every((half) => !half.free)) this.#onExhausted();
  }

  #retry(): void {
    this.#isRetryDue = false;
    if (this.#isClosed || this.#left.length === 0) return;
    try {
      this.take(this.#left);
      if (this.#left.length === 0) this.#link.proceed();
    } catch (error) {
      const isOurs = error instanceof MirrorvolError;
      this.#link.refuse(isOurs ? error : new MirrorvolError("ERR_INTERNAL", String(error), { cause: error }));
    }
  }

  #ack(): void {
    this.#isAckDue = false;
    if (this.#isClosed) return;
    const { log } = this.#volume;
    this.#link.send("ack", { received: log.tail.sequence, durable: log.durable });
  }
}
