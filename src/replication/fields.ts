// The parts of which the bodies of frames are made. A message is described once, as a record of fields in
// their order on the wire; encoding, decoding and the bounds of every value follow from that description.
//
//   const Ack = record({ received: count(), durable: count() });
//
// A body that ends early, goes on too long, or holds a value out of its bounds is a WireFault; a count is
// checked against its maximum, and against the bytes that are there, before anything is allocated for it.

import { MirrorvolError } from "../kernel/errors.ts";

/** What is wrong with a message. The peer is told, and the connection ends. */
export function wireFault(text: string): MirrorvolError {
  return new MirrorvolError("ERR_PROTOCOL", text);
}

export class Cursor {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  /** Moves on by `length` bytes and returns where they are. */
  take(length: number): number {
    if (length > this.left) throw wireFault(`the body ends ${length - this.left} bytes early`);
    const at = this.at;
    this.at += length;
    return at;
  }
}

export interface Field<T> {
  size(value: T): number;
  write(to: Cursor, value: T): void;
  /** Throws a WireFault; `name` is for its text. */
  read(from: Cursor, name: string): T;
}

export type ValueOf<F> = F extends Field<infer T> ? T : never;

function between(value: number, min: number, max: number, name: string): number {
  if (!(value >= min && value <= max)) throw wireFault(`${name} is ${value}, not ${min} to ${max}`);
  return value;
}

export function u8(min = 0, max = 0xff): Field<number> {
  return {
    size: () => 1,
    write: (to, value) => to.view.setUint8(to.take(1), between(value, min, max, "u8")),
    read: (from, name) => between(from.view.getUint8(from.take(1)), min, max, name),
  };
}

export function u32(min = 0, max = 0xffffffff): Field<number> {
  return {
    size: () => 4,
    write: (to, value) => to.view.setUint32(to.take(4), between(value, min, max, "u32"), true),
    read: (from, name) => between(from.view.getUint32(from.take(4), true), min, max, name),
  };
}

/** A u64 that is exact as a number: a sequence, a cp, a block number. */
export function count(min = 0, max = Number.MAX_SAFE_INTEGER): Field<number> {
  const WORD = 2 ** 32;
  return {
    size: () => 8,
    write: (to, value) => {
      between(value, min, max, "count");
      const at = to.take(8);
      to.view.setUint32(at, value % WORD, true);
      to.view.setUint32(at + 4, Math.floor(value / WORD), true);
    },
    read: (from, name) => {
      const at = from.take(8);
      const value = from.view.getUint32(at + 4, true) * WORD + from.view.getUint32(at, true);
      return between(value, min, max, name);
    },
  };
}

/** A u64 that is only compared: a checksum, a random id. */
export function u64(): Field<bigint> {
  return {
    size: () => 8,
    write: (to, value) => to.view.setBigUint64(to.take(8), value, true),
    read: (from) => from.view.getBigUint64(from.take(8), true),
  };
}

export function flag(): Field<boolean> {
  return {
    size: () => 1,
    write: (to, value) => to.view.setUint8(to.take(1), value ? 1 : 0),
    read: (from, name) => between(from.view.getUint8(from.take(1)), 0, 1, name) === 1,
  };
}

/** Exactly `length` bytes: a hash, an id, a nonce. A copy. */
export function fixed(length: number): Field<Uint8Array> {
  return {
    size: () => length,
    write: (to, value) => {
      if (value.length !== length) throw wireFault(`${value.length} bytes, not ${length}`);
      to.bytes.set(value, to.take(length));
    },
    read: (from) => {
      const at = from.take(length);
      return from.bytes.slice(at, at + length);
    },
  };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 with its length (u16) in front. What is too long is cut when it is written. */
export function text(minBytes: number, maxBytes: number): Field<string> {
  const bytesOf = (value: string) => {
    const bytes = new Uint8Array(maxBytes);
    // Never leaves half a character behind.
    return bytes.subarray(0, encoder.encodeInto(value, bytes).written);
  };
  return {
    size: (value) => 2 + bytesOf(value).length,
    write: (to, value) => {
      const bytes = bytesOf(value);
      to.view.setUint16(to.take(2), bytes.length, true);
      to.bytes.set(bytes, to.take(bytes.length));
    },
    read: (from, name) => {
      const length = between(from.view.getUint16(from.take(2), true), minBytes, maxBytes, `${name}'s length`);
      const at = from.take(length);
      return decodeText(from.bytes.subarray(at, at + length), name);
    },
  };
}

function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new MirrorvolError("ERR_PROTOCOL", `${name} is no UTF-8`, { cause });
  }
}

export function optional<T>(field: Field<T>): Field<T | null> {
  const there = flag();
  return {
    size: (value) => 1 + (value === null ? 0 : field.size(value)),
    write: (to, value) => {
      there.write(to, value !== null);
      if (value !== null) field.write(to, value);
    },
    read: (from, name) => (there.read(from, name) ? field.read(from, name) : null),
  };
}

/** A u32 that counts, then the items. An item takes at least one byte, so the count is bounded by what is left. */
export function list<T>(item: Field<T>, min: number, max: number): Field<readonly T[]> {
  const length = u32(min, max);
  return {
    size: (values) => values.reduce((sum, value) => sum + item.size(value), 4),
    write: (to, values) => {
      length.write(to, values.length);
      for (const value of values) item.write(to, value);
    },
    read: (from, name) => {
      const items = length.read(from, `${name}'s count`);
      if (items > from.left) throw wireFault(`${name}: ${items} items do not fit into ${from.left} bytes`);
      return Array.from({ length: items }, () => item.read(from, name));
    },
  };
}

/** The rest of the body: whole units of `unitBytes`, `min` to `max` of them. A view, not a copy. */
export function rest(unitBytes: number, min: number, max: number): Field<Uint8Array> {
  const check = (bytes: number, name: string) => {
    if (bytes % unitBytes !== 0) throw wireFault(`${name}: ${bytes} bytes are not units of ${unitBytes}`);
    between(bytes / unitBytes, min, max, name);
    return bytes;
  };
  return {
    size: (value) => check(value.length, "rest"),
    write: (to, value) => to.bytes.set(value, to.take(value.length)),
    read: (from, name) => {
      const length = check(from.left, name);
      const at = from.take(length);
      return from.bytes.subarray(at, at + length);
    },
  };
}

type Shape = Record<string, Field<never>>;
export type RecordOf<S> = { readonly [K in keyof S]: ValueOf<S[K]> };

export function record<S extends { [K in keyof S]: Field<unknown> }>(shape: S): Field<RecordOf<S>> {
  const fields = Object.entries(shape as unknown as Shape) as unknown as [keyof S & string, Field<unknown>][];
  return {
    size: (value) => fields.reduce((sum, [name, field]) => sum + field.size(value[name]), 0),
    write: (to, value) => {
      for (const [name, field] of fields) field.write(to, value[name]);
    },
    read: (from) => {
      const value: Record<string, unknown> = {};
      for (const [name, field] of fields) value[name] = field.read(from, name);
      return value as RecordOf<S>;
    },
  };
}
