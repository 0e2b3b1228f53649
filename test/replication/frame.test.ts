import fc from "fast-check";
import { ENTRY_HEADER_BYTES, ENTRY_MAGIC, ENTRY_MAGIC_AT } from "../../assembly/format.ts";
import * as wire from "../../assembly/wire_format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { decodeFrame, encodeFrame, holdsEntries } from "../../src/replication/frame.ts";
import type { BodyOf, MessageName } from "../../src/replication/messages.ts";
import { assert, suite } from "../support/harness.ts";

const test = suite("frame");
const kernel = Kernel.createSync({ memoryBytes: 2 ** 21 });
const generation = { number: 7, id: 0xfedc_ba98_7654_3210n };
const bytes = (length: number, fill = 5) => new Uint8Array(length).fill(fill);
const position = { sequence: 41, chain: 0xffff_ffff_ffff_fff0n };
const history = [
  { number: 1, id: 3n, startSequence: 0, startChain: 0n },
  { number: 2, id: 4n, startSequence: 17, startChain: 9n },
];
const side = {
  volumeId: bytes(16),
  sizeBlocks: 65536,
  halfBytes: 2 ** 40,
  role: "source" as const,
  history,
  tail: position,
  durable: 40,
  requiredThrough: 39,
  cp: 12,
  root: bytes(16),
  inSync: true,
  everInSync: false,
};

/** One of each. A message without a sample does not compile. */
const SAMPLES: { [N in MessageName]: BodyOf<N> } = {
  hello: { protocol: 1, hasSecret: true, timeoutMs: 5000, nonce: bytes(32), volume: "orders é" },
  challenge: { protocol: 1, hasSecret: false, nonce: bytes(32) },
  proof: { proof: bytes(32) },
  sourceState: { ...side, aloneSince: 30 },
  mirrorState: {
    ...side,
    role: "mirror",
    boundTo: bytes(16),
    sourceDurableThrough: 40,
    seals: [{ cp: 11, sequence: 30 }],
  },
  refuse: { code: "ERR_NOT_BOUND", text: "bound to another", history },
  notice: { code: "ERR_LOG_FULL", text: "" },
  ping: {},
  chainRequest: { sequence: 3 },
  chain: { sequence: 3, chain: null },
  adopt: { after: position, through: 50 },
  adopted: { through: 50 },
  forward: { after: position, inSync: true, wantsReceived: false, history },
  ack: { received: 51, durable: 50 },
  sync: { through: 51 },
  synced: { through: 51 },
  image: { round: 1, cp: 4, seal: position, root: bytes(16), history },
  imageDone: { cp: 4, outcome: "mismatch", text: "no" },
  childrenRequest: { request: 1, level: 2, indexes: [0, 2 ** 40] },
  children: { request: 1, fault: "", counts: [2, 1], hashes: bytes(48) },
  blocksRequest: { request: 2, cp: 4, lbas: [1, 5] },
  blocks: { request: 2, fault: "", blocks: bytes(8192) },
  cpBegin: { cp: 5, seal: position, firstSequence: 42, blocks: 2, trims: 1 },
  cpBlocks: { cp: 5, blocks: bytes(48) },
  cpTrims: { cp: 5, trims: bytes(16) },
  cpEnd: { cp: 5, root: bytes(16) },
  cpOwn: { cp: 5, root: null },
  cpAck: { cp: 5, outcome: "committed", root: bytes(16), text: "" },
  cpCommitted: { cp: 5, sequence: 41 },
};
const NAMES = Object.keys(SAMPLES) as MessageName[];
const encode = (name: MessageName) => encodeFrame(kernel, generation, name, SAMPLES[name] as never);
const isProtocolError = (error: unknown) => (error as { code?: string }).code === "ERR_PROTOCOL";

/** Makes the checksum right again, so that what was changed behind it is seen. */
function seal(frame: Uint8Array): Uint8Array {
  if (frame.length < 8) return frame;
  const sum = new Uint32Array(2);
  kernel.checksum64(frame.subarray(8), sum);
  frame.set(new Uint8Array(sum.buffer), 0);
  return frame;
}

