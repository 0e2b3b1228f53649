// The log's records: entries as they come from a peer or a file, messages of several entries, half headers.
//
// Oracles: a header that is accepted is what `encodeEntry` makes of its fields, to the last byte, checksums
// included; a half's header likewise; a message is taken apart into entries that together are the message.

import {
  ENTRY_HEADER_BYTES,
  ENTRY_HEADER_CHECKSUM,
  ENTRY_KIND_SEAL,
  ENTRY_KIND_TRIM,
  ENTRY_KIND_WRITE,
  ENTRY_MAGIC,
  ENTRY_MAGIC_AT,
  ENTRY_PAYLOAD_BYTES,
  ENTRY_PAYLOAD_CHECKSUM,
  ENTRY_PAYLOAD_MAX,
  ENTRY_PREVIOUS,
  ENTRY_VERSION,
  FORMAT_VERSION,
  HALF_CHECKSUM,
  HALF_HEADER_BYTES,
  HALF_MAGIC,
  HALF_MAGIC_AT,
} from "../../../assembly/format.ts";
import { Kernel } from "../../../src/kernel/kernel.ts";
import {
  checkForeignEntry,
  type EntryHeader,
  encodeEntry,
  isPayloadThere,
  readHeader,
} from "../../../src/log/entry_codec.ts";
import { decodeHalfHeader, encodeHalfHeader } from "../../../src/log/half_header.ts";
import { HALF_BYTES_MIN } from "../../../src/log/log.ts";
import { EntrySplitter } from "../../../src/replication/entry_stream.ts";
import { joined } from "../mutator.ts";
import {
  ACCEPTED,
  expect,
  expectSameBytes,
  padded,
  refusal,
  shapeOf,
  type Target,
  trimmed,
  type Verdict,
} from "../target.ts";

const kernel = Kernel.createSync({ memoryBytes: 4 * 1024 * 1024 });
const room = kernel.arena.allocate(ENTRY_HEADER_BYTES + ENTRY_PAYLOAD_MAX);
const again = kernel.arena.allocate(ENTRY_HEADER_BYTES + ENTRY_PAYLOAD_MAX);
const sum = new Uint32Array(2);

interface EntryShape {
  readonly sequence: number;
  readonly kind: number;
  readonly lba: number;
  readonly blockCount: number;
  readonly payload?: Uint8Array;
  readonly durableThrough?: number;
  readonly previous?: { low: number; high: number };
}

const GENERATION_ID = { low: 0x55667788, high: 0x11223344 };
const FIRST = { low: 0, high: 0 };

/** An entry as a log would write it. */
export function makeEntry(shape: EntryShape): Uint8Array {
  const { sequence, kind, lba, blockCount, payload = new Uint8Array(0) } = shape;
  const { durableThrough = sequence - 1, previous = FIRST } = shape;
  again.set(payload, ENTRY_HEADER_BYTES);
  const fields = { sequence, durableThrough, mirrorLag: 0, generation: 1, generationId: GENERATION_ID };
  const at = again.byteOffset;
  const payloadBytes = payload.length;
  const rest = { previous, kind, lba, blockCount, payloadBytes };
  encodeEntry(kernel, at, { ...fields, ...rest }, at + ENTRY_HEADER_BYTES);
  return again.slice(0, ENTRY_HEADER_BYTES + payloadBytes);
}

/** Both checksums, the magic and the version of the entry that `input` begins with. */
export function sealEntry(input: Uint8Array): void {
  if (input.length < ENTRY_HEADER_BYTES) return;
  const view = viewOf(input);
  view.setUint32(ENTRY_MAGIC_AT, ENTRY_MAGIC, true);
  view.setUint8(ENTRY_VERSION, FORMAT_VERSION);
  const payloadBytes = view.getUint32(ENTRY_PAYLOAD_BYTES, true);
  writeSum(
    input.subarray(ENTRY_HEADER_BYTES, ENTRY_HEADER_BYTES + payloadBytes),
    input,
    ENTRY_PAYLOAD_CHECKSUM,
  );
  writeSum(input.subarray(ENTRY_HEADER_CHECKSUM + 8, ENTRY_HEADER_BYTES), input, ENTRY_HEADER_CHECKSUM);
}

