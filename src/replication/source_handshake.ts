// The source's half of the mutual proof: hello, challenge, proof, proof (handshake.ts says what is proved).

import { NONCE_BYTES, WIRE_VERSION } from "../../assembly/wire_format.ts";
import type { World } from "../io/world.ts";
import { checkTerms, isProof, proofOf, wrongProof } from "./handshake.ts";
import type { Link } from "./link.ts";
import type { BodyOf } from "./messages.ts";

export interface SourceHandshakeOptions {
  readonly world: World;
  readonly link: Link;
  /** The volume's name on the mirror. */
  readonly name: string;
  readonly secret: Uint8Array | null;
  readonly timeoutMs: number;
}

export class SourceHandshake {
  readonly #options: SourceHandshakeOptions;
  readonly #nonce: Uint8Array;
  #expected: Uint8Array = new Uint8Array(0);
  #isProved = false;

  constructor(options: SourceHandshakeOptions) {
    this.#options = options;
    this.#nonce = options.world.random.bytes(NONCE_BYTES);
  }

  /** The mirror has shown that it knows the secret, or none is wanted. */
  get isProved(): boolean {
    return this.#isProved;
  }

  begin(): void {
    const { link, name, secret, timeoutMs } = this.#options;
    const hasSecret = secret !== null;
    link.send("hello", { protocol: WIRE_VERSION, hasSecret, timeoutMs, nonce: this.#nonce, volume: name });
  }

  /** Throws what is wrong with the terms. */
  onChallenge({ protocol, hasSecret, nonce }: BodyOf<"challenge">): void {
    const { world, link, name } = this.#options;
    const secret = this.#options.secret ?? undefined;
    checkTerms(secret, { protocol, hasSecret });
    const terms = { volume: name, sourceNonce: this.#nonce, mirrorNonce: nonce };
    this.#expected = proofOf(world.authenticator, secret, "mirror", terms);
    link.send("proof", { proof: proofOf(world.authenticator, secret, "source", terms) });
  }

  /** Throws ERR_AUTHENTICATION. */
  onProof(given: Uint8Array): void {
    if (!isProof(this.#expected, given)) throw wrongProof("mirror");
    this.#isProved = true;
  }
}
