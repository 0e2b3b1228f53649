// Message connections between nodes (WebSocket in the real world): ordered, whole messages, or closed.

/** The largest message, in both directions; a longer one closes the connection that it comes from. */
export const MESSAGE_BYTES_MAX = 8 * 1024 * 1024;

export interface Connection {
  /** For messages and status, such as "10.0.0.2:8750". */
  readonly remote: string;
  /** Bytes accepted by send and not yet handed to the system. */
  readonly bufferedBytes: number;
  /** Bytes on the wire so far, framing included. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /**
   * At most MESSAGE_BYTES_MAX (an assertion). The data is not copied: it must not change until done is called (with
   * an error once closed).
   */
  send(data: Uint8Array, done?: (error: Error | null) => void): void;
  /** Stops and restarts onMessage: backpressure to the peer. Meanwhile the peer's close may go unnoticed. */
  pause(): void;
  resume(): void;
  /**
   * Sends what is buffered, then closes; idempotent. The reason (short ASCII) reaches the peer's onClose. No
   * message is delivered here after this call.
   */
  close(reason?: string): void;
  /** Called with each whole message. It is the receiver's from then on; a small one may lie in memory with others. */
  onMessage: (data: Uint8Array) => void;
  /** Called once, after the last onMessage, for whatever cause. */
  onClose: (reason: string) => void;
}

/** Closing it ends listening at once; what was accepted stays open. */
export interface Listener {
  /** Where it listens, with the real port, such as "127.0.0.1:8750". */
  readonly address: string;
  close(): Promise<void>;
}

export interface Transport {
  /** url as "ws://host:port/path". Messages that arrive before onMessage is set (in the same turn) are kept. */
  connect(url: string, options?: { readonly signal?: AbortSignal }): Promise<Connection>;
  /** address as "host:port". */
  listen(address: string, onConnection: (connection: Connection) => void): Promise<Listener>;
}
