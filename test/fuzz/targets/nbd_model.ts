// What an NBD client's bytes ask for and what a right server answers, read off the protocol's text in the simplest
// way: no states, no streams, the whole conversation at once. It shares no code with the server.
//
// The server under test has one export, "disk", of DISK_BYTES, and the limits below. A conversation ends in one of
// two ways: the client's bytes are in order up to some point and then there are none left (or a DISC), or they break
// the protocol. In the second case answers that were still on their way may be lost.

import type { NbdLimits } from "../../../src/nbd/limits.ts";

export const DISK_BYTES = 65_536;

export const LIMITS: Partial<NbdLimits> = {
  optionCountMax: 8,
  optionBytesMax: 600,
  requestsInFlightMax: 3,
  bytesInFlightMax: 16_384,
  payloadBytesMax: 8192,
};
const SKIPPED_BYTES_MAX = 0x2000000;

export interface OptionAnswer {
  readonly option: number;
  /** Of the last reply: 1 is an acknowledgement, others are errors. */
  readonly type: number;
}

export interface RequestAnswer {
  readonly cookie: string;
  readonly errno: number;
  /** What a read returns, or null. */
  readonly data: Uint8Array | null;
}

export interface Conversation {
  readonly options: OptionAnswer[];
  readonly requests: RequestAnswer[];
  /** By EXPORT_NAME the answer has another form: bytes of it, or 0. */
  exportNameBytes: number;
  isViolation: boolean;
}

const OPTION_MAGIC = "IHAVEOPT";
const REQUEST_MAGIC = 0x25609513;
const UNSUPPORTED = 0x80000001;
const INVALID = 0x80000003;
const UNKNOWN = 0x80000006;
const [EINVAL, ENOSPC] = [22, 28];

export function modelOf(input: Uint8Array): Conversation {
  const conversation: Conversation = { options: [], requests: [], exportNameBytes: 0, isViolation: false };
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  if (input.length < 4) return conversation;
  const flags = view.getUint32(0);
  if (flags > 3) conversation.isViolation = true;
  else {
    const at = readOptions(input, view, (flags & 2) !== 0, conversation);
    if (at !== null) readRequests(input, view, at, conversation);
  }
  return conversation;
}

/** Where the requests begin, or null if none may. */
function readOptions(
  input: Uint8Array,
  view: DataView,
  noZeroes: boolean,
  conversation: Conversation,
): number | null {
  let count = 0;
  for (let at = 4; at + 16 <= input.length; ) {
    const magic = String.fromCharCode(...input.subarray(at, at + 8));
    const [option, length] = [view.getUint32(at + 8), view.getUint32(at + 12)];
    if (magic !== OPTION_MAGIC || length > LIMITS.optionBytesMax!) return violate(conversation);
    if (at + 16 + length > input.length) return null;
    const data = input.subarray(at + 16, at + 16 + length);
    at += 16 + length;
    count += 1;
    if (count > LIMITS.optionCountMax!) return violate(conversation);
    if (option === 1) {
      if (!isDisk(data)) return violate(conversation);
      conversation.exportNameBytes = noZeroes ? 10 : 134;
      return at;
    }
    const type = answerTo(option, data);
    conversation.options.push({ option, type });
    if (option === 2) return null;
    if (option === 7 && type === 1) return at;
  }
  return null;
}

function violate(conversation: Conversation): null {
  conversation.isViolation = true;
  return null;
}

function answerTo(option: number, data: Uint8Array): number {
  if (option === 2) return 1;
  if (option === 3) return data.length === 0 ? 1 : INVALID;
  if (option !== 6 && option !== 7) return UNSUPPORTED;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 6) return INVALID;
  const nameBytes = view.getUint32(0);
  if (nameBytes + 6 > data.length) return INVALID;
  const isWhole = data.length === nameBytes + 6 + 2 * view.getUint16(4 + nameBytes);
  const name = data.subarray(4, 4 + nameBytes);
  if (!isWhole || !isUtf8(name)) return INVALID;
  return isDisk(name) ? 1 : UNKNOWN;
}

function isDisk(name: Uint8Array): boolean {
  const text = String.fromCharCode(...name);
  return text === "disk" || text === "";
}

function isUtf8(bytes: Uint8Array): boolean {
  return Buffer.from(Buffer.from(bytes).toString("utf8"), "utf8").equals(bytes);
}

function readRequests(input: Uint8Array, view: DataView, from: number, conversation: Conversation): void {
  const disk = new Uint8Array(DISK_BYTES);
  for (let at = from; at + 28 <= input.length; ) {
    const [flags, command] = [view.getUint16(at + 4), view.getUint16(at + 6)];
    const [offset, length] = [Number(view.getBigUint64(at + 16)), view.getUint32(at + 24)];
    if (view.getUint32(at) !== REQUEST_MAGIC) return void violate(conversation);
    const cookie = view.getBigUint64(at + 8).toString(16);
    at += 28;
    if (command === 2) return;
    const errno = errnoOf(command, flags, offset, length);
    let payload: Uint8Array | null = null;
    if (command === 1) {
      if (errno !== 0 && length > SKIPPED_BYTES_MAX) return void violate(conversation);
      if (at + length > input.length) return;
      payload = input.subarray(at, at + length);
      at += length;
    }
    const data = errno === 0 ? run(disk, command, offset, length, payload) : null;
    conversation.requests.push({ cookie, errno, data });
  }
}

function errnoOf(command: number, flags: number, offset: number, length: number): number {
  const flagsOf: Record<number, number> = { 0: 1, 1: 1, 3: 1, 4: 1, 6: 3 };
  const known = flagsOf[command];
  if (known === undefined || (flags & ~known) !== 0) return EINVAL;
  if (command === 3) return offset === 0 && length === 0 ? 0 : EINVAL;
  if (command <= 1 && length > LIMITS.payloadBytesMax!) return EINVAL;
  if (offset + length <= DISK_BYTES) return 0;
  return command === 1 || command === 6 ? ENOSPC : EINVAL;
}

function run(
  disk: Uint8Array,
  command: number,
  offset: number,
  length: number,
  payload: Uint8Array | null,
): Uint8Array | null {
  if (command === 0) return disk.slice(offset, offset + length);
  if (command === 1) disk.set(payload!, offset);
  if (command === 4 || command === 6) disk.fill(0, offset, offset + length);
  return null;
}
