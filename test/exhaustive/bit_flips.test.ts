// Every bit of every structure that is kept beside the data, flipped in one stored copy: superblock, segment
// table page, run summary, nodes of the block map, the container map and the free list, header of a log half,
// header of a log entry, seal; and every bit of frames on the wire.
//
// First the decoders alone, all bits in every run: whatever is flipped, the structure is refused as a whole,
// padding and reserved bytes included. Then whole volumes, opened with the flipped bit in them, read to the
// last block, taken through a consistency point and read again. With another copy of everything nobody may
// notice; with a single copy there may be an error, with its code. Neither ever gives wrong data.
import { BLOCK_BYTES, ENTRY_HEADER_BYTES, HALF_HEADER_BYTES } from "../../assembly/format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { readHeader } from "../../src/log/entry_codec.ts";
import { decodeHalfHeader } from "../../src/log/half_header.ts";
import { decodeFrame, encodeFrame } from "../../src/replication/frame.ts";
import { decodeSummaryHeader } from "../../src/volume/summary.ts";
import { decodeSuperblock } from "../../src/volume/superblock.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { isThorough, share } from "../support/thorough.ts";
import { withStore } from "../volume/checking.ts";
import { openVolume } from "../volume/fixture.ts";
import { flipBit, type Structure, type StructureKind } from "../volume/structures.ts";
import { KINDS, redundant, type Subject, single, structureOf } from "./flip_subject.ts";

export const deadlineMs = 900_000;

const test = suite("bit flips");
const kernel = Kernel.createSync({ memoryBytes: 4 * 1024 * 1024 });
/** Of a structure, in a run that is not thorough. */
const SHARE = 14;

// ------------------------------------------------------------------------------------------ decoders alone

/** Whether the bytes pass for what they were, for each kind. */
async function acceptor(subject: Subject, kind: StructureKind): Promise<(bytes: Uint8Array) => boolean> {
  const good = bytesOf(subject, structureOf(subject, kind)).slice();
  if (kind === "superblock") return (bytes) => typeof decodeSuperblock(kernel, bytes) !== "string";
  if (kind === "half header") return (bytes) => typeof decodeHalfHeader(kernel, bytes) !== "string";
  if (kind === "entry header" || kind === "seal") {
    const place = kernel.arena.allocate(ENTRY_HEADER_BYTES);
    return (bytes) => {
      place.set(bytes);
      return readHeader(kernel, place.byteOffset, ENTRY_HEADER_BYTES) !== null;
    };
  }
  const { table, volumeId } = await withStore(subject.storage, subject.config, async (store) => ({
    table: store.table,
    volumeId: store.superblock.volumeId,
  }));
  if (kind === "table page") return (bytes) => table.commitOfSlot(bytes, 0) !== null;
  if (kind === "summary") return (bytes) => decodeSummaryHeader(kernel, volumeId, bytes) !== null;
  // A node carries nothing that says what it is: the hash that stands with its pointer does.
  const [expected, found] = [new Uint32Array(4), new Uint32Array(4)];
  kernel.hashBlock(good, expected);
  return (bytes) => {
    kernel.hashBlock(bytes, found);
    return found.every((word, i) => word === expected[i]);
  };
}

function bytesOf({ storage }: Subject, { kind, path, offset, bytes }: Structure): Uint8Array {
  return storage.peek(path, offset, kind === "half header" ? HALF_HEADER_BYTES : bytes);
}

function forEachFlip(bytes: Uint8Array, visit: (bit: number) => void): void {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    visit(bit);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
}

test("every bit of every structure on disk: its decoder refuses it", async () => {
  const subject = await redundant();
  for (const kind of KINDS) {
    const accepts = await acceptor(subject, kind);
    const bytes = bytesOf(subject, structureOf(subject, kind));
    assert.ok(accepts(bytes), `the ${kind} as it is`);
    forEachFlip(bytes, (bit) => {
      if (accepts(bytes)) assert.unreachable(`${kind}, bit ${bit}`);
    });
  }
});