function resize(frame: Uint8Array, length: number): Uint8Array {
  const changed = bytes(length, 0);
  changed.set(frame.subarray(0, length));
  if (length >= wire.FRAME_HEADER_BYTES) {
    new DataView(changed.buffer).setUint32(wire.FRAME_BODY_BYTES, length - wire.FRAME_HEADER_BYTES, true);
  }
  return seal(changed);
}

/** Anything but a message or ERR_PROTOCOL throws. */
function decodes(frame: Uint8Array): boolean {
  try {
    decodeFrame(kernel, frame);
    return true;
  } catch (error) {
    if (!isProtocolError(error)) throw error;
    return false;
  }
}

test("every message comes back as it was", () => {
  for (const name of NAMES) {
    const frame = decodeFrame(kernel, encode(name));
    assert.is(frame.message.name, name);
    assert.equal(frame.message.body, SAMPLES[name], name);
    assert.equal(frame.generation, generation);
  }
});

test("any history and any text comes back", () => {
  const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  const number = fc.integer({ min: 1, max: 2 ** 32 - 1 });
  const fields = { number, id: u64, startSequence: fc.maxSafeNat(), startChain: u64 };
  const record = fc.record(fields, { noNullPrototype: true });
  const texts = fc.string({ unit: "grapheme", maxLength: 300 });
  fc.assert(
    fc.property(fc.array(record, { maxLength: 64 }), texts, (history, text) => {
      const frame = encodeFrame(kernel, generation, "refuse", { code: "ERR_CODE", text, history });
      const { message } = decodeFrame(kernel, frame);
      assert.is(message.name, "refuse");
      if (message.name !== "refuse") return;
      assert.equal(message.body.history, history);
      assert.ok(text.startsWith(message.body.text), "a text that is too long is cut between characters");
    }),
  );
});

test("one flipped bit anywhere is refused", () => {
  for (const name of NAMES) {
    const frame = encode(name);
    for (let at = 0; at < Math.min(frame.length, 600); at++) {
      frame[at]! ^= 1 << (at % 8);
      assert.not.ok(decodes(frame), `${name}, byte ${at}`);
      frame[at]! ^= 1 << (at % 8);
    }
  }
});

test("a body cut anywhere, or with a byte more, is refused although its checksum is right", () => {
  // These may be shorter by a whole unit.
  const bulk: MessageName[] = ["cpBlocks", "children", "blocks"];
  for (const name of NAMES.filter((name) => !bulk.includes(name))) {
    const frame = encode(name);
    for (let length = 0; length < Math.min(frame.length, 400); length++) {
      assert.not.ok(decodes(resize(frame, length)), `${name} of ${length} bytes`);
    }
    assert.not.ok(decodes(resize(frame, frame.length + 1)), `${name} and a byte`);
  }
});

test("any bytes under a right checksum give a message or ERR_PROTOCOL, and nothing else", () => {
  const run = fc.property(
    fc.constantFrom(...NAMES),
    fc.array(fc.tuple(fc.nat(), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)), { minLength: 1, maxLength: 6 }),
    (name, changes) => {
      const frame = encode(name);
      if (frame.length === wire.FRAME_HEADER_BYTES) return;
      for (const [at, value] of changes) {
        frame[wire.FRAME_HEADER_BYTES + (at % Math.min(300, frame.length - wire.FRAME_HEADER_BYTES))] = value;
      }
      decodes(seal(frame));
    },
  );
  fc.assert(run, { numRuns: 3000 });
});

