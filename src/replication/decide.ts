// What a source does about its mirror, once both have said where they are. A pure function: it looks at two
// descriptions and at chains, and never at roles, clocks or who came first.
//
// Let t be the source's tail, r the mirror's, B where the source's newest generations leave the mirror's
// history (only if the source has newer ones), d the highest sequence that the mirror knows to have been
// durable on the source.
//
//   the mirror has no history of its own            image     (a blank node counts for nothing)
//   the mirror's history goes on where ours ends    fenced    (it was promoted: demote at once)
//   neither history is a prefix of the other        diverged
//   d > t and the mirror cannot give it             lost      (refuse to serve)
//   r <= t, on our chain, log holds what follows    forward
//   r <= t, log gone                                image
//   r <= t, another chain                           diverged
//   r > t, its chain at t is ours, we served none   adopt     (then forward)
//   r > B, d <= B                                   image     (nobody acknowledged what lies behind B)
//   r > B, d > B                                    diverged
//
// "ask" means that the mirror's chain at a sequence is needed; call again with the answer.

import { bytesEqual, toHex } from "../volume/words.ts";
import { compareHistories, describeGeneration } from "./history.ts";
import type { MirrorState, SourceState } from "./messages.ts";
import type { GenerationRecord } from "./port.ts";

export interface Local extends Omit<SourceState, "aloneSince"> {
  /** It has served clients since it was opened, so nothing can be put under what they saw. */
  readonly hasServed: boolean;
  /** The chain at the mirror's tail, null if the log does not hold everything that follows it. */
  readonly chainAtTheirTail: bigint | null;
}

/** What the mirror answered: null where its log does not reach. */
export type RemoteChains = ReadonlyMap<number, bigint | null>;

export type Decision =
  | { readonly kind: "ask"; readonly sequence: number }
  | { readonly kind: "forward" }
  | { readonly kind: "adopt"; readonly through: number }
  | { readonly kind: "image"; readonly reason: string }
  | { readonly kind: "fenced"; readonly by: GenerationRecord }
  | { readonly kind: "diverged"; readonly reason: string }
  | { readonly kind: "lost"; readonly reason: string }
  | { readonly kind: "refused"; readonly code: `ERR_${string}`; readonly reason: string };

export function decide(local: Local, remote: MirrorState, chains: RemoteChains): Decision {
  const misfit = findMisfit(local, remote);
  if (misfit !== null) return misfit;
  if (isBlank(remote)) return forBlank(local, remote);
  const relation = compareHistories(local.history, remote.history);
  if (relation.kind === "diverged")
    return { kind: "diverged", reason: `histories differ: ${relation.reason}` };
  if (relation.kind === "older") return { kind: "fenced", by: relation.next };
  if (remote.role !== "mirror") return notAMirror();
  if (relation.kind === "newer") return afterBranch(local, remote, relation.next, chains);
  return inOneGeneration(local, remote, chains);
}

function findMisfit(local: Local, remote: MirrorState): Decision | null {
  if (remote.sizeBlocks !== local.sizeBlocks) {
    const reason = `the mirror has ${remote.sizeBlocks} blocks, the source ${local.sizeBlocks}`;
    return { kind: "refused", code: "ERR_SIZE_DIFFERS", reason };
  }
  if (remote.halfBytes < local.halfBytes) {
    const sizes = `${remote.halfBytes} bytes, the source's ${local.halfBytes}`;
    const reason = `a half of the mirror's log has ${sizes}: it must not be smaller`;
    return { kind: "refused", code: "ERR_MIRROR_LOG_SMALL", reason };
  }
  if (remote.boundTo === null || bytesEqual(remote.boundTo, local.volumeId)) return null;
  const reason = `the mirror is bound to volume ${toHex(remote.boundTo)}, this is ${toHex(local.volumeId)}`;
  return { kind: "refused", code: "ERR_NOT_BOUND", reason };
}

/** A volume that was a source before is bound to nobody either, but it has entries: it is not blank. */
export function isBlank(remote: MirrorState): boolean {
  return remote.boundTo === null && remote.tail.sequence === 0;
}

function notAMirror(): Decision {
  return { kind: "refused", code: "ERR_NOT_A_MIRROR", reason: "the other side is a source too" };
}

function forBlank(local: Local, remote: MirrorState): Decision {
  if (remote.role !== "mirror") return notAMirror();
  return findLoss(local, local.requiredThrough) ?? { kind: "image", reason: "the mirror is new" };
}

function findLoss(local: Local, needed: number): Decision | null {
  if (needed <= local.tail.sequence) return null;
  const reason = `entries up to ${needed} were durable, the log ends at ${local.tail.sequence}`;
  return { kind: "lost", reason: `${reason}, and the mirror does not have them` };
}

function inOneGeneration(local: Local, remote: MirrorState, chains: RemoteChains): Decision {
  const needed = Math.max(local.requiredThrough, remote.sourceDurableThrough);
  if (needed > remote.tail.sequence) {
    const loss = findLoss(local, needed);
    if (loss !== null) return loss;
  }
  if (remote.tail.sequence > local.tail.sequence) return adoptTail(local, remote, chains);
  return onOurChain(local, remote);
}

function adoptTail(local: Local, remote: MirrorState, chains: RemoteChains): Decision {
  const tail = local.tail.sequence;
  const theirs = chains.get(tail);
  if (theirs === undefined) return { kind: "ask", sequence: tail };
  if (theirs === null) {
    const reason = `the mirror is at ${remote.tail.sequence} and no longer holds what follows ${tail}`;
    return { kind: "lost", reason };
  }
  if (theirs !== local.tail.chain)
    return { kind: "diverged", reason: `the chains differ at sequence ${tail}` };
  if (local.hasServed) {
    const reason = `the mirror is at ${remote.tail.sequence}, beyond ${tail}, which this source never wrote`;
    return { kind: "diverged", reason };
  }
  return { kind: "adopt", through: remote.tail.sequence };
}

/** r <= t. */
function onOurChain(local: Local, remote: MirrorState): Decision {
  const ours = local.chainAtTheirTail;
  if (ours === null) {
    return { kind: "image", reason: `the log no longer holds what follows ${remote.tail.sequence}` };
  }
  if (ours !== remote.tail.chain) {
    return { kind: "diverged", reason: `the chains differ at sequence ${remote.tail.sequence}` };
  }
  if (remote.cp === local.cp && !bytesEqual(remote.root, local.root)) {
    return { kind: "image", reason: `the root hashes of consistency point ${local.cp} differ` };
  }
  return { kind: "forward" };
}

function afterBranch(
  local: Local,
  remote: MirrorState,
  branch: GenerationRecord,
  chains: RemoteChains,
): Decision {
  const loss = findLoss(local, local.requiredThrough);
  if (loss !== null) return loss;
  const start = branch.startSequence;
  if (remote.sourceDurableThrough > start) {
    const known = `the mirror knows that ${remote.sourceDurableThrough} was durable`;
    return { kind: "diverged", reason: `${known}, but ${describeGeneration(branch)} goes on without it` };
  }
  if (remote.tail.sequence <= start) return onOurChain(local, remote);
  const theirs = chains.get(start);
  if (theirs === undefined) return { kind: "ask", sequence: start };
  if (theirs !== null && theirs !== branch.startChain) {
    return { kind: "diverged", reason: `the chains differ at sequence ${start}` };
  }
  const reason = `the mirror's entries ${start + 1} to ${remote.tail.sequence} were never acknowledged`;
  return { kind: "image", reason };
}