export function writeSum(of: Uint8Array, into: Uint8Array, at: number): void {
  kernel.checksum64(of, sum);
  const view = viewOf(into);
  view.setUint32(at, sum[0]!, true);
  view.setUint32(at + 4, sum[1]!, true);
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const block = new Uint8Array(4096).fill(7);
const entries = () => [
  makeEntry({ sequence: 1, kind: ENTRY_KIND_WRITE, lba: 5, blockCount: 1, payload: block }),
  makeEntry({ sequence: 2, kind: ENTRY_KIND_TRIM, lba: 9, blockCount: 100 }),
  makeEntry({ sequence: 9, kind: ENTRY_KIND_SEAL, lba: 3, blockCount: 0, durableThrough: 4 }),
];

/** The header is written again from its fields, and must be the same. */
function expectSameHeader(header: EntryHeader, input: Uint8Array): void {
  const { sequence, durableThrough, mirrorLag, generation, kind, lba, blockCount, payloadBytes } = header;
  const word = (at: number) => viewOf(input).getUint32(at, true);
  const fields = {
    ...{ sequence, durableThrough, mirrorLag, generation, kind, lba, blockCount, payloadBytes },
    generationId: {
      low: Number(header.generationId & 0xffffffffn),
      high: Number(header.generationId >> 32n),
    },
    previous: { low: word(ENTRY_PREVIOUS), high: word(ENTRY_PREVIOUS + 4) },
  };
  again.set(input);
  encodeEntry(kernel, again.byteOffset, fields, again.byteOffset + ENTRY_HEADER_BYTES);
  expectSameBytes(again.subarray(0, input.length), input, "entry");
  expect(Number.isSafeInteger(lba + blockCount), `the extent ends at ${lba + blockCount}`);
}

export const entryTarget: Target = {
  name: "log-entry",
  bytesMax: 9000,
  share: 2000,
  seeds: entries,
  seal: (input) => {
    sealEntry(input);
    return input;
  },
  check: (input) => {
    if (input.length < ENTRY_HEADER_BYTES || input.length > room.length) return "no entry";
    room.set(input);
    const at = room.byteOffset;
    const found = readHeader(kernel, at, input.length);
    const isWhole = found !== null && isPayloadThere(kernel, at, found, input.length);
    let foreign: EntryHeader | null = null;
    let verdict: Verdict = ACCEPTED;
    try {
      foreign = checkForeignEntry(kernel, at, input.length);
      expectSameHeader(foreign, input);
    } catch (error) {
      verdict = refusal(error, ["ERR_ENTRY_FORMAT", "ERR_ENTRY_CHECKSUM"]);
    }
    // A file may hold more behind an entry, a message may not; otherwise both readers agree.
    const isExact = isWhole && ENTRY_HEADER_BYTES + found.payloadBytes === input.length;
    expect(isExact === (foreign !== null), `whole in a file: ${isExact}, in a message: ${foreign !== null}`);
    return verdict;
  },
};

const splitter = new EntrySplitter(kernel);

export const entriesTarget: Target = {
  name: "log-entries",
  bytesMax: 16_000,
  share: 1000,
  seeds: () => [joined(...entries()), joined(...entries().slice(1), ...entries().slice(1))],
  seal: (input) => {
    for (let at = 0; at + ENTRY_HEADER_BYTES <= input.length; ) {
      const payloadBytes = viewOf(input).getUint32(at + ENTRY_PAYLOAD_BYTES, true);
      sealEntry(input.subarray(at));
      at += ENTRY_HEADER_BYTES + payloadBytes;
    }
    return input;
  },
  check: (input) => {
    let left = input;
    try {
      while (left.length > 0) {
        const { entry, header } = splitter.first(left);
        expect(entry.length === ENTRY_HEADER_BYTES + header.payloadBytes, "an entry of another size");
        left = left.subarray(entry.length);
      }
      return ACCEPTED;
    } catch (error) {
      return refusal(error, ["ERR_PROTOCOL"]);
    }
  },
};

const half = (startSequence: number, number: number) =>
  trimmed(
    encodeHalfHeader(kernel, {
      volumeId: new Uint8Array(16).fill(3),
      copy: 1,
      copyCount: 2,
      slot: number % 4,
      fileBytes: HALF_BYTES_MIN,
      number,
      startSequence,
      startChain: 0x0102030405060708n,
      generation: { number: 2, id: 0x1122334455667788n },
    }),
  );

export const halfHeaderTarget: Target = {
  name: "log-half-header",
  bytesMax: HALF_HEADER_BYTES,
  share: 2000,
  seeds: () => [half(0, 0), half(1, 1), half(4711, 6)],
  seal: (input) => {
    const bytes = padded(input, HALF_HEADER_BYTES);
    viewOf(bytes).setUint32(HALF_MAGIC_AT, HALF_MAGIC, true);
    writeSum(bytes.subarray(HALF_CHECKSUM + 8), bytes, HALF_CHECKSUM);
    return trimmed(bytes);
  },
  check: (input) => {
    const bytes = padded(input, HALF_HEADER_BYTES);
    const header = decodeHalfHeader(kernel, bytes);
    if (typeof header === "string") return shapeOf(header);
    expectSameBytes(encodeHalfHeader(kernel, header), bytes, "half header");
    const { copy, copyCount, slot, number, startSequence, fileBytes } = header;
    expect(copy < copyCount && slot < 4, `copy ${copy} of ${copyCount}, slot ${slot}`);
    expect(startSequence === 0 || number % 4 === slot, `half ${number} in slot ${slot}`);
    expect(fileBytes >= HALF_BYTES_MIN && fileBytes % 512 === 0, `a half of ${fileBytes} bytes`);
    return ACCEPTED;
  },
};
