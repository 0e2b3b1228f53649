// The source's side of every question about images: pinned ones, by cp number, answered while they are pinned.
//
// Invariants:
//   - image n stays pinned from its commit until the mirror has acknowledged n, or the session ends;
//   - a question about a consistency point that is still being made waits for its commit;
//   - at most REQUESTS_MAX questions wait or are worked on; a mirror that asks for more breaks the protocol.

import { HASH_BYTES } from "../../assembly/format.ts";
import type { UnderWay } from "../volume/under_way.ts";
import { wireFault } from "./fields.ts";
import type { Link } from "./link.ts";
import type { BodyOf } from "./messages.ts";
import type { PinnedImage, ReplicatedVolume } from "./port.ts";

const REQUESTS_MAX = 16;

export class ImageServer {
  readonly #volume: ReplicatedVolume;
  readonly #link: Link;
  readonly #underWay: UnderWay;
  readonly #pinned = new Map<number, PinnedImage>();
  /** The image of the round that runs; questions about children are about it. */
  #round: PinnedImage | null = null;
  #waiting: BodyOf<"blocksRequest">[] = [];
  #running = 0;
  #isClosed = false;
  /** A question was answered: the mirror makes progress. */
  onProgress: () => void = () => {};

  constructor(volume: ReplicatedVolume, link: Link, underWay: UnderWay) {
    this.#volume = volume;
    this.#link = link;
    this.#underWay = underWay;
  }

  /** Pins the last committed image. */
  async pin(): Promise<PinnedImage> {
    const image = await this.#volume.pinImage();
    const before = this.#pinned.get(image.cp);
    if (this.#isClosed || before !== undefined) {
      image.release();
      return before ?? image;
    }
    this.#pinned.set(image.cp, image);
    this.#answerWaiting();
    return image;
  }

  async beginRound(): Promise<PinnedImage> {
    this.#round = await this.pin();
    return this.#round;
  }

  endRound(): void {
    this.#round = null;
  }

  /** The mirror has that consistency point: older images are not needed any more. */
  acknowledged(cp: number): void {
    for (const [each, image] of this.#pinned) {
      if (each > cp || image === this.#round) continue;
      this.#pinned.delete(each);
      image.release();
    }
  }

  onChildrenRequest({ request, level, indexes }: BodyOf<"childrenRequest">): void {
    const image = this.#round;
    const answer = (fault: string, counts: number[], hashes: Uint8Array) =>
      this.#link.send("children", { request, fault, counts, hashes });
    if (image === null) return answer("no image round runs", [], new Uint8Array(0));
    this.#start(async () => {
      try {
        const nodes = await image.children(level, [...indexes]);
        answer(
          "",
          nodes.map((node) => node.length / HASH_BYTES),
          concatenate(nodes),
        );
      } catch (error) {
        answer(String(error), [], new Uint8Array(0));
      }
    });
  }

  onBlocksRequest(asked: BodyOf<"blocksRequest">): void {
    const image = this.#pinned.get(asked.cp);
    if (image !== undefined) return this.#answerBlocks(image, asked);
    if (asked.cp <= this.#volume.cp) {
      return this.#sendBlocks(asked.request, `image ${asked.cp} is not kept`, new Uint8Array(0));
    }
    if (this.#waiting.length >= REQUESTS_MAX) throw wireFault("too many requests at once");
    this.#waiting.push(asked);
  }

  close(): void {
    this.#isClosed = true;
    this.#waiting = [];
    for (const image of this.#pinned.values()) image.release();
    this.#pinned.clear();
  }

  #answerWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const asked of waiting) this.onBlocksRequest(asked);
  }

  #answerBlocks(image: PinnedImage, { request, lbas }: BodyOf<"blocksRequest">): void {
    this.#start(async () => {
      try {
        const blocks = await image.blocks([...lbas]);
        this.#sendBlocks(request, "", concatenate(blocks));
      } catch (error) {
        this.#sendBlocks(request, String(error), new Uint8Array(0));
      }
    });
  }

  #sendBlocks(request: number, fault: string, blocks: Uint8Array): void {
    this.#link.send("blocks", { request, fault, blocks });
  }

  #start(work: () => Promise<void>): void {
    if (this.#running >= REQUESTS_MAX) throw wireFault("too many requests at once");
    this.#running += 1;
    this.onProgress();
    void this.#underWay.add(work()).finally(() => {
      this.#running -= 1;
    });
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
