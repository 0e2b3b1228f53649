// A node: one process that serves the volumes of one configuration file.
//
//   NBD clients      -> nbd      every source
//   other nodes      -> listen   MirrorService: every mirror, and the promoted ones, which answer that they were
//   commands         -> admin    a socket, always; http as well when it is configured
//
// Invariants:
//   - a volume that cannot be opened does not keep the others from being served, unless none can be;
//   - a mirror's volume is not exported until it is promoted;
//   - close() takes clients away first, then relationships, then volumes; what was acknowledged is durable
//     whether or not it comes that far.
import type { Listener } from "../io/transport.ts";
import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { Kernel } from "../kernel/kernel.ts";
import type { NbdEvent } from "../nbd/event.ts";
import type { ExportDirectory } from "../nbd/export.ts";
import { type NbdServer, serveNbd } from "../nbd/server.ts";
import { MirrorService } from "../replication/mirror.ts";
import type { Volume } from "../volume/volume.ts";
import { type AdminTarget, messageOf } from "./admin_api.ts";
import { type AdminListener, serveAdminSocket, serveAdminTcp } from "./admin_server.ts";
import type { NodeConfig } from "./config.ts";
import { reportNbd } from "./events.ts";
import { MIRROR_KERNEL_BYTES } from "./open_volume.ts";
import { promoteVolume } from "./promote.ts";
import { ServedVolume } from "./served_volume.ts";
import type { NodeStatus, PromoteAnswer } from "./status.ts";
import { versionText } from "./version.ts";

export interface NodeOptions {
  readonly config: NodeConfig;
  readonly world: World;
  /** A line about what happened, with the volume's name in front if it is about one. */
  readonly onEvent?: (text: string) => void;
}

/** What a node says when it accepts clients. */
export interface Ready {
  readonly name: string;
  readonly pid: number;
  readonly listen: string | null;
  readonly nbd: string | null;
  readonly http: string | null;
  readonly admin: string;
  /** Those that could be opened. */
  readonly volumes: readonly string[];
}

export class Node implements AdminTarget {
  readonly #config: NodeConfig;
  readonly #world: World;
  readonly #onEvent: (text: string) => void;
  readonly #volumes = new Map<string, ServedVolume>();
  readonly #mirrors: MirrorService;
  #mirrorListener: Listener | null = null;
  #nbd: NbdServer | null = null;
  #http: AdminListener | null = null;
  #admin: AdminListener | null = null;
  #closing: Promise<void> | null = null;

  /** Resolves when clients are accepted. Rejects when no volume can be opened, or an address cannot be had. */
  static async start(options: NodeOptions): Promise<Node> {
    const kernel = await Kernel.create({ memoryBytes: MIRROR_KERNEL_BYTES });
    const node = new Node(options, kernel);
    try {
      // Before any volume: a second node for the same file ends here, and says so.
      node.#admin = await serveAdminSocket(node, node.#config.admin);
      await node.#openVolumes();
      await node.#listen();
    } catch (error) {
      await node.close();
      throw error;
    }
    return node;
  }

