// The transmission phase of one connection: requests in, replies out, in whatever order they are done.
//
// A request takes a place, and memory for its payload, when its header has arrived; it gives both back when
// its reply is with the system. So a client that does not read its replies, and one that writes faster than
// the device, both stop at the limits: the request that does not fit is refused here (accept returns false),
// and the owner stops reading until onProgress. The memory is the server's, shared by all clients (budget.ts).
//
//                accept                        payload complete                 done            reply sent
//   [no place] ----------> [payload arrives] -------------------> [on device] ------> [replying] ----------> [no place]
//                   \___________ no payload ___________________________/
//
// Only one payload can be arriving, because a stream has one end. Requests that are in error keep the same
// path without the device.

import type { Budget, Share } from "./budget.ts";
import { errnoOf } from "./errno.ts";
import type { RequestFailure } from "./event.ts";
import type { FoundExport } from "./export.ts";
import { type NbdLimits, skippedPayloadBytesMax } from "./limits.ts";
import type { Parser } from "./parser.ts";
import { checkRequest, payloadBytes, runRequest } from "./requests.ts";
import { COMMAND, ERRNO, encodeSimpleReply, type Request } from "./wire.ts";

export interface SessionHost {
  readonly limits: NbdLimits;
  readonly budget: Budget;
  send(parts: readonly Uint8Array[], done: () => void): void;
  /** A place became free: a request may fit, or the last one is done. */
  onProgress(): void;
  onFailure(failure: RequestFailure): void;
}

interface Arriving {
  readonly request: Request;
  readonly errno: number;
  readonly payload: Uint8Array | null;
}

export class Session {
  readonly exportName: string;
  readonly #found: FoundExport;
  readonly #parser: Parser;
  readonly #host: SessionHost;
  readonly #share: Share;
  readonly #abort = new AbortController();
  #arriving: Arriving | null = null;
  #requestsInFlight = 0;
  #bytesInFlight = 0;
  #isStopping = false;

  constructor(found: FoundExport, parser: Parser, host: SessionHost) {
    this.exportName = found.name;
    this.#found = found;
    this.#parser = parser;
    this.#host = host;
    this.#share = host.budget.share(() => host.onProgress());
  }

  get requestsInFlight(): number {
    return this.#requestsInFlight;
  }

  get bytesInFlight(): number {
    return this.#bytesInFlight;
  }

  /** True when every request that arrived whole has its reply with the system. */
  get isIdle(): boolean {
    return this.#requestsInFlight === (this.#arriving === null ? 0 : 1);
  }

  /** From here on the device gets nothing new: requests are answered with ESHUTDOWN. */
  stop(): void {
    this.#isStopping = true;
  }

  /** The client is gone: what waits may give up. */
  abort(): void {
    this.#abort.abort();
  }

  /** The connection is gone, and with it the payload that was arriving. */
  close(): void {
    this.#share.close();
    const payload = this.#arriving?.payload;
    if (payload) this.#share.give(payload.length);
  }

  /** False: there is no room for it now; offer it again after onProgress. A text: the connection must end. */
  accept(request: Request): boolean | string {
    const errno = this.#check(request);
    const cost = errno === ERRNO.none ? payloadBytes(request) : 0;
    const { requestsInFlightMax, bytesInFlightMax } = this.#host.limits;
    if (this.#requestsInFlight === requestsInFlightMax) return false;
    if (this.#bytesInFlight + cost > bytesInFlightMax) return false;
    const isWrite = request.command === COMMAND.write;
    if (isWrite && errno !== ERRNO.none && request.length > skippedPayloadBytesMax(this.#host.limits)) {
      return `a write of ${request.length} bytes, too many to skip`;
    }
    if (!this.#share.take(cost)) return false;
    if (!isWrite) {
      this.#enter(cost);
      this.#run({ request, errno, payload: null }, cost);
      return true;
    }
    this.#enter(cost);
    this.#awaitPayload(request, errno);
    return true;
  }

  /** The payload of the write that was accepted last is complete. */
  payload(): void {
    const arriving = this.#arriving!;
    this.#arriving = null;
    this.#run(arriving, arriving.payload === null ? 0 : arriving.payload.length);
  }

  #check(request: Request): number {
    const errno = checkRequest(request, this.#found.device, this.#host.limits);
    return errno === ERRNO.none && this.#isStopping ? ERRNO.shutdown : errno;
  }

  #awaitPayload(request: Request, errno: number): void {
    if (errno === ERRNO.none) {
      const payload = new Uint8Array(request.length);
      this.#arriving = { request, errno, payload };
      this.#parser.takePayload(payload);
    } else {
      this.#arriving = { request, errno, payload: null };
      this.#parser.skipPayload(request.length);
    }
  }

  async #run({ request, errno, payload }: Arriving, cost: number): Promise<void> {
    let data: Uint8Array | null = null;
    if (errno === ERRNO.none) {
      try {
        data = await runRequest(request, payload, this.#found.device, this.#abort.signal);
      } catch (error) {
        errno = this.#report(request, error);
      }
    }
    const header = encodeSimpleReply(request, errno);
    this.#host.send(data === null ? [header] : [header, data], () => this.#leave(cost));
  }

  #report(request: Request, error: unknown): number {
    const errno = errnoOf(error);
    const { command, offset, length } = request;
    // What fails because the client is gone is no failure of the device.
    if (!this.#abort.signal.aborted) {
      this.#host.onFailure({ exportName: this.exportName, command, offset, length, errno, error });
    }
    return errno;
  }

  #enter(cost: number): void {
    this.#requestsInFlight += 1;
    this.#bytesInFlight += cost;
  }

  #leave(cost: number): void {
    this.#requestsInFlight -= 1;
    this.#bytesInFlight -= cost;
    this.#share.give(cost);
    this.#host.onProgress();
  }
}
