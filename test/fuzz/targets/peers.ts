// Hostile peers: a mirror's service that is fed what a source never says, and a source whose mirror is a liar.
// Real volumes are behind both.
//
// Oracles: whatever arrives, what this side sends are well-formed frames or entries, and it never refuses with
// ERR_INTERNAL or an assertion; before the secret is proved nothing of a volume is told or changed; when the peer is
// gone the session is, too; what a volume had acknowledged it still has, and it closes and opens again.

import { ENTRY_HEADER_BYTES } from "../../../assembly/format.ts";
import type { Connection } from "../../../src/io/transport.ts";
import { Kernel } from "../../../src/kernel/kernel.ts";
import { decodeFrame, holdsEntries } from "../../../src/replication/frame.ts";
import type { MessageName } from "../../../src/replication/messages.ts";
import type { Volume } from "../../../src/volume/volume.ts";
import type { Pair } from "../../replication/pair.ts";
import { settle } from "../../support/manual_clock.ts";
import type { MemoryStorage } from "../../support/memory_storage.ts";
import { ACCEPTED, expect, refusal, type Target, type Verdict } from "../target.ts";
import { messagesOf, pairOf, scriptOf, sealScript, type Transcript, transcripts } from "./transcripts.ts";

const ADDRESS = "mirror:8750";
const SECRET = new Uint8Array(32).fill(1);
/** Flags of a conversation. */
const AGAIN = 1;
const WITH_SECRET = 2;
const MESSAGES_MAX = 60;
/** A real mirror is in sync then. */
const MESSAGES_BEFORE_CP = 6;
const TURNS_MAX = 200;

const kernel = Kernel.createSync({ memoryBytes: 2 ** 21 });

/** What came back, every message of it looked into. */
class Answers {
  readonly names: MessageName[] = [];
  isClosed = false;
  verdict: Verdict = ACCEPTED;
  /** What it should never have said. */
  fault: string | null = null;
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
    connection.onMessage = (bytes) => this.#take(bytes.slice());
    connection.onClose = () => {
      this.isClosed = true;
    };
  }

  #take(bytes: Uint8Array): void {
    try {
      if (holdsEntries(kernel, bytes)) return expect(bytes.length >= ENTRY_HEADER_BYTES, "half an entry");
      const { message } = decodeFrame(kernel, bytes);
      this.names.push(message.name);
      if (message.name === "refuse" || message.name === "notice") this.#judge(message.body);
      if ("text" in message.body && /\b(Type|Range|Reference)Error\b/.test(message.body.text)) {
        this.fault = `${message.name}: ${message.body.text}`;
      }
    } catch (error) {
      this.fault ??= String(error);
    }
  }

  #judge({ code, text }: { readonly code: string; readonly text: string }): void {
    if (code === "ERR_INTERNAL" || code === "ERR_ASSERTION") this.fault = `${code}: ${text}`;
    this.verdict = code;
  }
}

async function say(
  answers: Answers,
  messages: readonly Uint8Array[],
  pair: Pair,
  storage: MemoryStorage,
): Promise<void> {
  for (const message of messages.slice(0, MESSAGES_MAX)) {
    if (answers.isClosed) return;
    answers.connection.send(message.slice());
    await untilQuiet(answers, storage);
  }
  await pair.clock.advance(50);
}

/** Until nobody writes or says anything more: an image may take hundreds of turns. */
async function untilQuiet(answers: Answers, storage: MemoryStorage): Promise<void> {
  const seen = () => storage.eventCount + answers.names.length;
  for (let before = -1, turn = 0; before !== seen() && turn < TURNS_MAX; turn += 1) {
    before = seen();
    await settle();
  }
}

/** What a volume may not lose. */
function stateOf(volume: Volume): string {
  const { cp, rootHash, position, persisted } = volume;
  return JSON.stringify({ cp, rootHash, position, persisted }, (_key, value) =>
    typeof value === "bigint" ? `${value}n` : value,
  );
}

async function startOf(flags: number): Promise<Transcript> {
  const { first, again } = await transcripts();
  return (flags & AGAIN) !== 0 ? again : first;
}

async function seedsOf(side: "toMirror" | "toSource"): Promise<Uint8Array[]> {
  const { first, again } = await transcripts();
  const withoutEnd = again[side].slice(0, 4);
  return [
    scriptOf(0, first[side]),
    scriptOf(AGAIN, again[side]),
    scriptOf(AGAIN, withoutEnd),
    scriptOf(AGAIN | WITH_SECRET, again[side]),
  ];
}

/** Reused while nothing has changed it: opening a volume costs more than most conversations. */
const mirrors = new Map<number, { readonly pair: Pair; readonly state: string }>();

async function mirrorFor(flags: number): Promise<{ pair: Pair; state: string }> {
  const key = flags & (AGAIN | WITH_SECRET);
  const known = mirrors.get(key);
  if (known !== undefined) return known;
  const secret = (flags & WITH_SECRET) !== 0 ? SECRET : null;
  const pair = pairOf(await startOf(flags), { mirrorSecret: secret });
  await pair.openMirror();
  const opened = { pair, state: stateOf(pair.mirror.volume) };
  mirrors.set(key, opened);
  return opened;
}

