// The mirror's side in one's own process: volumes that sources on other machines keep in step, until they are
// promoted.
import { nodeWorld } from "../io/node_world.ts";
import type { Listener } from "../io/transport.ts";
import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { Kernel } from "../kernel/kernel.ts";
import { MirrorService } from "../replication/mirror.ts";
import type { VolumeConfig } from "../volume/config.ts";
import { DEFAULT_WRITE_TIMEOUT_MS, SECRET_BYTES_MIN } from "./defaults.ts";
import { Volume } from "./embedded_volume.ts";
import { MIRROR_KERNEL_BYTES, type OpenedVolume, openVolume } from "./open_volume.ts";
import { promoteVolume } from "./promote.ts";
import { type ServedStatus, servedStatus } from "./status.ts";
import { isLoopback, parseHostPort } from "./units.ts";

export interface MirrorServeOptions {
  /** "host:port" where sources connect; port 0 lets the system choose. Beyond loopback `secret` is needed. */
  readonly listen: string;
  /** Each was made with the role "mirror". */
  readonly volumes: readonly VolumeConfig[];
  /** Shared with the sources, at least 16 bytes; proved and never sent. Default: none. */
  readonly secret?: Uint8Array;
  /** A line about what happened. */
  readonly onEvent?: (text: string) => void;
  /** Default: the machine's files, network and clock. */
  readonly world?: World;
}

export class Mirror {
  readonly #world: World;
  readonly #opened: ReadonlyMap<string, OpenedVolume>;
  readonly #service: MirrorService;
  readonly #listener: Listener;
  #closing: Promise<void> | null = null;

  /**
   * Opens the volumes and listens. Rejects with ERR_CONFIG, ERR_ADDRESS_IN_USE, or as Volume.open does; then
   * nothing stays open.
   */
  static async serve(options: MirrorServeOptions): Promise<Mirror> {
    const { listen, world = nodeWorld(), secret = null, onEvent = () => {} } = options;
    checkListen(listen, secret);
    const opened = new Map<string, OpenedVolume>();
    const kernel = await Kernel.create({ memoryBytes: MIRROR_KERNEL_BYTES });
    const volumes = { find: (name: string) => opened.get(name)?.volume };
    const service = new MirrorService({ world, kernel, volumes, secret, onEvent });
    try {
      for (const config of options.volumes) {
        const tell = (text: string) => onEvent(`${config.name}: ${text}`);
        opened.set(
          config.name,
          await openVolume({
            world,
            config,
            target: null,
            writeTimeoutMs: DEFAULT_WRITE_TIMEOUT_MS,
            secret,
            onEvent: tell,
          }),
        );
      }
      const listener = await world.transport.listen(listen, (connection) => service.accept(connection));
      return new Mirror(world, opened, service, listener);
    } catch (error) {
      for (const each of opened.values()) await each.close();
      throw error;
    }
  }

  private constructor(
    world: World,
    opened: ReadonlyMap<string, OpenedVolume>,
    service: MirrorService,
    listener: Listener,
  ) {
    this.#world = world;
    this.#opened = opened;
    this.#service = service;
    this.#listener = listener;
  }

  /** Where it listens, with the real port. */
  get address(): string {
    return this.#listener.address;
  }

  /** Rejects with ERR_NO_VOLUME. */
  status(name: string): ServedStatus {
    return servedStatus(this.#require(name), this.#service.status(name));
  }

  /**
   * Makes a mirror the source of a new generation; resolves when it can be read and written. Rejects with
   * ERR_SOURCE_CONNECTED, ERR_NEVER_IN_SYNC, ERR_FENCED (a newer generation is known elsewhere), and unless forced
   * with ERR_NOT_IN_SYNC. The volume is closed with the mirror, or before.
   */
  async promote(name: string, options: { readonly force?: boolean } = {}): Promise<Volume> {
    const opened = this.#require(name);
    await promoteVolume(this.#world, this.#service, opened.volume, options);
    return new Volume(opened);
  }

  /** Lets go of the sources, then closes the volumes, the promoted ones too. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#listener.close();
    await this.#service.close();
    for (const each of this.#opened.values()) await each.close();
  }

  #require(name: string): OpenedVolume {
    const opened = this.#opened.get(name);
    if (opened === undefined) throw new MirrorvolError("ERR_NO_VOLUME", `there is no volume "${name}" here`);
    return opened;
  }
}

function checkListen(listen: string, secret: Uint8Array | null): void {
  const address = parseHostPort(listen);
  if (address === null)
    throw new MirrorvolError("ERR_CONFIG", `listen: expected "host:port", got "${listen}"`);
  if (secret !== null && secret.length < SECRET_BYTES_MIN) {
    throw new MirrorvolError("ERR_CONFIG", `secret: expected at least ${SECRET_BYTES_MIN} bytes`);
  }
  if (secret !== null || isLoopback(address.host)) return;
  throw new MirrorvolError(
    "ERR_CONFIG",
    `listen: ${listen} can be reached from other machines: give a secret`,
  );
}
