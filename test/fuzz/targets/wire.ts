// Frames between source and mirror, behind a right checksum. The oracle: a message that is accepted is encoded
// to the same bytes again, so there is one encoding for each message, and nothing in a frame is ignored.

import {
  FRAME_BODY_BYTES,
  FRAME_CHECKSUM,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  FRAME_MAGIC_AT,
  FRAME_VERSION,
  WIRE_VERSION,
} from "../../../assembly/wire_format.ts";
import { Kernel } from "../../../src/kernel/kernel.ts";
import { decodeFrame, encodeFrame, holdsEntries } from "../../../src/replication/frame.ts";
import type { BodyOf, MessageName } from "../../../src/replication/messages.ts";
import { ACCEPTED, expectSameBytes, refusal, type Target } from "../target.ts";
import { viewOf, writeSum } from "./log_codec.ts";

const kernel = Kernel.createSync({ memoryBytes: 2 ** 21 });
const GENERATION = { number: 7, id: 0xfedc_ba98_7654_3210n };
const bytes = (length: number, fill = 5) => new Uint8Array(length).fill(fill);
const seal = { sequence: 41, chain: 0xffff_ffff_ffff_fff0n };
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
  tail: seal,
  durable: 40,
  requiredThrough: 39,
  cp: 12,
  root: bytes(16),
  inSync: true,
  everInSync: false,
};

/** One of each: a kind without a sample does not compile. */
const SAMPLES: { [N in MessageName]: BodyOf<N> } = {
  hello: { protocol: 1, hasSecret: true, timeoutMs: 5000, nonce: bytes(32), volume: "orders é" },
  challenge: { protocol: 1, hasSecret: false, nonce: bytes(32) },
  proof: { proof: bytes(32) },
  sourceState: { ...side, aloneSince: 30 },
  mirrorState: {
    ...side,
    boundTo: bytes(16),
    sourceDurableThrough: 40,
    seals: [{ cp: 11, sequence: 30 }],
  },
  refuse: { code: "ERR_NOT_BOUND", text: "bound to another", history },
  notice: { code: "ERR_LOG_FULL", text: "" },
  ping: {},
  chainRequest: { sequence: 3 },
  chain: { sequence: 3, chain: null },
  adopt: { after: seal, through: 50 },
  adopted: { through: 50 },
  forward: { after: seal, inSync: true, wantsReceived: false, history },
  ack: { received: 51, durable: 50 },
  sync: { through: 51 },
  synced: { through: 51 },
  image: { round: 1, cp: 4, seal, root: bytes(16), history },
  imageDone: { cp: 4, outcome: "mismatch", text: "no" },
  childrenRequest: { request: 1, level: 2, indexes: [0, 2 ** 40] },
  children: { request: 1, fault: "", counts: [2, 1], hashes: bytes(48) },
  blocksRequest: { request: 2, cp: 4, lbas: [1, 5] },
  blocks: { request: 2, fault: "", blocks: bytes(4096) },
  cpBegin: { cp: 5, seal, firstSequence: 42, blocks: 2, trims: 1 },
  cpBlocks: { cp: 5, blocks: bytes(48) },
  cpTrims: { cp: 5, trims: bytes(16) },
  cpEnd: { cp: 5, root: bytes(16) },
  cpOwn: { cp: 5, root: null },
  cpAck: { cp: 5, outcome: "committed", root: bytes(16), text: "" },
  cpCommitted: { cp: 5, sequence: 41 },
};

/** Magic, version, size and checksum of the frame that `input` is. */
export function sealFrame(input: Uint8Array): void {
  if (input.length < FRAME_HEADER_BYTES) return;
  const view = viewOf(input);
  view.setUint32(FRAME_MAGIC_AT, FRAME_MAGIC, true);
  view.setUint8(FRAME_VERSION, WIRE_VERSION);
  view.setUint32(FRAME_BODY_BYTES, input.length - FRAME_HEADER_BYTES, true);
  writeSum(input.subarray(FRAME_MAGIC_AT), input, FRAME_CHECKSUM);
}

export const frameTarget: Target = {
  name: "frame",
  bytesMax: 9000,
  share: 3000,
  seeds: () => {
    const names = Object.keys(SAMPLES) as MessageName[];
    return names.map((name) => encodeFrame(kernel, GENERATION, name, SAMPLES[name] as never));
  },
  words: [Uint8Array.of(0xef, 0xbb, 0xbf), Uint8Array.of(0xc3), Uint8Array.of(0xed, 0xa0, 0x80)],
  seal: (input) => {
    sealFrame(input);
    return input;
  },
  check: (input) => {
    if (holdsEntries(kernel, input)) return "entries";
    try {
      const { generation, message } = decodeFrame(kernel, input);
      expectSameBytes(
        encodeFrame(kernel, generation, message.name, message.body as never),
        input,
        message.name,
      );
      return ACCEPTED;
    } catch (error) {
      return refusal(error, ["ERR_PROTOCOL"]);
    }
  },
};
