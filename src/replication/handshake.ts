// The mutual proof of the secret. Both sides give a random nonce; each then shows an HMAC-SHA-256 over
//
//   "mirrorvol proof 1" 0  role 0  volume name 0  source's nonce  mirror's nonce
//
// The role keeps a proof from being sent back to whom it came from, the nonces keep it from being used again,
// the name binds it to the volume. The source proves first, so that a mirror answers nobody who does not know
// the secret. Without a secret on either side the proofs are zeros; with one on one side only, both refuse.

import { PROOF_BYTES, WIRE_VERSION } from "../../assembly/wire_format.ts";
import type { Authenticator } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Role } from "./port.ts";

export interface Terms {
  readonly volume: string;
  readonly sourceNonce: Uint8Array;
  readonly mirrorNonce: Uint8Array;
}

const CONTEXT = "mirrorvol proof 1";

export function proofOf(
  authenticator: Authenticator,
  secret: Uint8Array | undefined,
  role: Role,
  terms: Terms,
): Uint8Array {
  if (secret === undefined) return new Uint8Array(PROOF_BYTES);
  const names = new TextEncoder().encode(`${CONTEXT}\0${role}\0${terms.volume}\0`);
  const { sourceNonce, mirrorNonce } = terms;
  const data = new Uint8Array(names.length + sourceNonce.length + mirrorNonce.length);
  data.set(names, 0);
  data.set(sourceNonce, names.length);
  data.set(mirrorNonce, names.length + sourceNonce.length);
  return authenticator.hmac(secret, data);
}

/** Takes the same time wherever they differ. */
export function isProof(expected: Uint8Array, given: Uint8Array): boolean {
  let difference = expected.length ^ given.length;
  for (let index = 0; index < expected.length; index++) difference |= expected[index]! ^ (given[index] ?? 0);
  return difference === 0;
}

export function checkTerms(
  secret: Uint8Array | undefined,
  peer: { readonly protocol: number; readonly hasSecret: boolean },
): void {
  if (peer.protocol !== WIRE_VERSION) {
    const text = `the other side speaks protocol ${peer.protocol}, this one ${WIRE_VERSION}`;
    throw new MirrorvolError("ERR_PROTOCOL_VERSION", text);
  }
  if (peer.hasSecret && secret === undefined) {
    throw new MirrorvolError("ERR_SECRET_MISSING", "one side has a secret, but this volume or node has none");
  }
  if (!peer.hasSecret && secret !== undefined) {
    throw new MirrorvolError("ERR_SECRET_REQUIRED", "a secret is required, but the other side has none");
  }
}

export function wrongProof(role: Role): MirrorvolError {
  return new MirrorvolError("ERR_AUTHENTICATION", `the ${role} does not know the secret`);
}
