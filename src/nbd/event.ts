// What a server tells its owner. Nothing here is for clients.

export interface RequestFailure {
  readonly exportName: string;
  readonly command: number;
  readonly offset: number;
  readonly length: number;
  /** What the client was told. */
  readonly errno: number;
  readonly error: unknown;
}

export type NbdEvent =
  /** The client chose an export. */
  | { readonly kind: "serving"; readonly remote: string; readonly exportName: string }
  /** The device failed a request that was in order. */
  | ({ readonly kind: "requestFailed"; readonly remote: string } & RequestFailure)
  /** A connection ended, with the reason: a disconnect, a breach of the protocol, a limit. */
  | {
      readonly kind: "closed";
      readonly remote: string;
      readonly reason: string;
      /** True when the client broke the protocol or a limit. */
      readonly isViolation: boolean;
    };
