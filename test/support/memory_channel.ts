// One direction of a simulated connection: packets in order, then one end.
//
// Each packet takes two steps: the *system takes* it (it is copied, the sender's `done` is called; only so much
// as the window holds, the rest counts as buffered), and it is *delivered* (unless the receiver is paused).
// The delivered view is overwritten after the call, so whoever keeps it is found out.

import { MirrorvolError } from "../../src/kernel/errors.ts";

/** Runs steps one after the other: at once in microtasks, or when a test pumps. */
export type Schedule = (step: () => void) => void;

export type Done = (error: Error | null) => void;

interface Packet {
  readonly parts: readonly Uint8Array[];
  readonly bytes: number;
  readonly done: Done | undefined;
}

/** What a kernel buffers for us, bytes. */
const WINDOW_BYTES = 64 * 1024;
const SCRIBBLE = 0xdb;

export class MemoryChannel {
  onPacket: (data: Uint8Array) => void = () => {};
  onEnd: (reason: string) => void = () => {};
  /** Half-open: what is taken never arrives, and neither does the end. */
  isLost = false;
  readonly #schedule: Schedule;
  #waiting: Packet[] = [];
  #taken: Uint8Array[] = [];
  #waitingBytes = 0;
  #takenBytes = 0;
  #isPaused = false;
  #isScheduled = false;
  /** Once set nothing more is sent; reported after the last packet. */
  #endReason: string | null = null;
  #isEnded = false;

  constructor(schedule: Schedule) {
    this.#schedule = schedule;
  }

  get bufferedBytes(): number {
    return this.#waitingBytes;
  }

  send(parts: readonly Uint8Array[], done: Done | undefined): void {
    if (this.#endReason !== null) {
      this.#schedule(() => done?.(closedError()));
      return;
    }
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    this.#waiting.push({ parts, bytes, done });
    this.#waitingBytes += bytes;
    this.#kick();
  }

  /** Ends the channel after what was sent. */
  end(reason: string): void {
    this.#endReason ??= reason;
    this.#kick();
  }

  /** Ends it at once: what has not arrived never will. */
  abort(reason: string): void {
    this.#endReason ??= reason;
    const waiting = this.#waiting.splice(0);
    this.#waitingBytes = 0;
    this.#taken = [];
    this.#takenBytes = 0;
    this.#isPaused = false;
    for (const packet of waiting) this.#schedule(() => packet.done?.(closedError()));
    this.#kick();
  }

  /** The receiver leaves. The sender learns it, unless the connection is half-open. */
  abandon(reason: string): void {
    this.onPacket = () => {};
    if (!this.isLost) {
      this.abort(reason);
    } else if (!this.#isEnded) {
      this.#isEnded = true;
      this.#schedule(() => this.onEnd(reason));
    }
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#kick();
  }

  #kick(): void {
    if (this.#isScheduled || this.#next() === null) return;
    this.#isScheduled = true;
    this.#schedule(() => {
      this.#isScheduled = false;
      this.#next()?.();
      this.#kick();
    });
  }

  #next(): (() => void) | null {
    const hasRoom = this.#takenBytes < WINDOW_BYTES;
    if (this.#waiting.length > 0 && hasRoom) return () => this.#take();
    if (this.#taken.length > 0) return this.#isPaused ? null : () => this.#deliver();
    const isOver = this.#endReason !== null && this.#waiting.length === 0;
    return isOver && !this.#isEnded && !this.isLost ? () => this.#reportEnd() : null;
  }

  #take(): void {
    const packet = this.#waiting.shift()!;
    this.#waitingBytes -= packet.bytes;
    if (!this.isLost) {
      this.#taken.push(concatenate(packet));
      this.#takenBytes += packet.bytes;
    }
    packet.done?.(null);
  }

  #deliver(): void {
    const data = this.#taken.shift()!;
    this.#takenBytes -= data.length;
    if (this.isLost) return;
    this.onPacket(data);
    data.fill(SCRIBBLE);
  }

  #reportEnd(): void {
    this.#isEnded = true;
    this.onEnd(this.#endReason!);
  }
}

function concatenate({ parts, bytes }: Packet): Uint8Array {
  const data = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return data;
}

function closedError(): MirrorvolError {
  return new MirrorvolError("ERR_CONNECTION_CLOSED", "the connection is closed");
}
