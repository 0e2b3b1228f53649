// What listening on an address says when it fails.

import { MirrorvolError } from "../kernel/errors.ts";

export function listenError(address: string, cause: unknown): MirrorvolError {
  const isTaken = (cause as { code?: unknown } | null)?.code === "EADDRINUSE";
  const why = cause instanceof Error ? cause.message : String(cause);
  return new MirrorvolError(isTaken ? "ERR_ADDRESS_IN_USE" : "ERR_LISTEN", `listen on ${address}: ${why}`, {
    cause,
  });
}
