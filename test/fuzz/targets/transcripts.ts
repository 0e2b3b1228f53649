// What a source and its mirror really said to each other, from both sides, to make hostile conversations of.
//
// A conversation is one flags byte, then messages: length u16, bytes. Each message is a frame or log entries.
//
//   first   two volumes that never met: the whole volume as an image, then entries and a consistency point
//   again   the same two, connecting a second time: entries and a consistency point at once

import {
  ENTRY_HEADER_BYTES,
  ENTRY_MAGIC,
  ENTRY_MAGIC_AT,
  ENTRY_PAYLOAD_BYTES,
} from "../../../assembly/format.ts";
import type { Connection } from "../../../src/io/transport.ts";
import { Pair, type PairOptions } from "../../replication/pair.ts";
import type { MemoryStorage } from "../../support/memory_storage.ts";
import { joined } from "../mutator.ts";
import { sealEntry, viewOf } from "./log_codec.ts";
import { sealFrame } from "./wire.ts";

/** Both volumes as they were before a conversation, and what was said. */
export interface Transcript {
  readonly source: MemoryStorage;
  readonly mirror: MemoryStorage;
  readonly toMirror: readonly Uint8Array[];
  readonly toSource: readonly Uint8Array[];
}

export interface Transcripts {
  readonly first: Transcript;
  readonly again: Transcript;
}

let made: Promise<Transcripts> | null = null;

export function transcripts(): Promise<Transcripts> {
  made ??= make();
  return made;
}

async function make(): Promise<Transcripts> {
  const fresh = await Pair.create();
  const first = await record(fresh.source.storage, fresh.mirror.storage, async (pair) => {
    await pair.write(3, 1);
    await pair.consistencyPoint();
    await pair.untilEqual();
  });
  const again = await record(first.after.source, first.after.mirror, async (pair) => {
    await pair.write(4, 2);
    await pair.waitFor("a trim", pair.source.volume.trim(0, 3 * 4096));
    await pair.consistencyPoint();
    await pair.untilEqual();
  });
  return { first: first.transcript, again: again.transcript };
}

async function record(source: MemoryStorage, mirror: MemoryStorage, talk: (pair: Pair) => Promise<void>) {
  const transcript = { source, mirror, toMirror: [] as Uint8Array[], toSource: [] as Uint8Array[] };
  const pair = pairOf(transcript, {});
  const { transport } = pair.network;
  const { connect } = transport;
  transport.connect = async (...args) => listenIn(await connect(...args), transcript);
  await pair.openMirror();
  await pair.openSource();
  await pair.untilInSync();
  await talk(pair);
  await pair.close();
  const after = { source: copyOf(pair.source.storage), mirror: copyOf(pair.mirror.storage) };
  return { transcript, after };
}

/** A pair on copies of what a transcript began with. */
export function pairOf(from: Pick<Transcript, "source" | "mirror">, options: PairOptions): Pair {
  return Pair.of(copyOf(from.source), copyOf(from.mirror), options);
}

function copyOf(storage: MemoryStorage): MemoryStorage {
  return storage.ifPowerFailedNow("keep");
}

/** The source's end of a connection, with a copy of everything for the record. */
function listenIn(
  connection: Connection,
  into: { readonly toMirror: Uint8Array[]; readonly toSource: Uint8Array[] },
): Connection {
  return new Proxy(connection, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (name !== "send") return typeof value === "function" ? value.bind(target) : value;
      return (data: Uint8Array, done?: (error: Error | null) => void) => {
        into.toMirror.push(data.slice());
        target.send(data, done);
      };
    },
    set(target, name, value) {
      if (name !== "onMessage") return Reflect.set(target, name, value, target);
      target.onMessage = (data) => {
        into.toSource.push(data.slice());
        value(data);
      };
      return true;
    },
  });
}

const LENGTH_BYTES = 2;

/** Only messages that fit their length field: the others are larger pieces of the same. */
export function scriptOf(flags: number, messages: readonly Uint8Array[]): Uint8Array {
  const parts = messages.flatMap((message) => {
    if (message.length > 0xffff) return [];
    return [Uint8Array.of(message.length & 0xff, message.length >> 8), message];
  });
  return joined(Uint8Array.of(flags), ...parts);
}

export function messagesOf(script: Uint8Array): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let at = 1; at + LENGTH_BYTES <= script.length; ) {
    const length = viewOf(script).getUint16(at, true);
    at += LENGTH_BYTES;
    messages.push(script.subarray(at, Math.min(script.length, at + length)));
    at += length;
  }
  return messages;
}

/** Every checksum in it made right. */
export function sealScript(script: Uint8Array): Uint8Array {
  for (const message of messagesOf(script)) {
    const isEntry =
      message.length >= ENTRY_HEADER_BYTES && viewOf(message).getUint32(ENTRY_MAGIC_AT, true) === ENTRY_MAGIC;
    if (!isEntry) sealFrame(message);
    for (let at = 0; isEntry && at + ENTRY_HEADER_BYTES <= message.length; ) {
      const length = ENTRY_HEADER_BYTES + viewOf(message).getUint32(at + ENTRY_PAYLOAD_BYTES, true);
      sealEntry(message.subarray(at));
      at += length;
    }
  }
  return script;
}
