// The superblock: all that a commit moves at once. One of them, 8 KiB, stands in four places on every member
// (two slots at the head, two at the tail; commit c goes to slot c mod 2 of both). Everything that a
// superblock names is synced before any superblock is written, so the newest valid one wins.
//
// Layout (little endian): checksum u64 of all that follows, then the fields in the order of `fields` below.
// What lies behind the last list is zero to the end, and checked.
import {
  CONTAINER_POINTER_BYTES,
  DATA_UNITS_MAX,
  FORMAT_VERSION,
  ID_BYTES,
  INNER_POINTER_BYTES,
  MEMBERS_MAX,
  PARITY_UNITS_MAX,
  SUPERBLOCK_BYTES,
  SUPERBLOCK_MAGIC,
} from "../../assembly/format.ts";
import type { Random } from "../io/world.ts";
import { assert, MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { ByteReader, ByteWriter } from "./byte_codec.ts";

export type Role = "source" | "mirror";
export type MemberState = "current" | "missing";

export interface GenerationRecord {
  readonly number: number;
  readonly id: bigint;
  /** The position from which the generation goes on: the last entry before it. */
  readonly startSequence: number;
  readonly startChain: bigint;
}

export interface MemberRecord {
  readonly id: Uint8Array;
  readonly state: MemberState;
  /** Where it was when it was last opened: a hint for people. */
  readonly path: string;
}

export interface Superblock {
  readonly commit: number;
  readonly cp: number;
  readonly volumeId: Uint8Array;
  /** Which member this copy is on; the only field in which the copies differ. */
  readonly slot: number;
  readonly dataUnits: number;
  readonly parityUnits: number;
  readonly role: Role;
  readonly inSync: boolean;
  readonly everInSync: boolean;
  readonly sizeBlocks: number;
  readonly memberBytes: number;
  readonly dataOffset: number;
  readonly segmentStripes: number;
  readonly segmentCount: number;
  readonly vvbnCount: number;
  readonly vvbnCursor: number;
  /** The pointer to the block map's root (16 words), to the container map's (8), to the free list's head (16). */
  readonly mapRoot: Uint32Array;
  readonly containerRoot: Uint32Array;
  readonly freeList: Uint32Array;
  /** Tells which versions of the segment table's pages belong to this commit. */
  readonly tableSum: bigint;
  /** The seal that the image includes. */
  readonly appliedSequence: number;
  readonly appliedChain: bigint;
  readonly aloneSince: number | null;
  readonly boundTo: Uint8Array | null;
  readonly fencedBy: GenerationRecord | null;
  readonly logHalfBytes: number;
  /** Which log copies may be trusted. */
  readonly logCopies: readonly boolean[];
  readonly members: readonly MemberRecord[];
  /** Oldest first; the last one is the present generation. */
  readonly history: readonly GenerationRecord[];
}

/** An identity for a generation. */
export function newGenerationId(random: Random): bigint {
  const bytes = random.bytes(8);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0, true);
}

const HISTORY_MAX = 64;

/** The history with one generation more, without the oldest if it would be too long. */
export function extendHistory(
  history: readonly GenerationRecord[],
  next: GenerationRecord,
): readonly GenerationRecord[] {
  return [...history, next].slice(-HISTORY_MAX);
}
const PATH_BYTES_MAX = 120;
const TO_TEXT = new TextDecoder();
const FROM_TEXT = new TextEncoder();
const FLAG_MIRROR = 1;
const FLAG_IN_SYNC = 2;
const FLAG_EVER_IN_SYNC = 4;
const FLAG_ALONE = 8;
const FLAG_BOUND = 16;
const FLAG_FENCED = 32;

export function encodeSuperblock(kernel: Kernel, superblock: Superblock): Uint8Array {
  const bytes = writeFields(superblock).finish();
  kernel.checksum64(bytes.subarray(8), new Uint32Array(bytes.buffer, bytes.byteOffset, 2));
  return bytes;
}

/** Where the fields of the encoded superblock end; behind that are zeros. The history is the last field. */
export function superblockEnd(superblock: Superblock): number {
  return writeFields(superblock).length;
}

function writeFields(superblock: Superblock): ByteWriter {
  const out = new ByteWriter(SUPERBLOCK_BYTES);
  out.u64(0n);
  out.u32(SUPERBLOCK_MAGIC);
  out.u32(FORMAT_VERSION);
  out.number(superblock.commit);
  out.number(superblock.cp);
  out.bytes(superblock.volumeId);
  out.u16(superblock.slot);
  out.u8(superblock.dataUnits);
  out.u8(superblock.parityUnits);
  out.u32(flagsOf(superblock));
  out.number(superblock.sizeBlocks);
  out.number(superblock.memberBytes);
  out.number(superblock.dataOffset);
  out.u32(superblock.segmentStripes);
  out.u32(superblock.segmentCount);
  out.number(superblock.vvbnCount);
  out.number(superblock.vvbnCursor);
  out.words(superblock.mapRoot);
  out.words(superblock.containerRoot);
  out.words(superblock.freeList);
  out.u64(superblock.tableSum);
  out.number(superblock.appliedSequence);
  out.u64(superblock.appliedChain);
  out.number(superblock.aloneSince ?? 0);
  out.bytes(superblock.boundTo ?? new Uint8Array(ID_BYTES));
  writeGeneration(out, superblock.fencedBy ?? { number: 0, id: 0n, startSequence: 0, startChain: 0n });
  out.number(superblock.logHalfBytes);
  out.u32(superblock.logCopies.length);
  for (const trusted of superblock.logCopies) out.u8(trusted ? 1 : 0);
  out.u32(superblock.members.length);
  for (const member of superblock.members) writeMember(out, member);
  const history = superblock.history.slice(-HISTORY_MAX);
  out.u32(history.length);
  for (const generation of history) writeGeneration(out, generation);
  return out;
}

