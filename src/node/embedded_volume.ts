// A volume in one's own process: the engine's volume, the real world around it, and the relationship with its
// mirror if it has one. This is the public face: what only the replication needs is left out.
import { nodeWorld } from "../io/node_world.ts";
import type { World } from "../io/world.ts";
import { Kernel } from "../kernel/kernel.ts";
import type { VolumeConfig } from "../volume/config.ts";
import {
  Volume as EngineVolume,
  type IoOptions,
  type Position,
  type Role,
  type WriteOptions,
} from "../volume/volume.ts";
import type { MirrorTarget } from "./config.ts";
import { DEFAULT_MIRROR_TIMEOUT_MS, DEFAULT_WRITE_TIMEOUT_MS } from "./defaults.ts";
import { VOLUME_EVENTS } from "./events.ts";
import { type OpenedVolume, openVolume } from "./open_volume.ts";
import { type ServedStatus, servedStatus } from "./status.ts";

/** Where a source is mirrored to. Only `url` is required. */
export interface MirrorOptions extends Partial<MirrorTarget> {
  /** Of the mirror: "ws://host:port". */
  readonly url: string;
}

export interface CreateVolumeOptions extends VolumeConfig {
  /** Default "source". */
  readonly role?: Role;
  /** Default: the machine's files, network and clock. */
  readonly world?: World;
}

export interface OpenVolumeOptions extends VolumeConfig {
  readonly mirror?: MirrorOptions;
  /** How long a write may wait, for the mirror above all, before it rejects and is in doubt. Default 30,000. */
  readonly writeTimeoutMs?: number;
  /** Shared with the mirror, at least 16 bytes; proved and never sent. Default: none. */
  readonly secret?: Uint8Array;
  /** Default: the machine's files, network and clock. */
  readonly world?: World;
}

/**
 * A volume of 4 KiB blocks, read and written at any offset, in bytes.
 *
 * Events (CustomEvent, what is said is in `detail`):
 *   - "consistencypoint" {cp, blocks, ms}: the members have moved to a new image
 *   - "degraded" {member or logCopy, reason}: a device is lost, the volume goes on
 *   - "mirrorstate", "mirrorlost", "fenced", "diverged" {text}: what happened between it and its mirror
 *   - "failed" {error}: the volume has stopped; every call rejects
 */
export class Volume extends EventTarget {
  readonly name: string;
  /** Size in bytes. */
  readonly bytes: number;
  readonly #opened: OpenedVolume;

  /**
   * Makes the members and the log. Rejects with ERR_CONFIG, ERR_EXISTS, ERR_NOT_FOUND (a folder) or
   * ERR_NO_SPACE; then nothing is left behind.
   */
  static async create(options: CreateVolumeOptions): Promise<void> {
    const { world = nodeWorld(), role = "source", ...config } = options;
    await EngineVolume.create(world, await Kernel.create(), config, role);
  }

  /**
   * Opens the volume and recovers what a crash left in its log. Rejects with ERR_CONFIG, ERR_LOCKED,
   * ERR_NO_MEMBERS, ERR_TOO_FEW_MEMBERS, ERR_MEMBERS_FOREIGN, ERR_MEMBERS_DIVERGED,
   * ERR_MEMBERS_STALE, ERR_LOG_CORRUPT.
   *
   * With a mirror it resolves before the two have talked; until they have agreed on what was acknowledged,
   * reads and writes wait. Without one, a mirror's volume waits until it is promoted (Mirror.promote).
   */
  static async open(options: OpenVolumeOptions): Promise<Volume> {
    const { world = nodeWorld(), mirror, secret = null, writeTimeoutMs, ...config } = options;
    const target = mirror === undefined ? null : completeTarget(config.name, mirror);
    let volume: Volume | null = null;
    const onEvent = (text: string, name?: string) => {
      if (name !== undefined) volume?.dispatchEvent(new CustomEvent(name, { detail: { text } }));
    };
    const timeoutMs = writeTimeoutMs ?? DEFAULT_WRITE_TIMEOUT_MS;
    const opened = await openVolume({ world, config, target, secret, writeTimeoutMs: timeoutMs, onEvent });
    volume = new Volume(opened);
    return volume;
  }

  /** For Mirror, which opens volumes in another way. */
  constructor(opened: OpenedVolume) {
    super();
    this.#opened = opened;
    this.name = opened.volume.name;
    this.bytes = opened.volume.bytes;
    for (const name of VOLUME_EVENTS) {
      opened.volume.addEventListener(name, (event) => {
        this.dispatchEvent(new CustomEvent(name, { detail: (event as CustomEvent).detail }));
      });
    }
  }

  /** Each block is verified, and repaired from parity if it must be. Rejects with ERR_RANGE, ERR_UNRECOVERABLE. */
  read(offset: number, length: number, options?: IoOptions): Promise<Uint8Array> {
    return this.#opened.volume.read(offset, length, options);
  }

  /**
   * Resolves when the data is as durable as the mode says; it must not change before. Rejects with ERR_RANGE,
   * ERR_NO_SPACE, or ERR_MIRROR_LOST: then it is in doubt whether the data was written.
   */
  write(offset: number, data: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.#opened.volume.write(offset, data, options);
  }

  /** The whole 4 KiB blocks within the range read as zeros, and take no space. Rejects as write does. */
  trim(offset: number, length: number, options?: WriteOptions): Promise<void> {
    return this.#opened.volume.trim(offset, length, options);
  }

  /** Every byte of the range reads as zero. Rejects as write does. */
  zero(offset: number, length: number, options?: WriteOptions): Promise<void> {
    return this.#opened.volume.zero(offset, length, options);
  }

  /** Resolves when every write that was acknowledged before is as durable as its mode says. */
  flush(options?: IoOptions): Promise<void> {
    return this.#opened.volume.flush(options);
  }

  /** Makes a consistency point now; resolves with its number when it is committed. */
  consistencyPoint(options?: IoOptions): Promise<number> {
    return this.#opened.volume.consistencyPoint(options);
  }

  /** Where the log ends. */
  get position(): Position {
    return this.#opened.volume.position;
  }

  get role(): Role {
    return this.#opened.volume.role;
  }

  status(): ServedStatus {
    return servedStatus(this.#opened);
  }

  /** Idempotent. Whatever was acknowledged is durable with or without it. */
  close(): Promise<void> {
    return this.#opened.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function completeTarget(name: string, mirror: MirrorOptions): MirrorTarget {
  return {
    volume: name,
    mode: "sync",
    onMirrorLoss: "stop",
    mirrorTimeoutMs: DEFAULT_MIRROR_TIMEOUT_MS,
    ...mirror,
  };
}
