// Errors of the engine -> the few that NBD has. A client cannot see more than the number, so whoever calls
// this also reports the error itself.
import { ERRNO } from "./wire.ts";

const ERRNO_OF_CODE: ReadonlyMap<unknown, number> = new Map([
  ["ERR_NO_SPACE", ERRNO.nospc],
  ["ERR_READ_ONLY", ERRNO.perm],
  ["ERR_CLOSED", ERRNO.shutdown],
  ["ERR_NOT_SERVING", ERRNO.shutdown],
]);

export function errnoOf(error: unknown): number {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return ERRNO_OF_CODE.get(code) ?? ERRNO.io;
}