/** The superblock in 8 KiB read from a slot, or the reason why there is none. */
export function decodeSuperblock(kernel: Kernel, bytes: Uint8Array): Superblock | string {
  const sum = new Uint32Array(2);
  kernel.checksum64(bytes.subarray(8), sum);
  const input = new ByteReader(bytes);
  const stored = input.u64();
  if (input.u32() !== SUPERBLOCK_MAGIC) return "no superblock";
  if (stored !== BigInt(sum[0]!) + (BigInt(sum[1]!) << 32n)) return "checksum mismatch";
  const version = input.u32();
  if (version !== FORMAT_VERSION) return `format version ${version}, this program reads ${FORMAT_VERSION}`;
  try {
    return readFields(input);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** In the order of the fields: an object literal is evaluated from top to bottom. */
function readFields(input: ByteReader): Superblock {
  let flags = 0;
  const has = (flag: number) => (flags & flag) !== 0;
  const superblock: Superblock = {
    commit: input.number(),
    cp: input.number(),
    volumeId: input.bytes(ID_BYTES),
    slot: input.u16(),
    dataUnits: input.u8(),
    parityUnits: input.u8(),
    role: (flags = input.u32()) & FLAG_MIRROR ? "mirror" : "source",
    inSync: has(FLAG_IN_SYNC),
    everInSync: has(FLAG_EVER_IN_SYNC),
    sizeBlocks: input.number(),
    memberBytes: input.number(),
    dataOffset: input.number(),
    segmentStripes: input.u32(),
    segmentCount: input.u32(),
    vvbnCount: input.number(),
    vvbnCursor: input.number(),
    mapRoot: input.words(INNER_POINTER_BYTES / 4),
    containerRoot: input.words(CONTAINER_POINTER_BYTES / 4),
    freeList: input.words(INNER_POINTER_BYTES / 4),
    tableSum: input.u64(),
    appliedSequence: input.number(),
    appliedChain: input.u64(),
    aloneSince: present(has(FLAG_ALONE), input.number()),
    boundTo: present(has(FLAG_BOUND), input.bytes(ID_BYTES)),
    fencedBy: present(has(FLAG_FENCED), readGeneration(input)),
    logHalfBytes: input.number(),
    logCopies: Array.from({ length: input.count(MEMBERS_MAX) }, () => input.u8() === 1),
    members: Array.from({ length: input.count(MEMBERS_MAX) }, () => readMember(input)),
    history: Array.from({ length: input.count(HISTORY_MAX) }, () => readGeneration(input)),
  };
  input.expectZeros();
  checkRelations(superblock);
  return superblock;
}

function present<T>(isPresent: boolean, value: T): T | null {
  return isPresent ? value : null;
}

function checkRelations({ slot, dataUnits: k, parityUnits: m, ...rest }: Superblock): void {
  const refuse = (text: string) => {
    throw new MirrorvolError("ERR_SUPERBLOCK", text);
  };
  const count = rest.members.length;
  if (slot >= count) refuse(`member ${slot} of ${count}`);
  if (rest.history.length === 0) refuse("it names no generation");
  const isShape = k >= 1 && k <= DATA_UNITS_MAX && m <= PARITY_UNITS_MAX && k + m <= count;
  if (!isShape) refuse(`${k} data and ${m} parity units on ${count} members`);
  if (rest.sizeBlocks === 0) refuse("a volume without blocks");
}

function flagsOf(superblock: Superblock): number {
  let flags = superblock.role === "mirror" ? FLAG_MIRROR : 0;
  if (superblock.inSync) flags |= FLAG_IN_SYNC;
  if (superblock.everInSync) flags |= FLAG_EVER_IN_SYNC;
  if (superblock.aloneSince !== null) flags |= FLAG_ALONE;
  if (superblock.boundTo !== null) flags |= FLAG_BOUND;
  if (superblock.fencedBy !== null) flags |= FLAG_FENCED;
  return flags;
}

function writeGeneration(out: ByteWriter, generation: GenerationRecord): void {
  out.u32(generation.number);
  out.u32(0);
  out.u64(generation.id);
  out.number(generation.startSequence);
  out.u64(generation.startChain);
}

function readGeneration(input: ByteReader): GenerationRecord {
  const number = input.u32();
  input.u32();
  return { number, id: input.u64(), startSequence: input.number(), startChain: input.u64() };
}

function writeMember(out: ByteWriter, member: MemberRecord): void {
  const path = truncateUtf8(member.path, PATH_BYTES_MAX);
  out.bytes(member.id);
  out.u8(member.state === "current" ? 1 : 0);
  out.u8(path.length);
  out.bytes(path);
  out.bytes(new Uint8Array(PATH_BYTES_MAX - path.length));
}

function readMember(input: ByteReader): MemberRecord {
  const id = input.bytes(ID_BYTES);
  const state = input.u8() === 1 ? "current" : "missing";
  const length = input.u8();
  const path = input.bytes(PATH_BYTES_MAX);
  if (length > PATH_BYTES_MAX) throw new MirrorvolError("ERR_SUPERBLOCK", "a member's path is too long");
  return { id, state, path: TO_TEXT.decode(path.subarray(0, length)) };
}

/** The end of a path says more than its beginning. */
function truncateUtf8(text: string, bytesMax: number): Uint8Array {
  const bytes = FROM_TEXT.encode(text);
  assert(bytesMax > 0, "bytesMax must be positive");
  return bytes.length <= bytesMax ? bytes : bytes.subarray(bytes.length - bytesMax);
}
