// What a single request may ask, and what it does to the device: no state, no stream.
//
//   command       flags allowed   beyond the end   device call
//   READ          FUA             EINVAL           read
//   WRITE         FUA             ENOSPC           write
//   FLUSH         FUA             (offset and length must be 0)  flush
//   TRIM          FUA             EINVAL           trim
//   WRITE_ZEROES  FUA, NO_HOLE    ENOSPC           zero
//
// FUA asks for nothing new: a write resolves when it is durable. NO_HOLE is accepted because the protocol
// demands it; a volume that is written anywhere has no place to reserve, and its reserve of space is the same
// with or without it. Length 0 is in order and does nothing.
import { assert } from "../kernel/errors.ts";
import type { BlockDevice } from "./export.ts";
import type { NbdLimits } from "./limits.ts";
import { COMMAND, COMMAND_FLAG, ERRNO, type Request } from "./wire.ts";

interface Rule {
  readonly flags: number;
  readonly changes: boolean;
  readonly beyondEnd: number;
}

const RULES: ReadonlyMap<number, Rule> = new Map([
  [COMMAND.read, { flags: COMMAND_FLAG.fua, changes: false, beyondEnd: ERRNO.inval }],
  [COMMAND.write, { flags: COMMAND_FLAG.fua, changes: true, beyondEnd: ERRNO.nospc }],
  [COMMAND.flush, { flags: COMMAND_FLAG.fua, changes: false, beyondEnd: ERRNO.inval }],
  [COMMAND.trim, { flags: COMMAND_FLAG.fua, changes: true, beyondEnd: ERRNO.inval }],
  [
    COMMAND.writeZeroes,
    { flags: COMMAND_FLAG.fua | COMMAND_FLAG.noHole, changes: true, beyondEnd: ERRNO.nospc },
  ],
]);

/** Bytes of payload, in whatever direction: what the request costs in memory. */
export function payloadBytes(request: Request): number {
  return request.command === COMMAND.read || request.command === COMMAND.write ? request.length : 0;
}

/** The error for a request that must not reach the device, or none. */
export function checkRequest(request: Request, device: BlockDevice, limits: NbdLimits): number {
  const rule = RULES.get(request.command);
  if (rule === undefined || (request.flags & ~rule.flags) !== 0) return ERRNO.inval;
  if (rule.changes && device.readOnly) return ERRNO.perm;
  if (request.command === COMMAND.flush) {
    return request.offset === 0 && request.length === 0 ? ERRNO.none : ERRNO.inval;
  }
  if (payloadBytes(request) > limits.payloadBytesMax) return ERRNO.inval;
  return request.offset + request.length <= device.bytes ? ERRNO.none : rule.beyondEnd;
}

/** Runs a checked request; the result is what the reply carries. */
export async function runRequest(
  request: Request,
  payload: Uint8Array | null,
  device: BlockDevice,
  signal: AbortSignal,
): Promise<Uint8Array | null> {
  const { command, offset, length } = request;
  if (command === COMMAND.flush) {
    await device.flush({ signal });
    return null;
  }
  if (length === 0) return null;
  switch (command) {
    case COMMAND.read: {
      const data = await device.read(offset, length, { signal });
      assert(data.length === length, "a device reads as much as it was asked for");
      return data;
    }
    case COMMAND.write:
      assert(payload?.length === length, "a write has its payload");
      await device.write(offset, payload, { signal });
      return null;
    case COMMAND.trim:
      await device.trim(offset, length, { signal });
      return null;
    default:
      await device.zero(offset, length, { signal });
      return null;
  }
}
