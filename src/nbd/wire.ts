// The numbers and messages of the NBD protocol, as NetworkBlockDevice's doc/proto.md fixes them. Everything
// on the wire is big-endian. 64-bit magics are kept as two halves; offsets and sizes are plain numbers.
//
//   server                          client
//   NBDMAGIC IHAVEOPT flags16  ->
//                              <-   flags32
//                              <-   IHAVEOPT option32 length32 data         (any number of options)
//   magic64 option32 type32 length32 data  ->                               (one or more for each)
//                              <-   EXPORT_NAME or GO ends the handshake
//                              <-   magic32 flags16 command16 cookie64 offset64 length32 [payload]
//   magic32 error32 cookie64 [data]        ->                               (in any order)

const NBD_MAGIC = [0x4e42444d, 0x41474943] as const;
export const OPTION_MAGIC = [0x49484156, 0x454f5054] as const;
const OPTION_REPLY_MAGIC = [0x0003e889, 0x045565a9] as const;
export const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;

export const HANDSHAKE_FLAG = { fixedNewstyle: 1, noZeroes: 2 } as const;

export const TRANSMISSION_FLAG = {
  hasFlags: 1,
  readOnly: 2,
  sendFlush: 4,
  sendFua: 8,
  sendTrim: 32,
  sendWriteZeroes: 64,
  canMultiConn: 256,
} as const;

export const OPTION = { exportName: 1, abort: 2, list: 3, info: 6, go: 7 } as const;

export const INFO = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

export const REPLY = {
  ack: 1,
  server: 2,
  info: 3,
  errorUnsupported: 0x80000001,
  errorInvalid: 0x80000003,
  errorUnknown: 0x80000006,
} as const;

export const COMMAND = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6 } as const;

export const COMMAND_FLAG = { fua: 1, noHole: 2 } as const;

/** The only errors that NBD knows, whatever errno means on the machine. */
export const ERRNO = { none: 0, perm: 1, io: 5, inval: 22, nospc: 28, shutdown: 108 } as const;

export const CLIENT_FLAGS_BYTES = 4;
export const OPTION_HEADER_BYTES = 16;
export const REQUEST_HEADER_BYTES = 28;
/** Longest string that the protocol allows, names included. */
export const STRING_BYTES_MAX = 4096;
/** A payload up to this size must not be taken for an attack, whatever was advertised. */
export const COMMON_PAYLOAD_BYTES = 0x2000000;

const TRAILING_ZEROES_BYTES = 124;
const TWO_TO_32 = 0x100000000;

export interface Request {
  readonly command: number;
  readonly flags: number;
  /** Opaque to us, returned in the reply. */
  readonly cookie: readonly [high: number, low: number];
  readonly offset: number;
  readonly length: number;
}

export function encodeGreeting(): Uint8Array {
  const [bytes, view] = allocate(18);
  putMagic(view, 0, NBD_MAGIC);
  putMagic(view, 8, OPTION_MAGIC);
  view.setUint16(16, HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes);
  return bytes;
}

export function encodeOptionReply(option: number, type: number, data: Uint8Array = new Uint8Array(0)) {
  const [bytes, view] = allocate(20 + data.length);
  putMagic(view, 0, OPTION_REPLY_MAGIC);
  view.setUint32(8, option);
  view.setUint32(12, type);
  view.setUint32(16, data.length);
  bytes.set(data, 20);
  return bytes;
}

/** The answer to EXPORT_NAME, the one option whose answer has no header. */
export function encodeExportNameReply(exportBytes: number, flags: number, noZeroes: boolean): Uint8Array {
  const [bytes, view] = allocate(10 + (noZeroes ? 0 : TRAILING_ZEROES_BYTES));
  putUint64(view, 0, exportBytes);
  view.setUint16(8, flags);
  return bytes;
}

export function encodeInfoExport(exportBytes: number, flags: number): Uint8Array {
  const [bytes, view] = allocate(12);
  view.setUint16(0, INFO.export);
  putUint64(view, 2, exportBytes);
  view.setUint16(10, flags);
  return bytes;
}

export function encodeInfoText(type: number, text: string): Uint8Array {
  const encoded = new TextEncoder().encode(text);
  const [bytes, view] = allocate(2 + encoded.length);
  view.setUint16(0, type);
  bytes.set(encoded, 2);
  return bytes;
}

export function encodeInfoBlockSize(minimum: number, preferred: number, payloadMax: number): Uint8Array {
  const [bytes, view] = allocate(14);
  view.setUint16(0, INFO.blockSize);
  view.setUint32(2, minimum);
  view.setUint32(6, preferred);
  view.setUint32(10, payloadMax);
  return bytes;
}

/** One entry of the answer to LIST. */
export function encodeServerEntry(name: string, description: string): Uint8Array {
  const encodedName = new TextEncoder().encode(name);
  const encodedDescription = new TextEncoder().encode(description);
  const [bytes, view] = allocate(4 + encodedName.length + encodedDescription.length);
  view.setUint32(0, encodedName.length);
  bytes.set(encodedName, 4);
  bytes.set(encodedDescription, 4 + encodedName.length);
  return bytes;
}

export function encodeSimpleReply(request: Request, error: number): Uint8Array {
  const [bytes, view] = allocate(16);
  view.setUint32(0, SIMPLE_REPLY_MAGIC);
  view.setUint32(4, error);
  putMagic(view, 8, request.cookie);
  return bytes;
}

/** Offsets beyond 2^53 lose their low bits, which is harmless: they are far beyond the end of any export. */
export function decodeRequest(view: DataView): Request {
  return {
    flags: view.getUint16(4),
    command: view.getUint16(6),
    cookie: [view.getUint32(8), view.getUint32(12)],
    offset: view.getUint32(16) * TWO_TO_32 + view.getUint32(20),
    length: view.getUint32(24),
  };
}

export function hasMagic(view: DataView, at: number, magic: readonly [number, number]): boolean {
  return view.getUint32(at) === magic[0] && view.getUint32(at + 4) === magic[1];
}

function allocate(length: number): [Uint8Array, DataView] {
  const bytes = new Uint8Array(length);
  return [bytes, new DataView(bytes.buffer)];
}

function putMagic(view: DataView, at: number, magic: readonly [number, number]): void {
  view.setUint32(at, magic[0]);
  view.setUint32(at + 4, magic[1]);
}

function putUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / TWO_TO_32));
  view.setUint32(at + 4, value % TWO_TO_32);
}
