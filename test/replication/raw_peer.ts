// One end of a connection that says whatever a test wants, well-formed or not.

import { nodeAuthenticator } from "../../src/io/node_world.ts";
import type { Connection } from "../../src/io/transport.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { decodeFrame, encodeFrame, holdsEntries, NO_GENERATION } from "../../src/replication/frame.ts";
import { proofOf } from "../../src/replication/handshake.ts";
import type { BodyOf, Message, MessageName } from "../../src/replication/messages.ts";
import { describeSide } from "../../src/replication/mirror_state.ts";
import type { Generation } from "../../src/replication/port.ts";
import type { Volume } from "../../src/volume/volume.ts";
import type { Pair } from "./pair.ts";

const kernel = Kernel.createSync({ memoryBytes: 2 ** 21 });

export class RawPeer {
  readonly messages: Message[] = [];
  generation: Generation = NO_GENERATION;
  closedWith: string | null = null;
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
    connection.onMessage = (bytes) => {
      const copy = bytes.slice();
      if (!holdsEntries(kernel, copy)) this.messages.push(decodeFrame(kernel, copy).message);
    };
    connection.onClose = (reason) => {
      this.closedWith = reason;
    };
  }

  static async dial(pair: Pair): Promise<RawPeer> {
    return new RawPeer(await pair.network.transport.connect("ws://mirror:8750"));
  }

  sendBytes(bytes: Uint8Array): void {
    this.#connection.send(bytes);
  }

  send<N extends MessageName>(name: N, body: BodyOf<N>): void {
    this.sendBytes(encodeFrame(kernel, this.generation, name, body));
  }

  /** The messages of a kind, oldest first. */
  all<N extends MessageName>(name: N): BodyOf<N>[] {
    return this.messages.flatMap((message) => (message.name === name ? [message.body as BodyOf<N>] : []));
  }

  /** The code with which the other side ended it. */
  get refusal(): string | null {
    return this.all("refuse")[0]?.code ?? null;
  }

  close(): void {
    this.#connection.close("done");
  }

  hello(volume: string, hasSecret = false, protocol = 1): void {
    this.send("hello", { protocol, hasSecret, timeoutMs: 5000, nonce: NONCE, volume });
  }

  /** Proves a source's secret after a challenge. */
  prove(volume: string, secret?: Uint8Array): void {
    const mirrorNonce = this.all("challenge")[0]!.nonce;
    const terms = { volume, sourceNonce: NONCE, mirrorNonce };
    this.send("proof", { proof: proofOf(nodeAuthenticator, secret, "source", terms) });
  }

  /** Says that it is that source, or another one. */
  introduce(volume: Volume, changes: Partial<BodyOf<"sourceState">> = {}): void {
    const { number, id } = volume.generation;
    this.generation = { number, id };
    this.send("sourceState", { ...describeSide(volume), aloneSince: null, ...changes });
  }

  /** All of the handshake. */
  async enter(pair: Pair, volume = pair.source.volume): Promise<void> {
    this.hello("orders");
    await pair.until("a challenge", () => this.all("challenge").length > 0);
    this.prove("orders");
    await pair.until("a proof", () => this.all("proof").length > 0);
    this.introduce(volume);
    await pair.until("the mirror's state", () => this.all("mirrorState").length > 0);
  }
}

const NONCE = new Uint8Array(32).fill(9);