export const mirrorPeerTarget: Target = {
  name: "mirror-peer",
  bytesMax: 12_000,
  share: 60,
  batch: 16,
  seeds: () => seedsOf("toMirror"),
  seal: sealScript,
  check: async (script) => {
    const flags = script[0] ?? 0;
    const { pair, state } = await mirrorFor(flags);
    const answers = new Answers(await pair.network.transport.connect(`ws://${ADDRESS}`));
    try {
      await say(answers, messagesOf(script), pair, pair.mirror.storage);
      answers.connection.close("done");
      await untilGone(pair);
      expect(answers.fault === null, `the mirror says ${answers.fault}`);
      const isProved = answers.names.includes("proof");
      const said = answers.names.filter((name) => !["challenge", "refuse", "ping"].includes(name));
      expect(isProved || said.length === 0, `before the proof it says ${said}`);
      const isChanged = stateOf(pair.mirror.volume) !== state;
      expect(!isChanged || isProved, "a stranger changed the volume");
      expect((flags & WITH_SECRET) === 0 || !isProved, "the secret was guessed");
      if (isChanged) await reopen(flags, pair);
      return answers.verdict;
    } catch (error) {
      mirrors.delete(flags & (AGAIN | WITH_SECRET));
      throw error;
    }
  },
};

async function untilGone(pair: Pair): Promise<void> {
  const isGone = () => pair.service.status("orders").source === null;
  for (let turn = 0; turn < 200 && !isGone(); turn += 1) await settle();
  if (!isGone()) await pair.clock.advance(20_000);
  expect(isGone(), `the session is still there: ${pair.service.status("orders").detail}`);
}

/** What it took over is there when it is opened again. */
async function reopen(flags: number, pair: Pair): Promise<void> {
  mirrors.delete(flags & (AGAIN | WITH_SECRET));
  const { cp, rootHash, log } = pair.mirror.volume;
  const durable = log.durable;
  await pair.closeMirror();
  try {
    await pair.openMirror();
  } catch (error) {
    throw new Error("the mirror does not open any more", { cause: error });
  }
  const { volume } = pair.mirror;
  const isSame = volume.cp >= cp && (volume.cp > cp || Buffer.from(volume.rootHash).equals(rootHash));
  expect(isSame, `cp ${cp} is ${volume.cp}, or another image`);
  expect(volume.log.durable >= durable, `entry ${durable} is gone, ${volume.log.durable} is the last`);
  await pair.closeMirror();
}

export const sourcePeerTarget: Target = {
  name: "source-peer",
  bytesMax: 12_000,
  share: 40,
  batch: 16,
  seeds: () => seedsOf("toSource"),
  seal: sealScript,
  check: async (script) => {
    const flags = script[0] ?? 0;
    const secret = (flags & WITH_SECRET) !== 0 ? SECRET : null;
    const pair = pairOf(await startOf(flags), { sourceSecret: secret });
    let answers: Answers | null = null;
    const listener = await pair.network.transport.listen(ADDRESS, (connection) => {
      answers ??= new Answers(connection);
    });
    await pair.openSource();
    const { volume } = pair.source;
    const before = volume.log.tail.sequence;
    for (let turn = 0; turn < 20 && answers === null; turn += 1) await settle();
    const heard = answers as Answers | null;
    expect(heard !== null, "the source does not connect");
    // In flight while the mirror lies; whether it is ever acknowledged is the mirror's business.
    const writing = volume.write(5 * 4096, new Uint8Array(4096).fill(5)).catch((error) => refusal(error));
    // As many entries as in the real conversation, or its acknowledgements would be for nothing.
    const trimming = (flags & AGAIN) === 0 ? null : volume.trim(0, 3 * 4096).catch((error) => refusal(error));
    const messages = messagesOf(script);
    const { storage } = pair.source;
    await say(heard!, messages.slice(0, MESSAGES_BEFORE_CP), pair, storage);
    // Later than that nothing waits for it any more.
    const made = volume.consistencyPoint().catch((error) => refusal(error));
    await untilQuiet(heard!, storage);
    await say(heard!, messages.slice(MESSAGES_BEFORE_CP), pair, storage);
    const isOpen = heard!.names.includes("sourceState");
    await listener.close();
    heard!.connection.close("done");
    await settle();
    pair.relationship.status();
    expect(heard!.fault === null, `the source says ${heard!.fault}`);
    expect(secret === null || !isOpen, "it speaks of its volume to somebody without the secret");
    expect(volume.log.tail.sequence >= before, "entries are gone");
    try {
      await pair.closeSource();
    } catch (error) {
      refusal(error);
    }
    await Promise.all([writing, trimming, made]);
    return heard!.verdict;
  },
};
