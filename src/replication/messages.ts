// Every message between a source and its mirror, with its fields in the order of the wire.
//
//   source                                   mirror
//   hello {volume, nonce}            ->
//                                    <-      challenge {nonce}
//   proof {HMAC}                     ->                            nothing of a volume is said before
//                                    <-      proof {HMAC}          both have proved the secret
//   sourceState                      ->
//                                    <-      mirrorState
//   chainRequest                     ->
//                                    <-      chain                 as often as the decision needs it
//   then one of
//     forward, entries ...           ->
//     adopt                          ->
//                                    <-      entries ..., adopted
//     image                          ->
//                                    <-      childrenRequest, blocksRequest
//     children, blocks               ->
//                                    <-      imageDone
//   and from there on
//     entries                        ->
//                                    <-      ack
//     cpBegin, cpTrims, cpBlocks, cpEnd ->                         or cpOwn
//                                    <-      blocksRequest         what the mirror's log lacks
//                                    <-      cpAck
//     cpCommitted                    ->
//
// `refuse` ends a connection at any time, `notice` says why something is slow, `ping` keeps it alive.

import { BLOCK_BYTES, HASH_BYTES, ID_BYTES, LEAF_FANOUT } from "../../assembly/format.ts";
import * as wire from "../../assembly/wire_format.ts";
import {
  count,
  type Field,
  fixed,
  flag,
  list,
  optional,
  type RecordOf,
  record,
  rest,
  text,
  u8,
  u32,
  u64,
  type ValueOf,
} from "./fields.ts";

const hash = () => fixed(HASH_BYTES);
const id = () => fixed(ID_BYTES);
const code = () => text(5, wire.CODE_BYTES_MAX);
const words = () => text(0, wire.TEXT_BYTES_MAX);
const request = () => u32();

const logPosition = () => record({ sequence: count(), chain: u64() });
const generationRecord = () =>
  record({ number: u32(1), id: u64(), startSequence: count(), startChain: u64() });
const history = (min: number) => list(generationRecord(), min, wire.GENERATIONS_MAX);

/** On the wire a role is a number. */
const role = (): Field<"source" | "mirror"> => choice(["source", "mirror"]);

function choice<const T extends string>(names: readonly T[]): Field<T> {
  const index = u8(0, names.length - 1);
  return {
    size: () => 1,
    write: (to, value) => index.write(to, names.indexOf(value)),
    read: (from, name) => names[index.read(from, name)]!,
  };
}

/** What both sides say about themselves once the secret is proved. */
const side = {
  volumeId: id(),
  sizeBlocks: count(1),
  /** Room for entries in one log half. */
  halfBytes: count(1),
  role: role(),
  history: history(1),
  tail: logPosition(),
  durable: count(),
  requiredThrough: count(),
  cp: count(),
  root: hash(),
  inSync: flag(),
  everInSync: flag(),
};

const entry = <N extends number, S extends { [K in keyof S]: Field<unknown> }>(kind: N, shape: S) => ({
  kind,
  body: record(shape),
});

