// What holds where nothing is said, in the configuration file and in the embedded API alike.
export const DEFAULT_LOG_BYTES = 64 * 1024 ** 2;
export const DEFAULT_CP_INTERVAL_MS = 10_000;
export const DEFAULT_MIRROR_TIMEOUT_MS = 5_000;
export const DEFAULT_WRITE_TIMEOUT_MS = 30_000;

/** A shared secret that is shorter is refused. */
export const SECRET_BYTES_MIN = 16;
