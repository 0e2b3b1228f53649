// The mirror's side of an image round: an image that lies on the source, asked for over the link. The walk
// through it (volume/image_sync.ts) decides what is asked; here requests are cut to size and answers checked.

import { BLOCK_BYTES, HASH_BYTES } from "../../assembly/format.ts";
import { BLOCKS_PER_REQUEST_MAX, NODES_PER_REQUEST_MAX } from "../../assembly/wire_format.ts";
import { wireFault } from "./fields.ts";
import type { Link } from "./link.ts";
import type { BodyOf } from "./messages.ts";
import type { LogPosition, RemoteImage } from "./port.ts";
import { Requests } from "./requests.ts";

const IN_FLIGHT_MAX = 8;

/** What a mirror asks of its source, for image rounds and for blocks that its log lacks. */
export class RemoteReader {
  readonly #link: Link;
  readonly #children = new Requests<Uint8Array[]>(IN_FLIGHT_MAX);
  readonly #blocks = new Requests<Uint8Array[]>(IN_FLIGHT_MAX);

  constructor(link: Link) {
    this.#link = link;
  }

  async children(level: number, indexes: readonly number[]): Promise<Uint8Array[]> {
    const parts = split(indexes, NODES_PER_REQUEST_MAX).map(async (part) => {
      const send = (request: number) => this.#link.send("childrenRequest", { request, level, indexes: part });
      return expectCount(await this.#children.ask(send), part.length);
    });
    return (await Promise.all(parts)).flat();
  }

  async blocks(cp: number, lbas: readonly number[]): Promise<Uint8Array[]> {
    const parts = split(lbas, BLOCKS_PER_REQUEST_MAX).map(async (part) => {
      const send = (request: number) => this.#link.send("blocksRequest", { request, cp, lbas: part });
      return expectCount(await this.#blocks.ask(send), part.length);
    });
    return (await Promise.all(parts)).flat();
  }

  onChildren({ request, fault, counts, hashes }: BodyOf<"children">): void {
    if (fault !== "") return this.#children.fail(request, fault);
    const total = counts.reduce((sum, each) => sum + each, 0);
    if (total * HASH_BYTES !== hashes.length) {
      throw wireFault(`children: ${hashes.length} bytes of hashes for ${total} children`);
    }
    let at = 0;
    const nodes = counts.map((count) => hashes.subarray(at, (at += count * HASH_BYTES)));
    this.#children.answer(request, nodes);
  }

  onBlocks({ request, fault, blocks }: BodyOf<"blocks">): void {
    if (fault !== "") return this.#blocks.fail(request, fault);
    const count = blocks.length / BLOCK_BYTES;
    const views = Array.from({ length: count }, (_, i) =>
      blocks.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES),
    );
    this.#blocks.answer(request, views);
  }

  close(reason: string): void {
    this.#children.close(reason);
    this.#blocks.close(reason);
  }
}

export class LinkImage implements RemoteImage {
  readonly cp: number;
  readonly seal: LogPosition;
  readonly rootHash: Uint8Array;
  readonly sizeBlocks: number;
  readonly #reader: RemoteReader;

  constructor(reader: RemoteReader, announced: BodyOf<"image">, sizeBlocks: number) {
    this.#reader = reader;
    this.cp = announced.cp;
    this.seal = announced.seal;
    this.rootHash = announced.root;
    this.sizeBlocks = sizeBlocks;
  }

  children(level: number, indexes: readonly number[]): Promise<Uint8Array[]> {
    return this.#reader.children(level, indexes);
  }

  blocks(lbas: readonly number[]): Promise<Uint8Array[]> {
    return this.#reader.blocks(this.cp, lbas);
  }
}

function split(items: readonly number[], most: number): number[][] {
  const parts: number[][] = [];
  for (let at = 0; at < items.length; at += most) parts.push(items.slice(at, at + most));
  return parts;
}

function expectCount(answers: Uint8Array[], count: number): Uint8Array[] {
  if (answers.length !== count) throw wireFault(`${answers.length} answers to a request for ${count}`);
  return answers;
}
