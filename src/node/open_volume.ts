// Opening a volume with all that belongs to it: a kernel of its own, and for a source that is mirrored the
// relationship with its mirror. A node and the embedded API open volumes in this one way.
import type { World } from "../io/world.ts";
import { Kernel } from "../kernel/kernel.ts";
import { SourceRelationship } from "../replication/source.ts";
import type { VolumeConfig } from "../volume/config.ts";
import { Volume } from "../volume/volume.ts";
import type { MirrorTarget } from "./config.ts";
import { reportEvents } from "./events.ts";

/** Of the kernel that only checks what comes over the wire. */
export const MIRROR_KERNEL_BYTES = 4 * 1024 ** 2;

export interface OpenVolumeOptions {
  readonly world: World;
  readonly config: VolumeConfig;
  readonly target: MirrorTarget | null;
  /** How long a write may wait before its client gets an error. */
  readonly writeTimeoutMs: number;
  readonly secret: Uint8Array | null;
  /** What happens, for people; about the mirror also with a name, for programs. */
  readonly onEvent: (text: string, name?: string) => void;
}

export interface OpenedVolume {
  readonly volume: Volume;
  readonly kernel: Kernel;
  /** Null for a volume without a mirror, and for a mirror. */
  readonly relationship: SourceRelationship | null;
  /** Idempotent. */
  close(): Promise<void>;
}

/** The relationship has been started, but nothing waits for it: until both sides agree, the gate is closed. */
export async function openVolume(options: OpenVolumeOptions): Promise<OpenedVolume> {
  const { world, config, target, secret, writeTimeoutMs, onEvent } = options;
  const kernel = await Kernel.create();
  const volume = await Volume.open(world, kernel, config, { hasMirror: target !== null, writeTimeoutMs });
  reportEvents(volume, onEvent);
  if (target !== null) volume.defaultMode = target.mode;
  const isMirrored = target !== null && volume.role === "source";
  if (target !== null && !isMirrored) {
    onEvent(`it is a mirror: the key "mirror" (${target.url}) means nothing until it is promoted`);
  }
  const relationship = isMirrored
    ? new SourceRelationship({ world, kernel, volume, target, secret, onEvent })
    : null;
  relationship?.start();
  let closing: Promise<void> | null = null;
  const closeBoth = async () => {
    await relationship?.close();
    await volume.close();
  };
  return { volume, kernel, relationship, close: () => (closing ??= closeBoth()) };
}
