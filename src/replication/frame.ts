// Frames: everything between a source and its mirror that is not a log entry (assembly/wire_format.ts).
//
// Invariants:
//   - a frame is looked into only when its checksum is right, and used only when every field is in bounds;
//   - `decodeMessage` throws ERR_PROTOCOL for whatever it does not understand, and nothing else;
//   - a message of log entries is told from a frame by checksum, not by luck: an entry whose payload checksum
//     happens to begin like a frame's magic is still an entry.

import { ENTRY_HEADER_BYTES, ENTRY_MAGIC, ENTRY_MAGIC_AT } from "../../assembly/format.ts";
import {
  FRAME_BODY_BYTES,
  FRAME_BODY_MAX,
  FRAME_CHECKSUM,
  FRAME_FLAGS,
  FRAME_GENERATION,
  FRAME_GENERATION_ID,
  FRAME_HEADER_BYTES,
  FRAME_KIND,
  FRAME_MAGIC,
  FRAME_MAGIC_AT,
  FRAME_VERSION,
  WIRE_VERSION,
} from "../../assembly/wire_format.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Generation } from "../log/types.ts";
import { Cursor, wireFault } from "./fields.ts";
import { type BodyOf, bodyField, kindOf, type Message, type MessageName, nameOf } from "./messages.ts";

export interface Frame {
  readonly generation: Generation;
  readonly message: Message;
}

/** Before the secret is proved, a frame names no generation. */
export const NO_GENERATION: Generation = { number: 0, id: 0n };

export function encodeFrame<N extends MessageName>(
  kernel: Kernel,
  generation: Generation,
  name: N,
  body: BodyOf<N>,
): Uint8Array {
  const field = bodyField(name);
  const bodyBytes = field.size(body);
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + bodyBytes);
  const to = new Cursor(bytes, FRAME_HEADER_BYTES);
  field.write(to, body);
  to.view.setUint32(FRAME_MAGIC_AT, FRAME_MAGIC, true);
  to.view.setUint8(FRAME_VERSION, WIRE_VERSION);
  to.view.setUint8(FRAME_KIND, kindOf(name));
  to.view.setUint32(FRAME_BODY_BYTES, bodyBytes, true);
  to.view.setUint32(FRAME_GENERATION, generation.number, true);
  to.view.setBigUint64(FRAME_GENERATION_ID, generation.id, true);
  const sum = checksumOf(kernel, bytes);
  to.view.setUint32(FRAME_CHECKSUM, sum[0]!, true);
  to.view.setUint32(FRAME_CHECKSUM + 4, sum[1]!, true);
  return bytes;
}

/** Whether a message holds log entries (still to be checked one by one), or else a frame. */
export function holdsEntries(kernel: Kernel, bytes: Uint8Array): boolean {
  if (bytes.length < ENTRY_HEADER_BYTES) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(ENTRY_MAGIC_AT, true) !== ENTRY_MAGIC) return false;
  return view.getUint32(FRAME_MAGIC_AT, true) !== FRAME_MAGIC || !isChecksumRight(kernel, bytes);
}

export function decodeFrame(kernel: Kernel, bytes: Uint8Array): Frame {
  const from = new Cursor(bytes);
  const { view } = from;
  if (bytes.length < FRAME_HEADER_BYTES) throw wireFault(`a message of ${bytes.length} bytes`);
  if (view.getUint32(FRAME_MAGIC_AT, true) !== FRAME_MAGIC) throw wireFault("neither log entry nor frame");
  if (!isChecksumRight(kernel, bytes)) throw wireFault("the frame's checksum is wrong");
  const version = view.getUint8(FRAME_VERSION);
  if (version !== WIRE_VERSION) throw wireFault(`frame version ${version}, this side speaks ${WIRE_VERSION}`);
  if (view.getUint16(FRAME_FLAGS, true) !== 0) throw wireFault("the frame's reserved flags are not zero");
  const bodyBytes = view.getUint32(FRAME_BODY_BYTES, true);
  const isWhole = bodyBytes <= FRAME_BODY_MAX && bodyBytes === bytes.length - FRAME_HEADER_BYTES;
  if (!isWhole) throw wireFault(`${bytes.length} bytes with a body of ${bodyBytes}`);
  const generation = {
    number: view.getUint32(FRAME_GENERATION, true),
    id: view.getBigUint64(FRAME_GENERATION_ID, true),
  };
  return { generation, message: decodeBody(view.getUint8(FRAME_KIND), bytes) };
}

function decodeBody(kind: number, bytes: Uint8Array): Message {
  const name = nameOf(kind);
  if (name === undefined) throw wireFault(`unknown kind of frame ${kind}`);
  const from = new Cursor(bytes, FRAME_HEADER_BYTES);
  const body = bodyField(name).read(from, name);
  if (from.left !== 0) throw wireFault(`${name}: ${from.left} bytes too many`);
  return { name, body } as Message;
}

function isChecksumRight(kernel: Kernel, bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sum = checksumOf(kernel, bytes);
  return (
    view.getUint32(FRAME_CHECKSUM, true) === sum[0] && view.getUint32(FRAME_CHECKSUM + 4, true) === sum[1]
  );
}

function checksumOf(kernel: Kernel, bytes: Uint8Array): Uint32Array {
  const sum = new Uint32Array(2);
  kernel.checksum64(bytes.subarray(FRAME_MAGIC_AT), sum);
  return sum;
}