  private constructor({ config, world, onEvent = () => {} }: NodeOptions, kernel: Kernel) {
    this.#config = config;
    this.#world = world;
    this.#onEvent = onEvent;
    for (const [name, entry] of config.volumes) {
      const tell = (text: string) => onEvent(`${name}: ${text}`);
      this.#volumes.set(name, new ServedVolume({ world, entry, secret: config.secret, onEvent: tell }));
    }
    // Promoted volumes and sources as well: a peer that asks for one learns why it is no mirror.
    const volumes = { find: (name: string) => this.#volumes.get(name)?.volume ?? undefined };
    this.#mirrors = new MirrorService({ world, kernel, volumes, secret: config.secret, onEvent });
  }

  get ready(): Ready {
    const { name, admin } = this.#config;
    const volumes = [...this.#volumes.values()]
      .filter(({ volume }) => volume !== null)
      .map((each) => each.name);
    return { name, pid: process.pid, ...this.#addresses(), admin, volumes };
  }

  status(): NodeStatus {
    return {
      name: this.#config.name,
      version: versionText(),
      pid: process.pid,
      ...this.#addresses(),
      admin: this.#config.admin,
      memoryBytes: process.memoryUsage.rss(),
      nbdConnections: this.#nbd?.connections.length ?? 0,
      volumes: [...this.#volumes.values()].map((each) => each.status(this.#mirrors)),
    };
  }

  /** Resolves when the volume is served. Rejects with ERR_NO_VOLUME, or as MirrorService.promote does. */
  async promote(name: string, options: { readonly force: boolean }): Promise<PromoteAnswer> {
    const volume = this.#require(name);
    const startMs = this.#world.clock.nowMs();
    const {
      number: generation,
      startSequence,
      isForced,
    } = await promoteVolume(this.#world, this.#mirrors, volume, options);
    const ms = Math.round((this.#world.clock.nowMs() - startMs) * 10) / 10;
    return { volume: name, generation, startSequence, isForced, ms };
  }

  /** The number of a consistency point that includes everything acknowledged before the call. */
  async consistencyPoint(name: string): Promise<number> {
    const volume = this.#require(name);
    if (volume.role === "source") return volume.consistencyPoint();
    throw new MirrorvolError(
      "ERR_NOT_A_SOURCE",
      `volume "${name}" is a mirror: its source decides about its CPs`,
    );
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #openVolumes(): Promise<void> {
    const all = [...this.#volumes.values()];
    await Promise.all(all.map((each) => each.open()));
    if (all.some(({ volume }) => volume !== null)) return;
    const reasons = all.map(({ name, failure }) => `${name}: ${messageOf(failure)}`).join("; ");
    throw new MirrorvolError("ERR_NO_VOLUMES", `no volume can be served: ${reasons}`, {
      cause: all[0]?.failure,
    });
  }

  async #listen(): Promise<void> {
    const { listen, nbd, http, secret } = this.#config;
    const { transport, streams, clock } = this.#world;
    if (listen !== null) {
      this.#mirrorListener = await transport.listen(listen, (connection) => this.#mirrors.accept(connection));
    }
    if (nbd !== null) {
      const exports = this.#exportDirectory();
      const onEvent = (event: NbdEvent) => reportNbd(event, this.#onEvent);
      this.#nbd = await serveNbd({ streams, address: nbd, exports, clock, onEvent });
    }
    if (http !== null) this.#http = await serveAdminTcp(this, http, secret);
  }

  async #close(): Promise<void> {
    await Promise.all([this.#http?.close(), this.#admin?.close()]);
    await Promise.all([this.#nbd?.close(), this.#mirrorListener?.close()]);
    await this.#mirrors.close();
    await Promise.all([...this.#volumes.values()].map((each) => each.close()));
  }

  #addresses(): Pick<Ready, "listen" | "nbd" | "http"> {
    return {
      listen: this.#mirrorListener?.address ?? null,
      nbd: this.#nbd?.address ?? null,
      http: this.#http?.address ?? null,
    };
  }

  #require(name: string): Volume {
    const served = this.#volumes.get(name);
    if (served === undefined) throw new MirrorvolError("ERR_NO_VOLUME", `there is no volume "${name}" here`);
    if (served.volume !== null) return served.volume;
    const reason = messageOf(served.failure);
    throw new MirrorvolError("ERR_VOLUME_FAILED", `volume "${name}" is not open: ${reason}`);
  }

  #exportDirectory(): ExportDirectory {
    const exported = () => [...this.#volumes.values()].filter(({ isExported }) => isExported);
    return {
      list: () => exported().map(({ name }) => name),
      find: (name) => exported().find((each) => each.name === name)?.volume ?? null,
      describe: (name) => (this.#volumes.has(name) ? `volume of ${this.#config.name}` : null),
    };
  }
}
