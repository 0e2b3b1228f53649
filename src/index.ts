// The public API of mirrorvol, and nothing else. Offsets and lengths are bytes, data is Uint8Array, durations
// are milliseconds, errors are MirrorvolError with a stable code.
export { MirrorvolError } from "./kernel/errors.ts";
export { Mirror, type MirrorServeOptions } from "./node/embedded_mirror.ts";
export {
  type CreateVolumeOptions,
  type MirrorOptions,
  type OpenVolumeOptions,
  Volume,
} from "./node/embedded_volume.ts";
export type { ServedStatus as VolumeStatus } from "./node/status.ts";
export type { IoOptions, Position, Role, VolumeConfig, WriteMode, WriteOptions } from "./volume/volume.ts";
