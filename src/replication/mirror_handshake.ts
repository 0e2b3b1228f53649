// The mirror's half of the handshake: the mutual proof, then whether this source may have this volume.

import { NONCE_BYTES, WIRE_VERSION } from "../../assembly/wire_format.ts";
import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { bytesEqual, toHex } from "../volume/words.ts";
import { fence } from "./fence.ts";
import { wireFault } from "./fields.ts";
import { checkTerms, isProof, proofOf, type Terms, wrongProof } from "./handshake.ts";
import { compareHistories, describeGeneration, isHistory, newestOf } from "./history.ts";
import type { Link } from "./link.ts";
import type { BodyOf } from "./messages.ts";
import type { GenerationRecord, ReplicatedVolume } from "./port.ts";

export class MirrorHandshake {
  readonly #world: World;
  readonly #link: Link;
  readonly #secret: Uint8Array | undefined;
  #terms: Terms = { volume: "", sourceNonce: new Uint8Array(0), mirrorNonce: new Uint8Array(0) };
  #timeoutMs = 0;

  constructor(world: World, link: Link, secret: Uint8Array | null) {
    this.#world = world;
    this.#link = link;
    this.#secret = secret ?? undefined;
  }

  /** Empty before the hello. */
  get volumeName(): string {
    return this.#terms.volume;
  }

  onHello({ protocol, hasSecret, timeoutMs, nonce, volume }: BodyOf<"hello">): void {
    checkTerms(this.#secret, { protocol, hasSecret });
    const mirrorNonce = this.#world.random.bytes(NONCE_BYTES);
    this.#terms = { volume, sourceNonce: nonce, mirrorNonce };
    this.#timeoutMs = timeoutMs;
    const isSecret = this.#secret !== undefined;
    this.#link.send("challenge", { protocol: WIRE_VERSION, hasSecret: isSecret, nonce: mirrorNonce });
  }

  onProof(given: Uint8Array): void {
    const prove = (role: "source" | "mirror") =>
      proofOf(this.#world.authenticator, this.#secret, role, this.#terms);
    if (!isProof(prove("source"), given)) throw wrongProof("source");
    this.#link.send("proof", { proof: prove("mirror") });
    this.#link.timeoutMs = this.#timeoutMs;
  }
}

/** Null: the link was refused, with our history. Throws any other reason why this source may not have it. */
export async function admit(
  volume: ReplicatedVolume,
  source: BodyOf<"sourceState">,
  link: Link,
): Promise<ReplicatedVolume | null> {
  if (!isHistory(source.history)) throw wireFault("the source's history has gaps");
  const { role, boundTo } = volume.persisted;
  if (role !== "mirror") return refuseAsSource(volume, source.history, link);
  if (boundTo === null || bytesEqual(boundTo, source.volumeId)) return volume;
  const text = `volume "${volume.name}" is bound to source ${toHex(boundTo)}, this is ${toHex(source.volumeId)}`;
  throw new MirrorvolError("ERR_NOT_BOUND", text);
}

/** We were promoted, or started as a source: whose history goes on decides. */
async function refuseAsSource(
  volume: ReplicatedVolume,
  theirs: readonly GenerationRecord[],
  link: Link,
): Promise<null> {
  const ours = volume.persisted.history;
  const relation = compareHistories(ours, theirs);
  if (relation.kind === "older") {
    await fence(volume, relation.next);
    throw new MirrorvolError("ERR_DEMOTED", `volume "${volume.name}" was demoted just now: connect again`);
  }
  const text = `volume "${volume.name}" is a source here, ${describeGeneration(newestOf(ours))}`;
  const code = relation.kind === "newer" ? "ERR_FENCED" : "ERR_NOT_A_MIRROR";
  link.refuse(new MirrorvolError(code, text), ours);
  return null;
}

/** The source's history must be ours, or go on where ours ends, behind all that we have. */
export function checkHistory(volume: ReplicatedVolume, theirs: readonly GenerationRecord[]): void {
  if (!isHistory(theirs)) throw wireFault("the source's history has gaps");
  const relation = compareHistories(volume.persisted.history, theirs);
  if (relation.kind === "equal") return;
  if (relation.kind === "older" && relation.next.startSequence >= volume.log.tail.sequence) return;
  throw new MirrorvolError("ERR_GENERATION", "the source's history does not go on where the mirror's ends");
}
