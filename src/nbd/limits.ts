// What one server may use, at most. Payloads take connectionsMax times ownBytesMax and poolBytesMax (budget.ts),
// however many clients there are; whoever sends faster than the device takes is not read from.
import { assert } from "../kernel/errors.ts";
import { COMMON_PAYLOAD_BYTES } from "./wire.ts";

export interface NbdLimits {
  /** One more is closed at once. */
  readonly connectionsMax: number;
  /** From the greeting to the choice of an export. */
  readonly handshakeMs: number;
  readonly optionCountMax: number;
  /** Data of one option; more ends the connection. */
  readonly optionBytesMax: number;
  /** Per connection, until the reply is with the system. */
  readonly requestsInFlightMax: number;
  readonly bytesInFlightMax: number;
  /** Of the bytes in flight, what a connection has for itself; what is beyond that is shared by all. */
  readonly ownBytesMax: number;
  readonly poolBytesMax: number;
  /** Of one read or write; told to clients as the maximum payload. */
  readonly payloadBytesMax: number;
  /** How long close() waits for requests in flight. */
  readonly closeMs: number;
  /** How long a client may take to close its side after we closed ours. */
  readonly lingerMs: number;
}

const DEFAULT_LIMITS: NbdLimits = {
  connectionsMax: 64,
  handshakeMs: 10_000,
  optionCountMax: 128,
  optionBytesMax: 65_536,
  requestsInFlightMax: 128,
  bytesInFlightMax: COMMON_PAYLOAD_BYTES,
  ownBytesMax: 512 * 1024,
  poolBytesMax: 2 * COMMON_PAYLOAD_BYTES,
  payloadBytesMax: COMMON_PAYLOAD_BYTES,
  closeMs: 5_000,
  lingerMs: 2_000,
};

/** The protocol wants the maximum payload to hold at least one preferred block. */
export const PREFERRED_BLOCK_BYTES = 4096;

export function completeLimits(given: Partial<NbdLimits> = {}): NbdLimits {
  const limits = { ...DEFAULT_LIMITS, ...given };
  for (const [name, value] of Object.entries(limits)) {
    assert(Number.isSafeInteger(value) && value > 0, `nbd limit ${name} is a positive integer, not ${value}`);
  }
  assert(limits.payloadBytesMax >= PREFERRED_BLOCK_BYTES, "nbd limit payloadBytesMax holds a block");
  assert(limits.payloadBytesMax <= 0xffffffff, "nbd limit payloadBytesMax fits 32 bits");
  assert(limits.bytesInFlightMax >= limits.payloadBytesMax, "nbd limit bytesInFlightMax holds one payload");
  assert(limits.poolBytesMax >= limits.payloadBytesMax, "nbd limit poolBytesMax holds one payload");
  return limits;
}

/** A payload that cannot be accepted is skipped up to this size, and ends the connection beyond it. */
export function skippedPayloadBytesMax(limits: NbdLimits): number {
  return Math.max(2 * limits.payloadBytesMax, COMMON_PAYLOAD_BYTES);
}