test("every bit of a frame: its receiver refuses it", () => {
  const generation = { number: 3, id: 0x1122_3344_5566_7788n };
  const seal = { sequence: 9, chain: 7n };
  const frames = [
    encodeFrame(kernel, generation, "ping", {}),
    encodeFrame(kernel, generation, "ack", { received: 51, durable: 50 }),
    encodeFrame(kernel, generation, "cpBegin", { cp: 5, seal, firstSequence: 4, blocks: 2, trims: 1 }),
    encodeFrame(kernel, generation, "cpBlocks", { cp: 5, blocks: new Uint8Array(48).fill(5) }),
  ];
  for (const frame of frames) {
    decodeFrame(kernel, frame);
    forEachFlip(frame, (bit) => {
      try {
        decodeFrame(kernel, frame);
      } catch (error) {
        assert.is((error as { code?: string }).code, "ERR_PROTOCOL", `bit ${bit}: ${error}`);
        return;
      }
      assert.unreachable(`bit ${bit} of ${frame.length * 8}`);
    });
  }
});

// ------------------------------------------------------------------------------------------- whole volumes

/**
 * Headers with all their bits; of a node, where one bit is as good as another, one bit of each byte. Padding
 * behind the last byte that carries something is left to the decoders.
 */
function bitsOf(subject: Subject, structure: Structure): readonly number[] {
  const isNode = structure.bytes === BLOCK_BYTES && structure.kind !== "table page";
  const bytes = bytesOf(subject, structure);
  const usedBytes = bytes.findLastIndex((byte) => byte !== 0) + 1;
  const all = Array.from({ length: usedBytes * 8 }, (_, bit) => bit);
  return share(isNode ? all.filter((bit) => (bit & 7) === (bit >> 3) % 8) : all, SHARE);
}

/** An error with a code that says what is wrong, or everything as it was acknowledged. */
async function readAll(volume: Volume, { model, config }: Subject): Promise<string[]> {
  const faults: string[] = [];
  for (let offset = 0; offset < config.sizeBytes; offset += BLOCK_BYTES) {
    try {
      const block = await volume.read(offset, BLOCK_BYTES);
      const expected = model.bytes.subarray(offset, offset + BLOCK_BYTES);
      if (Buffer.compare(block, expected) !== 0) assert.unreachable(`block ${offset / BLOCK_BYTES} is wrong`);
    } catch (error) {
      faults.push(codeOf(error));
    }
  }
  return faults;
}

function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  if (typeof code === "string" && code.startsWith("ERR_") && code !== "ERR_ASSERTION") return code;
  throw error;
}

/** Opens the volume with the bit flipped, uses it; returns what went wrong. */
async function faultsOf(subject: Subject, structure: Structure, bit: number): Promise<string[]> {
  const storage = subject.storage.ifPowerFailedNow("keep");
  flipBit(storage, structure, bit);
  let volume: Volume;
  try {
    volume = await openVolume(storage, subject.config);
  } catch (error) {
    return [codeOf(error)];
  }
  const faults = await readAll(volume, subject);
  try {
    await volume.consistencyPoint();
  } catch (error) {
    faults.push(codeOf(error));
  }
  faults.push(...(await readAll(volume, subject)));
  await volume.close();
  return faults;
}

for (const kind of KINDS) {
  test(`${kind}: a flipped bit in one copy is repaired from another, and nobody notices`, async () => {
    const subject = await redundant();
    const structure = structureOf(subject, kind);
    for (const bit of bitsOf(subject, structure)) {
      assert.equal(await faultsOf(subject, structure, bit), [], `bit ${bit}`);
    }
  });

  test(`${kind}: a flipped bit in the only copy is an error with a code, or harmless`, async () => {
    const subject = await single();
    const structure = structureOf(subject, kind);
    const faults = new Map<string, number>();
    for (const bit of bitsOf(subject, structure)) {
      for (const code of await faultsOf(subject, structure, bit)) {
        faults.set(code, (faults.get(code) ?? 0) + 1);
      }
    }
    if (isThorough) console.log(`    ${kind}: ${[...faults].map((each) => each.join(" ")).join(", ")}`);
  });
}

test.run();
