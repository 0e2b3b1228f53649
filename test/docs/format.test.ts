// docs/FORMAT.md against the code: every constant of assembly/*format.ts is in one of its tables with its value,
// tables of offsets have no gaps, the superblock's fields lie where it says, every message has the fields that it
// says in that order, and the bytes of the examples are what the code makes.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as format from "../../assembly/format.ts";
import * as wire from "../../assembly/wire_format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { checksumOf, encodeEntry } from "../../src/log/entry_codec.ts";
import { encodeFrame } from "../../src/replication/frame.ts";
import type { MessageName } from "../../src/replication/messages.ts";
import { encodeSuperblock, type Superblock } from "../../src/volume/superblock.ts";
import { assert, suite } from "../support/harness.ts";
import { projectRoot } from "../support/sources.ts";
import { Shapes } from "./shapes.ts";

const test = suite("docs/FORMAT.md");
const kernel = Kernel.createSync({ memoryBytes: 4 << 20 });
const text = readFileSync(join(projectRoot, "docs/FORMAT.md"), "utf8");
const constants: Record<string, number> = { ...format, ...wire };

interface Table {
  readonly heading: string;
  readonly columns: string;
  readonly rows: readonly string[][];
}

const tables = readTables();
const GENERATION = { number: 1, id: 0x1122_3344_5566_7788n };

function readTables(): Table[] {
  const found: Table[] = [];
  let heading = "";
  for (const block of text.split(/\n\n+/)) {
    const lines = block.split("\n");
    if (lines[0]!.startsWith("#")) heading = lines[0]!.replace(/^#+ /, "");
    if (!lines[0]!.startsWith("|")) continue;
    const [head, , ...rows] = lines.map(cellsOf);
    found.push({ heading, columns: head!.join(" "), rows });
  }
  return found;
}

function cellsOf(line: string): string[] {
  return line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());
}

function withColumns(columns: string): Table[] {
  return tables.filter((table) => table.columns === columns);
}

/** The name in backquotes, or "". */
function nameIn(cell: string): string {
  return /^`(\w+)`$/.exec(cell)?.[1] ?? "";
}

const offsetTables = withColumns("Offset Size Name Meaning");
const messageRows = withColumns("Kind Constant Message From Body").flatMap(({ rows }) => rows);

/** Name and value as the document has them. */
function documented(): [string, number][] {
  const values = withColumns("Constant Value Meaning").flatMap(({ rows }) => rows);
  const offsets = offsetTables.flatMap(({ rows }) => rows.map(([offset, , name]) => [name!, offset!]));
  const kinds = messageRows.map(([kind, constant]) => [constant!, kind!]);
  const pairs = [...values, ...offsets, ...kinds].map(
    ([name, value]) => [nameIn(name!), Number(value)] as const,
  );
  return pairs.filter(([name]) => /^[A-Z]/.test(name)).map(([name, value]) => [name, value]);
}

test("every constant is there, with its value, and no other", () => {
  for (const [name, value] of documented()) assert.is(value, constants[name], name);
  const names = new Set(documented().map(([name]) => name));
  assert.equal(
    Object.keys(constants).filter((name) => !names.has(name)),
    [],
  );
});

test("each field starts where the one before ends", () => {
  assert.is(offsetTables.length, 17);
  for (const { heading, rows } of offsetTables) {
    let end = 0;
    for (const [offset, size, name] of rows) {
      assert.is(Number(offset), end, `${heading}: ${name}`);
      end += Number(size);
    }
  }
});

const bytes = (length: number, fill: number) => new Uint8Array(length).fill(fill);
const words = (count: number, fill: number) => new Uint32Array(count).fill(fill);
const record = {
  number: 9,
  id: 0x0102_0304_0506_0708n,
  startSequence: 77,
  startChain: 0x1112_1314_1516_1718n,
};

/** Each field has a value of its own. */
const SUPERBLOCK: Superblock = {
  commit: 1001,
  cp: 1002,
  volumeId: bytes(16, 0xa1),
  slot: 3,
  dataUnits: 4,
  parityUnits: 2,
  role: "mirror",
  inSync: true,
  everInSync: true,
  sizeBlocks: 1003,
  memberBytes: 1004,
  dataOffset: 1005,
  segmentStripes: 1006,
  segmentCount: 1007,
  vvbnCount: 1008,
  vvbnCursor: 1009,
  mapRoot: words(16, 0xb1b2b3b4),
  containerRoot: words(8, 0xc1c2c3c4),
  freeList: words(16, 0xd1d2d3d4),
  tableSum: 0xe1e2_e3e4_e5e6_e7e8n,
  appliedSequence: 1010,
  appliedChain: 0xf1f2_f3f4_f5f6_f7f8n,
  aloneSince: 1011,
  boundTo: bytes(16, 0xa2),
  fencedBy: record,
  logHalfBytes: 1012,
  logCopies: [true, false],
  members: [{ id: bytes(16, 0xa3), state: "current", path: "/ssd0/orders" }],
  history: [record],
};