/** Name, offset in the body, what stands there, and what the refusal says. */
const OUT_OF_BOUNDS: [MessageName, number, number[], RegExp][] = [
  ["hello", 4, [2], /hasSecret is 2/],
  ["hello", 5, [49, 0, 0, 0], /timeoutMs is 49/],
  ["hello", 5, [255, 255, 255, 255], /timeoutMs is 4294967295/],
  ["hello", 41, [0, 0], /volume's length is 0/],
  ["hello", 41, [255, 255], /volume's length is 65535/],
  ["hello", 43, [0xff], /volume is no UTF-8/],
  ["sourceState", 16, [0, 0, 0, 0, 0, 0, 0, 0], /sizeBlocks is 0/],
  ["sourceState", 16, [0, 0, 0, 0, 0, 0, 32, 0], /sizeBlocks is 9007199254740992/],
  ["sourceState", 24, [0, 0, 0, 0, 0, 0, 0, 0], /halfBytes is 0/],
  ["sourceState", 32, [2], /role is 2/],
  ["sourceState", 33, [0, 0, 0, 0], /history's count is 0/],
  ["sourceState", 33, [65, 0, 0, 0], /history's count is 65/],
  ["sourceState", 37, [0, 0, 0, 0], /number is 0/],
  ["childrenRequest", 4, [16], /level is 16/],
  ["childrenRequest", 5, [0, 0, 0, 0], /indexes's count is 0/],
  ["childrenRequest", 5, [65, 0, 0, 0], /indexes's count is 65/],
  ["childrenRequest", 5, [255, 255, 255, 255], /indexes's count is 4294967295/],
  ["childrenRequest", 5, [64, 0, 0, 0], /64 items do not fit|ends 8 bytes early/],
  ["children", 10, [129, 0, 0, 0], /counts is 129/],
  ["blocksRequest", 12, [65, 0, 0, 0], /lbas's count is 65/],
  ["cpBegin", 0, [0, 0, 0, 0, 0, 0, 0, 0], /cp is 0/],
  ["cpAck", 8, [3], /outcome is 3/],
  ["imageDone", 8, [3], /outcome is 3/],
  ["image", 0, [0, 0, 0, 0], /round is 0/],
  ["cpOwn", 8, [2], /root is 2/],
];

test("every field out of its bounds is refused, and named", () => {
  for (const [name, offset, values, expected] of OUT_OF_BOUNDS) {
    const frame = encode(name);
    frame.set(values, wire.FRAME_HEADER_BYTES + offset);
    assert.throws(() => decodeFrame(kernel, seal(frame)), expected, `${name} at ${offset}`);
  }
});

test("what is not in whole units, or too much, is refused", () => {
  const blocks = encodeFrame(kernel, generation, "blocks", { request: 1, fault: "", blocks: bytes(4096) });
  assert.not.ok(decodes(resize(blocks, blocks.length - 1)));
  const most = bytes(4096 * wire.BLOCKS_PER_REQUEST_MAX);
  const full = encodeFrame(kernel, generation, "blocks", { request: 1, fault: "", blocks: most });
  assert.ok(decodes(full));
  assert.ok(full.length <= wire.FRAME_HEADER_BYTES + wire.FRAME_BODY_MAX);
  assert.not.ok(decodes(resize(full, full.length + 4096)));
});

test("the header's own fields are checked", () => {
  const cases: [number, number, RegExp][] = [
    [wire.FRAME_MAGIC_AT, 0, /neither log entry nor frame/],
    [wire.FRAME_VERSION, 9, /frame version 9/],
    [wire.FRAME_KIND, 0, /unknown kind of frame 0/],
    [wire.FRAME_KIND, 200, /unknown kind of frame 200/],
    [wire.FRAME_FLAGS, 1, /reserved flags/],
    [wire.FRAME_BODY_BYTES + 3, 0x7f, /with a body of/],
  ];
  for (const [at, value, expected] of cases) {
    const frame = encode("ack");
    frame[at] = value;
    assert.throws(() => decodeFrame(kernel, seal(frame)), expected);
  }
});

test("frames and log entries are told apart, even if an entry begins like a frame", () => {
  for (const name of NAMES) assert.not.ok(holdsEntries(kernel, encode(name)), name);
  const entry = bytes(ENTRY_HEADER_BYTES, 7);
  const view = new DataView(entry.buffer);
  view.setUint32(ENTRY_MAGIC_AT, ENTRY_MAGIC, true);
  assert.ok(holdsEntries(kernel, entry));
  view.setUint32(wire.FRAME_MAGIC_AT, wire.FRAME_MAGIC, true);
  assert.ok(holdsEntries(kernel, entry), "the magic alone makes no frame");
  assert.not.ok(holdsEntries(kernel, entry.subarray(0, 79)));
});

test("an acknowledgement is small enough for the wire ratio", () => {
  const framing = 8 + 2;
  const perWrite = ENTRY_HEADER_BYTES + encode("ack").length + framing + wire.CP_BLOCK_BYTES;
  assert.ok((4096 + perWrite) / 4096 <= 1.05, `${perWrite} bytes beside the payload`);
});

test.run();