const CATALOGUE = {
  hello: entry(wire.FRAME_KIND_HELLO, {
    protocol: u32(),
    hasSecret: flag(),
    timeoutMs: u32(wire.TIMEOUT_MS_MIN, wire.TIMEOUT_MS_MAX),
    nonce: fixed(wire.NONCE_BYTES),
    volume: text(1, wire.VOLUME_NAME_BYTES_MAX),
  }),
  challenge: entry(wire.FRAME_KIND_CHALLENGE, {
    protocol: u32(),
    hasSecret: flag(),
    nonce: fixed(wire.NONCE_BYTES),
  }),
  proof: entry(wire.FRAME_KIND_PROOF, { proof: fixed(wire.PROOF_BYTES) }),
  sourceState: entry(wire.FRAME_KIND_SOURCE_STATE, { ...side, aloneSince: optional(count()) }),
  mirrorState: entry(wire.FRAME_KIND_MIRROR_STATE, {
    ...side,
    boundTo: optional(id()),
    sourceDurableThrough: count(),
    seals: list(record({ cp: count(1), sequence: count(1) }), 0, wire.SEALS_MAX),
  }),
  refuse: entry(wire.FRAME_KIND_REFUSE, { code: code(), text: words(), history: history(0) }),
  notice: entry(wire.FRAME_KIND_NOTICE, { code: code(), text: words() }),
  ping: entry(wire.FRAME_KIND_PING, {}),
  chainRequest: entry(wire.FRAME_KIND_CHAIN_REQUEST, { sequence: count() }),
  chain: entry(wire.FRAME_KIND_CHAIN, { sequence: count(), chain: optional(u64()) }),
  adopt: entry(wire.FRAME_KIND_ADOPT, { after: logPosition(), through: count(1) }),
  adopted: entry(wire.FRAME_KIND_ADOPTED, { through: count() }),
  forward: entry(wire.FRAME_KIND_FORWARD, {
    after: logPosition(),
    inSync: flag(),
    wantsReceived: flag(),
    history: history(1),
  }),
  ack: entry(wire.FRAME_KIND_ACK, { received: count(), durable: count() }),
  sync: entry(wire.FRAME_KIND_SYNC, { through: count() }),
  synced: entry(wire.FRAME_KIND_SYNCED, { through: count() }),
  image: entry(wire.FRAME_KIND_IMAGE, {
    round: u32(1),
    cp: count(),
    seal: logPosition(),
    root: hash(),
    history: history(1),
  }),
  imageDone: entry(wire.FRAME_KIND_IMAGE_DONE, {
    cp: count(),
    outcome: choice(["committed", "mismatch", "failed"]),
    text: words(),
  }),
  childrenRequest: entry(wire.FRAME_KIND_CHILDREN_REQUEST, {
    request: request(),
    level: u8(0, 15),
    indexes: list(count(), 1, wire.NODES_PER_REQUEST_MAX),
  }),
  children: entry(wire.FRAME_KIND_CHILDREN, {
    request: request(),
    fault: words(),
    counts: list(u32(0, LEAF_FANOUT), 0, wire.NODES_PER_REQUEST_MAX),
    hashes: rest(HASH_BYTES, 0, wire.NODES_PER_REQUEST_MAX * LEAF_FANOUT),
  }),
  blocksRequest: entry(wire.FRAME_KIND_BLOCKS_REQUEST, {
    request: request(),
    cp: count(),
    lbas: list(count(), 1, wire.BLOCKS_PER_REQUEST_MAX),
  }),
  blocks: entry(wire.FRAME_KIND_BLOCKS, {
    request: request(),
    fault: words(),
    blocks: rest(BLOCK_BYTES, 0, wire.BLOCKS_PER_REQUEST_MAX),
  }),
  cpBegin: entry(wire.FRAME_KIND_CP_BEGIN, {
    cp: count(1),
    seal: logPosition(),
    firstSequence: count(),
    blocks: count(),
    trims: count(),
  }),
  cpBlocks: entry(wire.FRAME_KIND_CP_BLOCKS, {
    cp: count(1),
    blocks: rest(wire.CP_BLOCK_BYTES, 1, wire.CP_PIECE_COUNT_MAX),
  }),
  cpTrims: entry(wire.FRAME_KIND_CP_TRIMS, {
    cp: count(1),
    trims: rest(wire.CP_TRIM_BYTES, 1, wire.CP_PIECE_COUNT_MAX),
  }),
  cpEnd: entry(wire.FRAME_KIND_CP_END, { cp: count(1), root: hash() }),
  cpOwn: entry(wire.FRAME_KIND_CP_OWN, { cp: count(1), root: optional(hash()) }),
  cpAck: entry(wire.FRAME_KIND_CP_ACK, {
    cp: count(1),
    outcome: choice(["committed", "mismatch", "failed"]),
    root: hash(),
    text: words(),
  }),
  cpCommitted: entry(wire.FRAME_KIND_CP_COMMITTED, { cp: count(1), sequence: count(1) }),
};

type Catalogue = typeof CATALOGUE;
export type MessageName = keyof Catalogue;
export type BodyOf<N extends MessageName> = ValueOf<Catalogue[N]["body"]>;
export type Message = { [N in MessageName]: { readonly name: N; readonly body: BodyOf<N> } }[MessageName];
export type SourceState = RecordOf<typeof side> & BodyOf<"sourceState">;
export type MirrorState = BodyOf<"mirrorState">;

const NAMES = Object.keys(CATALOGUE) as MessageName[];
const NAME_OF = new Map<number, MessageName>(NAMES.map((name) => [CATALOGUE[name].kind, name]));

export function kindOf(name: MessageName): number {
  return CATALOGUE[name].kind;
}

export function nameOf(kind: number): MessageName | undefined {
  return NAME_OF.get(kind);
}

export function bodyField<N extends MessageName>(name: N): Field<BodyOf<N>> {
  return CATALOGUE[name].body as unknown as Field<BodyOf<N>>;
}