function numberBytes(size: number, value: number | bigint): Uint8Array {
  const buffer = new Uint8Array(8);
  new DataView(buffer.buffer).setBigUint64(0, BigInt(value), true);
  return buffer.subarray(0, size);
}

const RECORD = [
  numberBytes(8, 9),
  numberBytes(8, record.id),
  numberBytes(8, 77),
  numberBytes(8, record.startChain),
];

function expectedBytes(size: number, value: unknown): Uint8Array {
  if (typeof value === "number" || typeof value === "bigint") return numberBytes(size, value);
  if (value instanceof Uint32Array) return new Uint8Array(value.buffer);
  if (value instanceof Uint8Array) return value;
  return Uint8Array.from(RECORD.flatMap((part) => [...part]));
}

test("the superblock's fields lie where the table says", () => {
  const encoded = encodeSuperblock(kernel, SUPERBLOCK);
  const { rows } = offsetTables.find(({ heading }) => heading === "Superblock")!;
  let compared = 0;
  for (const [offset, size, name] of rows) {
    const value = (SUPERBLOCK as unknown as Record<string, unknown>)[nameIn(name!)];
    if (value === undefined) continue;
    const found = encoded.subarray(Number(offset), Number(offset) + Number(size));
    assert.equal([...found], [...expectedBytes(Number(size), value)], name);
    compared += 1;
  }
  assert.is(compared, 23);
  const [lastOffset, lastSize] = rows[rows.length - 1]!;
  const start = Number(lastOffset) + Number(lastSize);
  const [member, generation] = ["id", "number"].map((first) => sizeOfTable("Superblock", first));
  // Two copies of the log, one member, one generation, each list but the first behind its count.
  const historyCount = start + 2 + 4 + member!;
  assert.is(encoded[historyCount], 1);
  assert.equal(
    [...encoded.subarray(historyCount + 4, historyCount + 4 + generation!)],
    RECORD.flatMap((part) => [...part]),
  );
  assert.ok(encoded.subarray(historyCount + 4 + generation!).every((byte) => byte === 0));
});

function sizeOfTable(heading: string, firstName: string): number {
  const table = offsetTables.find((each) => each.heading === heading && each.rows[0]![2] === firstName)!;
  return Number(table.rows.at(-1)![0]);
}

test("every message has the fields that its line says, in that order", () => {
  const long = [...withColumns("Record Fields"), ...withColumns("Long body Fields")].flatMap(
    ({ rows }) => rows,
  );
  const shapes = new Shapes(new Map(long.map(([name, fields]) => [nameIn(name!), withoutQuotes(fields!)])));
  for (const [kind, , message, , body] of messageRows) {
    const name = nameIn(message!) as MessageName;
    const fields = body === "see below" ? shapes.fieldsOf(name) : withoutQuotes(body!);
    const sample = shapes.sampleOf(fields);
    const frame = encodeFrame(kernel, GENERATION, name, sample.value as never);
    assert.is(frame[wire.FRAME_KIND], Number(kind), name);
    assert.equal([...frame.subarray(wire.FRAME_HEADER_BYTES)], sample.bytes, name);
  }
});

function withoutQuotes(cell: string): string {
  return cell.replaceAll("`", "");
}

/** The bytes of the hexadecimal example whose first line begins so. */
function exampleOf(firstBytes: string): string {
  const block = text.split("```text\n").find((each) => each.startsWith(`0000  ${firstBytes}`));
  const lines = block!.split("\n```")[0]!.split("\n");
  return lines.map((line) => line.slice(6, 53)).join(" ");
}

const hexOf = (found: Uint8Array) => [...found].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");

test("the example of an entry is what the code writes", () => {
  const room = kernel.arena.allocate(2 * format.BLOCK_BYTES);
  const payload = room.subarray(format.ENTRY_HEADER_BYTES, format.ENTRY_HEADER_BYTES + format.BLOCK_BYTES);
  payload.fill(0x61);
  const fields = {
    sequence: 2,
    durableThrough: 1,
    mirrorLag: 0,
    generation: GENERATION.number,
    generationId: checksumOf(GENERATION.id),
    previous: checksumOf(0x8c1f_3a5b_e0d2_4967n),
    kind: format.ENTRY_KIND_WRITE,
    lba: 5,
    blockCount: 1,
    payloadBytes: format.BLOCK_BYTES,
  };
  encodeEntry(kernel, room.byteOffset, fields, payload.byteOffset);
  assert.is(exampleOf("75 c4"), hexOf(room.subarray(0, format.ENTRY_HEADER_BYTES)));
  kernel.arena.free(room);
});

test("the example of a message is what the code writes", () => {
  const frame = encodeFrame(kernel, GENERATION, "ack", { received: 51, durable: 50 });
  assert.is(exampleOf("8a d7"), hexOf(frame));
});

test("no line is longer than 120 characters", () => {
  assert.equal(
    text.split("\n").filter((line) => line.length > 120),
    [],
  );
});

test.run();
