// What the NBD server serves: block devices, and the directory that knows them by name. A volume is such a
// device; so is the small one in memory that the tests use.

export interface DeviceOptions {
  /**
   * Aborted when the client is gone: whatever still waits may give up. All requests of a connection have the same one,
   * so that many may wait with it.
   */
  readonly signal?: AbortSignal;
}

/** Offsets and lengths in bytes, of any alignment. The server checks ranges before it calls. */
export interface BlockDevice {
  /** Size of the export. */
  readonly bytes: number;
  /** A device that refuses every change; clients are told before they try. */
  readonly readOnly?: boolean;
  /** The result belongs to the caller: it must not change while it is on its way to the client. */
  read(offset: number, length: number, options?: DeviceOptions): Promise<Uint8Array>;
  /** Resolves when the write is as durable as the volume's mode says. The data does not change until then. */
  write(offset: number, data: Uint8Array, options?: DeviceOptions): Promise<void>;
  /** The range is no longer needed; what it reads as afterwards is undefined. */
  trim(offset: number, length: number, options?: DeviceOptions): Promise<void>;
  /** The range reads as zeros afterwards; as durable as a write. */
  zero(offset: number, length: number, options?: DeviceOptions): Promise<void>;
  /** A barrier: every write that resolved before, on whatever connection, is durable. */
  flush(options?: DeviceOptions): Promise<void>;
}

export interface ExportDirectory {
  /** Names of what can be opened now. */
  list(): readonly string[];
  find(name: string): BlockDevice | null;
  /** One line for people, shown by clients that ask. */
  describe?(name: string): string | null;
}

export interface FoundExport {
  readonly name: string;
  readonly device: BlockDevice;
}

/** The empty name means "the only export there is"; with none or several it is nobody's name. */
export function findExport(directory: ExportDirectory, name: string): FoundExport | null {
  const names = name === "" ? directory.list() : [name];
  if (names.length !== 1) return null;
  const device = directory.find(names[0]!);
  return device === null ? null : { name: names[0]!, device };
}
