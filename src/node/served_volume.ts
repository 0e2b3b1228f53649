// One volume of a node. What goes wrong with it stays with it: the node's other volumes do not notice.
//
//   opened as    exported   beside it
//   source       yes        a SourceRelationship when the configuration names a mirror
//   mirror       no         known to the MirrorService, until it is promoted
//   (failed)     no         the reason, in the status
import type { World } from "../io/world.ts";
import type { MirrorService } from "../replication/mirror.ts";
import type { Volume } from "../volume/volume.ts";
import { messageOf } from "./admin_api.ts";
import type { VolumeEntry } from "./config.ts";
import { type OpenedVolume, openVolume } from "./open_volume.ts";
import { type FailedStatus, failedStatus, lossesOf, type ServedStatus, servedStatus } from "./status.ts";

export interface ServedVolumeOptions {
  readonly world: World;
  readonly entry: VolumeEntry;
  readonly secret: Uint8Array | null;
  readonly onEvent: (text: string) => void;
}

export class ServedVolume {
  readonly name: string;
  readonly #options: ServedVolumeOptions;
  #opened: OpenedVolume | null = null;
  #failure: unknown = null;

  constructor(options: ServedVolumeOptions) {
    this.#options = options;
    this.name = options.entry.volume.name;
  }

  /** Open, whatever its role; null when it could not be opened. */
  get volume(): Volume | null {
    return this.#opened?.volume ?? null;
  }

  get opened(): OpenedVolume | null {
    return this.#opened;
  }

  get failure(): unknown {
    return this.#failure;
  }

  get isExported(): boolean {
    return this.volume?.role === "source";
  }

  /** Never rejects: a failure is kept, and told. */
  async open(): Promise<void> {
    const { world, entry, secret, onEvent } = this.#options;
    const { volume: config, mirror: target, writeTimeoutMs } = entry;
    try {
      this.#opened = await openVolume({ world, config, target, writeTimeoutMs, secret, onEvent });
      for (const loss of lossesOf(this.#opened.volume.status())) onEvent(`degraded: ${loss}`);
    } catch (error) {
      this.#failure = error;
      onEvent(`cannot be served: ${messageOf(error)}`);
    }
  }

  async close(): Promise<void> {
    await this.#opened?.close();
  }

  status(mirrors: MirrorService): ServedStatus | FailedStatus {
    if (this.#opened === null) return failedStatus(this.#options.entry, messageOf(this.#failure));
    return servedStatus(this.#opened, mirrors.status(this.name));
  }
}
