// One client: its stream, and which part of the protocol is at work.
//
//   negotiating --chosen--> serving --DISC, server closes--> finishing --idle--> ended --closed--> (gone)
//        \___________________ breach, limit, deadline ________________________________________/
//
// Everything that arrives goes through #pump: it feeds the parser and handles one message after the other
// until bytes are missing or something blocks (an answer to an option that is not with the system yet, a
// request that does not fit). Blocked means that the stream is paused: the client gets backpressure, and we
// hold at most the rest of one chunk.
//
// Invariants:
//   - onGone is called exactly once; after it nothing is sent and no callback of the stream does anything;
//   - requests on the device are aborted at that moment and never while a reply could still be sent; after a
//     DISC not at all, because its sender is owed that everything before it is done.

import type { ByteStream } from "../io/stream.ts";
import type { Clock, Timer } from "../io/world.ts";
import type { Budget } from "./budget.ts";
import type { NbdEvent } from "./event.ts";
import type { ExportDirectory, FoundExport } from "./export.ts";
import type { NbdLimits } from "./limits.ts";
import { Negotiation, type Step } from "./negotiation.ts";
import { type Message, Parser } from "./parser.ts";
import { Session } from "./session.ts";
import { COMMAND, encodeGreeting, type Request } from "./wire.ts";

export interface ConnectionHost {
  readonly exports: ExportDirectory;
  readonly limits: NbdLimits;
  readonly budget: Budget;
  readonly clock: Clock;
  onEvent(event: NbdEvent): void;
  onGone(connection: NbdConnection): void;
}

export interface NbdConnectionStatus {
  readonly remote: string;
  /** Null while the client has not chosen. */
  readonly exportName: string | null;
  readonly requestsInFlight: number;
  readonly bytesInFlight: number;
}

type Phase = "negotiating" | "serving" | "finishing" | "ended" | "gone";

export class NbdConnection {
  readonly #stream: ByteStream;
  readonly #host: ConnectionHost;
  readonly #parser: Parser;
  readonly #negotiation: Negotiation;
  #phase: Phase = "negotiating";
  #session: Session | null = null;
  /** A request whose header has arrived and that does not fit yet. */
  #parked: Request | null = null;
  #isAnswering = false;
  #isPumping = false;
  #isPaused = false;
  #hasDisconnected = false;
  #deadline: Timer | null = null;
  #endReason = "";

  constructor(stream: ByteStream, host: ConnectionHost) {
    this.#stream = stream;
    this.#host = host;
    this.#parser = new Parser(host.limits.optionBytesMax);
    this.#negotiation = new Negotiation(host.exports, host.limits);
  }

