// Writing and reading fixed binary records field by field, with every bound checked.
import { assert, MirrorvolError } from "../kernel/errors.ts";

export class ByteWriter {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(length: number) {
    this.#bytes = new Uint8Array(length);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#at;
  }

  u8(value: number): void {
    this.#view.setUint8(this.#advance(1), value);
  }

  u16(value: number): void {
    this.#view.setUint16(this.#advance(2), value, true);
  }

  u32(value: number): void {
    this.#view.setUint32(this.#advance(4), value, true);
  }

  u64(value: bigint): void {
    this.#view.setBigUint64(this.#advance(8), value, true);
  }

  /** A u64 that is exact as a number. */
  number(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, `${value} is no u64`);
    this.u64(BigInt(value));
  }

  bytes(value: Uint8Array): void {
    this.#bytes.set(value, this.#advance(value.length));
  }

  words(value: Uint32Array): void {
    for (const word of value) this.u32(word);
  }

  /** The whole record, zero where nothing was written. */
  finish(): Uint8Array {
    return this.#bytes;
  }

  #advance(length: number): number {
    const at = this.#at;
    this.#at += length;
    assert(this.#at <= this.#bytes.length, "the record is too small for its fields");
    return at;
  }
}

export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }

  number(): number {
    const value = this.u64();
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw new MirrorvolError("ERR_FORMAT", `${value} is out of range`);
    return Number(value);
  }

  /** A u32 that counts what follows. */
  count(max: number): number {
    const count = this.u32();
    if (count > max)
      throw new MirrorvolError("ERR_FORMAT", `a count of ${count} where at most ${max} can be`);
    return count;
  }

  /** A copy. */
  bytes(length: number): Uint8Array {
    const at = this.#advance(length);
    return this.#bytes.slice(at, at + length);
  }

  words(count: number): Uint32Array {
    const words = new Uint32Array(count);
    for (let i = 0; i < count; i++) words[i] = this.u32();
    return words;
  }

  expectZeros(): void {
    const bytes = this.#bytes;
    for (let i = this.#at; i < bytes.length; i++) {
      if (bytes[i] !== 0) throw new MirrorvolError("ERR_FORMAT", `reserved byte ${i} is not zero`);
    }
  }

  #advance(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw new MirrorvolError("ERR_FORMAT", "the record ends too early");
    this.#at += length;
    return at;
  }
}
