// Byte streams for protocols that are not ours (NBD): TCP and Unix sockets.
import type { Listener } from "./transport.ts";

export interface ByteStream {
  readonly remote: string;
  readonly bufferedBytes: number;
  /** Writes the parts in order without copying; they must not change until done is called. */
  write(parts: readonly Uint8Array[], done?: (error: Error | null) => void): void;
  pause(): void;
  resume(): void;
  /** Sends what is buffered, then closes. */
  end(): void;
  /** Closes at once. Idempotent. */
  destroy(): void;
  /** The view is only valid during the call. */
  onData: (data: Uint8Array) => void;
  onClose: (reason: string) => void;
}

export interface Streams {
  /** address as "host:port" or "unix:/path" (a stale socket file is replaced, a live one is ERR_ADDRESS_IN_USE). */
  listen(address: string, onStream: (stream: ByteStream) => void): Promise<Listener>;
}
