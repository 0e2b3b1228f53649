import * as format from "../../assembly/format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { assert, suite } from "../support/harness.ts";
import { oracle64, randomBytes } from "../support/scalar.ts";

const test = suite("log entry");
const kernel = await Kernel.create({ memoryBytes: 8 << 20 });
const room = kernel.arena.allocate(4 << 20);
const ENTRY = kernel.offsetOf(room) + 64;
const SOURCE = ENTRY + (2 << 20);

/** Header fields other than the checksums, by the table in format.ts. */
function writeHeader(view: DataView, at: number, kind: number, payloadBytes: number): void {
  const u64 = (offset: number, value: bigint) => view.setBigUint64(at + offset, value, true);
  const u32 = (offset: number, value: number) => view.setUint32(at + offset, value, true);
  u64(format.ENTRY_PREVIOUS, 0x0123456789abcdefn);
  u64(format.ENTRY_SEQUENCE, 77n);
  u64(format.ENTRY_DURABLE_THROUGH, 76n);
  u64(format.ENTRY_GENERATION_ID, 0xfedcba9876543210n);
  u64(format.ENTRY_LBA, 1234n);
  u32(format.ENTRY_GENERATION, 3);
  u32(format.ENTRY_BLOCK_COUNT, Math.ceil(payloadBytes / format.BLOCK_BYTES));
  u32(format.ENTRY_PAYLOAD_BYTES, payloadBytes);
  view.setUint8(at + format.ENTRY_KIND, kind);
  view.setUint8(at + format.ENTRY_VERSION, format.FORMAT_VERSION);
  view.setUint16(at + format.ENTRY_FLAGS, 0, true);
  u32(format.ENTRY_MAGIC_AT, format.ENTRY_MAGIC);
  u32(format.ENTRY_MIRROR_LAG, 0);
}

/** The whole entry, made by hand. */
function oracleEntry(kind: number, payload: Uint8Array): Uint8Array {
  const entry = new Uint8Array(format.ENTRY_HEADER_BYTES + payload.length);
  const view = new DataView(entry.buffer);
  entry.set(payload, format.ENTRY_HEADER_BYTES);
  writeHeader(view, 0, kind, payload.length);
  view.setBigUint64(8, BigInt(`0x${oracle64(payload)}`), true);
  view.setBigUint64(0, BigInt(`0x${oracle64(entry.subarray(8, 80))}`), true);
  return entry;
}

function encode(kind: number, payload: Uint8Array, source: number): Uint8Array {
  room.fill(0xee);
  kernel.bytes.set(payload, source);
  writeHeader(kernel.view, ENTRY, kind, payload.length);
  kernel.encodeEntryAt(ENTRY, source, payload.length);
  return kernel.bytes.subarray(ENTRY, ENTRY + format.ENTRY_HEADER_BYTES + payload.length);
}

const check = () => kernel.checkEntryHeaderAt(ENTRY) || kernel.checkEntryPayloadAt(ENTRY);
const isSame = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
const OTHER_KIND = 100;

test("equals the entry made by hand, copied or in place, for many sizes", () => {
  for (const size of [0, 1, 64, 240, 241, 512, 1024, 1025, 4095, 4096, 4097, 8192, 131_072, 1 << 20]) {
    const payload = randomBytes(size, size + 1);
    const wanted = oracleEntry(OTHER_KIND, payload);
    for (const source of [SOURCE, SOURCE + 3, ENTRY + format.ENTRY_HEADER_BYTES]) {
      const entry = encode(OTHER_KIND, payload, source);
      assert.ok(isSame(entry, wanted), `${size} bytes from ${source - ENTRY}`);
      assert.is(kernel.bytes[ENTRY + entry.length], 0xee, "wrote beyond the entry");
      assert.is(check(), 0);
    }
  }
});

test("an entry may begin anywhere, and end anywhere in a stripe", () => {
  for (const shift of [1, 8, 47]) {
    for (let size = 4096 - 65; size <= 4096 + 1; size++) {
      const payload = randomBytes(size, size);
      room.fill(0xee, 0, 8192);
      kernel.bytes.set(payload, SOURCE + 5);
      writeHeader(kernel.view, ENTRY + shift, OTHER_KIND, size);
      kernel.encodeEntryAt(ENTRY + shift, SOURCE + 5, size);
      const wanted = oracleEntry(OTHER_KIND, payload);
      const entry = kernel.bytes.subarray(ENTRY + shift, ENTRY + shift + wanted.length);
      assert.ok(isSame(entry, wanted), `${size} bytes at ${shift}`);
      assert.is(kernel.bytes[ENTRY + shift + entry.length], 0xee, "wrote beyond the entry");
    }
  }
});

test("finds every single flipped bit of the header and of a block", () => {
  const entry = encode(format.ENTRY_KIND_WRITE, randomBytes(4096, 9), SOURCE);
  for (let bit = 0; bit < entry.length * 8; bit++) {
    entry[bit >> 3]! ^= 1 << (bit & 7);
    const isHeader = bit < format.ENTRY_HEADER_BYTES * 8;
    const fault = isHeader ? kernel.checkEntryHeaderAt(ENTRY) : kernel.checkEntryPayloadAt(ENTRY);
    assert.is.not(fault, 0, `bit ${bit} was not noticed`);
    entry[bit >> 3]! ^= 1 << (bit & 7);
  }
  assert.is(check(), 0);
});

/** A header that is wrong, but has the right checksum. */
function faultOf(offset: number, value: number): number {
  encode(format.ENTRY_KIND_WRITE, randomBytes(4096, 9), SOURCE);
  kernel.bytes[ENTRY + offset] = value;
  const sum = BigInt(`0x${oracle64(kernel.bytes.slice(ENTRY + 8, ENTRY + 80))}`);
  kernel.view.setBigUint64(ENTRY, sum, true);
  return kernel.checkEntryHeaderAt(ENTRY);
}

test("says what is wrong with a header", () => {
  assert.is(faultOf(format.ENTRY_MAGIC_AT, 0), format.ENTRY_FAULT_MAGIC);
  assert.is(faultOf(format.ENTRY_VERSION, 99), format.ENTRY_FAULT_VERSION);
  assert.is(faultOf(format.ENTRY_BLOCK_COUNT, 2), format.ENTRY_FAULT_SIZE);
  assert.is(faultOf(format.ENTRY_PAYLOAD_BYTES + 3, 0x80), format.ENTRY_FAULT_SIZE);
  assert.is(faultOf(format.ENTRY_KIND, format.ENTRY_KIND_TRIM), format.ENTRY_FAULT_SIZE);
  kernel.bytes[ENTRY] = kernel.bytes[ENTRY]! ^ 1;
  assert.is(kernel.checkEntryHeaderAt(ENTRY), format.ENTRY_FAULT_HEADER_CHECKSUM);
});

test("refuses a size that the header does not name, and an overlap", () => {
  writeHeader(kernel.view, ENTRY, OTHER_KIND, 4096);
  assert.throws(() => kernel.encodeEntryAt(ENTRY, SOURCE, 4095), /size that its header names/);
  assert.throws(() => kernel.encodeEntryAt(ENTRY, ENTRY + 100, 4096), /behind its header or apart/);
});

test.run();
