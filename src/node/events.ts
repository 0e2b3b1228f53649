// What volumes and NBD clients tell, as lines for people. What always happens is left out: consistency points,
// clients that come and go.
import type { NbdEvent } from "../nbd/event.ts";
import { messageOf } from "./admin_api.ts";

type Detail = Record<string, unknown>;

const LINES: Record<string, (detail: Detail) => string> = {
  degraded: ({ member, logCopy, reason }) => {
    const what = member === undefined ? `log copy ${logCopy}` : `member ${member}`;
    return `degraded: ${what} is lost: ${reason}`;
  },
  failed: ({ error }) => `failed: ${messageOf(error)}`,
  promoted: ({ generation, sequence }) => `promoted to generation ${generation} after sequence ${sequence}`,
};

export const VOLUME_EVENTS = ["consistencypoint", ...Object.keys(LINES)];

/** Until the volume is collected: nobody has to stop listening. */
export function reportEvents(volume: EventTarget, onEvent: (text: string) => void): void {
  for (const [name, line] of Object.entries(LINES)) {
    volume.addEventListener(name, (event) => onEvent(line((event as CustomEvent<Detail>).detail)));
  }
}

export function reportNbd(event: NbdEvent, onEvent: (text: string) => void): void {
  if (event.kind === "requestFailed") {
    const { exportName, remote, offset, length, error } = event;
    onEvent(`${exportName}: NBD client ${remote}: ${length} bytes at ${offset}: ${messageOf(error)}`);
  } else if (event.kind === "closed" && event.isViolation) {
    onEvent(`NBD client ${event.remote} is closed: ${event.reason}`);
  }
}