  start(): void {
    const { clock, limits } = this.#host;
    this.#deadline = clock.setTimer(limits.handshakeMs, () => {
      this.#breach(`no export was chosen within ${limits.handshakeMs} ms`);
    });
    this.#stream.onData = (data) => this.#onData(data);
    this.#stream.onClose = (reason) => this.#gone(reason, false);
    this.#send([encodeGreeting()], () => {});
  }

  get status(): NbdConnectionStatus {
    return {
      remote: this.#stream.remote,
      exportName: this.#session?.exportName ?? null,
      requestsInFlight: this.#session?.requestsInFlight ?? 0,
      bytesInFlight: this.#session?.bytesInFlight ?? 0,
    };
  }

  /** Answers what has arrived, then closes; idempotent. */
  finish(reason: string): void {
    if (this.#phase !== "negotiating" && this.#phase !== "serving") return;
    if (this.#session === null) this.#parser.stop();
    else this.#session.stop();
    this.#phase = "finishing";
    this.#endReason = reason;
    this.#onProgress();
  }

  /** Closes at once; what waits is aborted. */
  destroy(reason: string): void {
    this.#hasDisconnected = false;
    this.#gone(reason, false);
  }

  #onData(data: Uint8Array): void {
    if (this.#phase === "ended" || this.#phase === "gone") return;
    this.#parser.feed(data);
    this.#pump();
    this.#parser.retain();
  }

  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    while (this.#step()) {
      // Each step handles one message.
    }
    this.#isPumping = false;
    if (this.#phase !== "gone") this.#setPaused(this.#isBlocked);
  }

  get #isBlocked(): boolean {
    return this.#phase !== "ended" && (this.#isAnswering || this.#parked !== null);
  }

  /** Handles what is next; false when that needs more bytes, or has to wait. */
  #step(): boolean {
    if (this.#phase === "ended" || this.#phase === "gone" || this.#isAnswering) return false;
    if (this.#parked !== null) return this.#offer(this.#parked);
    const message = this.#parser.next();
    if (message === null) return false;
    return this.#handle(message);
  }

  #handle(message: Message): boolean {
    switch (message.kind) {
      case "clientFlags":
        return this.#take(this.#negotiation.clientFlags(message.flags));
      case "option":
        return this.#take(this.#negotiation.option(message.option, message.data));
      case "request":
        return this.#offer(message.request);
      case "payload":
        this.#session!.payload();
        return true;
      default:
        return this.#breach(message.reason);
    }
  }

  #take({ answer, outcome }: Step): boolean {
    if (outcome.kind === "violation") return this.#breach(outcome.reason);
    // One answer at a time: a client that does not read them cannot make us hold more.
    this.#isAnswering = answer.length > 0;
    if (outcome.kind === "chosen") this.#serve(outcome.found);
    if (answer.length > 0) this.#send(answer, () => this.#answered());
    if (outcome.kind === "abort") this.#end("the client gave up the negotiation");
    return true;
  }

  #answered(): void {
    this.#isAnswering = false;
    this.#onProgress();
  }

  #serve(found: FoundExport): void {
    this.#deadline?.cancel();
    this.#phase = "serving";
    this.#parser.enterTransmission();
    this.#session = new Session(found, this.#parser, {
      limits: this.#host.limits,
      budget: this.#host.budget,
      send: (parts, done) => this.#send(parts, done),
      onProgress: () => this.#onProgress(),
      onFailure: (failure) =>
        this.#host.onEvent({ kind: "requestFailed", remote: this.#stream.remote, ...failure }),
    });
    this.#host.onEvent({ kind: "serving", remote: this.#stream.remote, exportName: found.name });
  }

  #offer(request: Request): boolean {
    if (request.command === COMMAND.disconnect) return this.#disconnected();
    const accepted = this.#session!.accept(request);
    if (typeof accepted === "string") return this.#breach(accepted);
    this.#parked = accepted ? null : request;
    return accepted;
  }

  /** Nothing may follow a DISC, and it has no reply: what came before it is done, then the connection ends. */
  #disconnected(): false {
    this.#hasDisconnected = true;
    this.#parser.stop();
    this.finish("the client disconnected");
    return false;
  }

  #onProgress(): void {
    if (this.#phase === "gone") return;
    this.#pump();
    if (this.#phase === "finishing" && !this.#isAnswering && (this.#session?.isIdle ?? true)) {
      this.#end(this.#endReason);
    }
  }

  /** Sends what is buffered, closes our side and waits for the client to close its own, but not for long. */
  #end(reason: string): void {
    this.#phase = "ended";
    this.#endReason = reason;
    this.#deadline?.cancel();
    this.#deadline = this.#host.clock.setTimer(this.#host.limits.lingerMs, () => this.#gone(reason, false));
    this.#setPaused(false);
    this.#stream.end();
  }

  #breach(reason: string): false {
    this.#gone(reason, true);
    return false;
  }

  #gone(reason: string, isViolation: boolean): void {
    if (this.#phase === "gone") return;
    const endedBefore = this.#phase === "ended";
    this.#phase = "gone";
    this.#deadline?.cancel();
    this.#stream.destroy();
    this.#session?.close();
    if (!this.#hasDisconnected) this.#session?.abort();
    const said = endedBefore ? this.#endReason : reason;
    this.#host.onEvent({ kind: "closed", remote: this.#stream.remote, reason: said, isViolation });
    this.#host.onGone(this);
  }

  #send(parts: readonly Uint8Array[], done: () => void): void {
    if (this.#phase === "gone") done();
    else this.#stream.write(parts, done);
  }

  #setPaused(isPaused: boolean): void {
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    if (isPaused) this.#stream.pause();
    else this.#stream.resume();
  }
}
