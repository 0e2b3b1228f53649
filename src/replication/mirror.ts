// A node's mirror service: it accepts connections from many sources, each for one volume.
//
// Invariants:
//   - a volume has at most one session; a newer one from the same source replaces the older, which has ended,
//     with everything it was doing, before the newer one learns the volume's position;
//   - another source is refused while one is connected;
//   - connections that have not proved themselves are few, and live for ten seconds at most;
//   - nothing that a peer sends gets further than its session.

import type { Connection } from "../io/transport.ts";
import type { Timer, World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { bytesEqual } from "../volume/words.ts";
import { HANDSHAKE_TIMEOUT_MS, MirrorSession } from "./mirror_session.ts";
import type { ReplicatedVolume } from "./port.ts";
import { type Promotion, promoteMirror } from "./promote.ts";

/** The node's volumes by the names that sources use. */
export interface MirrorDirectory {
  find(name: string): ReplicatedVolume | undefined;
}

export interface MirrorServiceOptions {
  readonly world: World;
  readonly kernel: Kernel;
  readonly volumes: MirrorDirectory;
  /** Shared with every source; null: none is wanted. */
  readonly secret: Uint8Array | null;
  /** What happens, for people. */
  readonly onEvent?: (text: string) => void;
}

export interface MirrorStatus {
  readonly state: "in sync" | "catching up" | "degraded";
  readonly detail: string;
  /** The connected source, such as "10.0.0.1:40312", or null. */
  readonly source: string | null;
}

const STRANGERS_MAX = 64;

export class MirrorService {
  readonly #options: MirrorServiceOptions;
  readonly #onEvent: (text: string) => void;
  /** By volume name. */
  readonly #attached = new Map<string, MirrorSession>();
  /** Whoever has not said which source it is, with the timer that ends it. */
  readonly #strangers = new Map<MirrorSession, Timer>();
  readonly #sessions = new Set<MirrorSession>();
  /** Volumes that are being promoted accept nobody. */
  readonly #promoting = new Set<string>();
  #isClosed = false;

  constructor(options: MirrorServiceOptions) {
    this.#options = options;
    this.#onEvent = options.onEvent ?? (() => {});
  }

  accept(connection: Connection): void {
    if (this.#isClosed || this.#strangers.size >= STRANGERS_MAX) {
      // Nobody listens to it, and an event of it must not reach nobody.
      connection.onMessage = () => {};
      connection.onClose = () => {};
      return connection.close(this.#isClosed ? "closing" : "too many connections");
    }
    const { world, kernel, secret, volumes } = this.#options;
    const session = new MirrorSession({
      world,
      kernel,
      connection,
      secret,
      find: (name) => volumes.find(name),
      attach: (session) => this.#attach(session),
      onClosed: (session, reason, fault) => this.#onClosed(session, reason, fault),
    });
    this.#sessions.add(session);
    const late = () => void session.close("handshake took too long");
    this.#strangers.set(session, world.clock.setTimer(HANDSHAKE_TIMEOUT_MS, late));
  }

  connected(volumeName: string): boolean {
    return this.#attached.has(volumeName);
  }

  status(volumeName: string): MirrorStatus {
    const session = this.#attached.get(volumeName);
    if (session === undefined) return { state: "degraded", detail: "no source is connected", source: null };
    return { state: session.state, detail: session.detail, source: session.remote };
  }

  /** Makes the volume a source, if it may be. Resolves when it serves. */
  async promote(volumeName: string, options: { readonly force?: boolean } = {}): Promise<Promotion> {
    const volume = this.#options.volumes.find(volumeName);
    if (volume === undefined) throw new MirrorvolError("ERR_NO_VOLUME", `there is no volume "${volumeName}"`);
    if (this.connected(volumeName) || this.#promoting.has(volumeName)) {
      const text = `the source of volume "${volumeName}" is connected: it serves, so nothing else may`;
      throw new MirrorvolError("ERR_SOURCE_CONNECTED", text);
    }
    this.#promoting.add(volumeName);
    try {
      const promotion = await promoteMirror(volume, options.force ?? false);
      this.#onEvent(`${volumeName}: promoted to generation ${promotion.number}`);
      return promotion;
    } finally {
      this.#promoting.delete(volumeName);
    }
  }

  /** Ends every session, and resolves when none touches a volume any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#sessions].map((session) => session.close("closing")));
  }

  async #attach(session: MirrorSession): Promise<void> {
    this.#forgetStranger(session);
    const name = session.volumeName;
    for (let older = this.#attached.get(name); older !== undefined; older = this.#attached.get(name)) {
      if (!bytesEqual(older.sourceId, session.sourceId)) {
        throw new MirrorvolError("ERR_SOURCE_CONNECTED", `another source of volume "${name}" is connected`);
      }
      await older.refuse(new MirrorvolError("ERR_REPLACED", "a newer session of the same source took over"));
      if (this.#attached.get(name) === older) this.#attached.delete(name);
    }
    if (this.#promoting.has(name)) {
      throw new MirrorvolError("ERR_PROMOTING", `volume "${name}" is being promoted`);
    }
    if (session.isClosed) return;
    this.#attached.set(name, session);
    this.#onEvent(`${name}: source ${session.remote} is connected`);
  }

  #onClosed(session: MirrorSession, reason: string, fault: MirrorvolError | null): void {
    this.#forgetStranger(session);
    this.#sessions.delete(session);
    const name = session.volumeName;
    if (this.#attached.get(name) === session) this.#attached.delete(name);
    const because = fault === null ? reason : `${fault.code}: ${fault.message}`;
    this.#onEvent(`${name || "?"}: source ${session.remote} is gone (${because})`);
  }

  #forgetStranger(session: MirrorSession): void {
    this.#strangers.get(session)?.cancel();
    this.#strangers.delete(session);
  }
}
