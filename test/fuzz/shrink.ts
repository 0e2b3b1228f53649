// Makes a failing input smaller: pieces are left out, halves first, then single bytes become zero. Whatever
// still fails in the same way is gone on from. A bounded number of tries, because some targets are slow.

import { joined } from "./mutator.ts";

const TRIES_MAX = 1_500;

export async function shrink(
  input: Uint8Array,
  fails: (candidate: Uint8Array) => Promise<boolean>,
  seal: (candidate: Uint8Array) => Uint8Array = (candidate) => candidate,
): Promise<Uint8Array> {
  let best = input;
  let tries = 0;
  const attempt = async (candidate: Uint8Array): Promise<boolean> => {
    // With the checksums mended, or as it is: the failure may need either.
    for (const each of new Set([seal(candidate.slice()), candidate])) {
      if (tries >= TRIES_MAX || each.length > best.length) continue;
      tries += 1;
      if (!(await fails(each))) continue;
      best = each;
      return true;
    }
    return false;
  };
  for (let size = Math.ceil(best.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.length && tries < TRIES_MAX; ) {
      const isShorter = await attempt(joined(best.subarray(0, at), best.subarray(at + size)));
      if (!isShorter) at += size;
    }
  }
  for (let at = 0; at < best.length && tries < TRIES_MAX; at += 1) {
    if (best[at] === 0) continue;
    const candidate = best.slice();
    candidate[at] = 0;
    await attempt(candidate);
  }
  return best;
}
