// Which loads there are. The names of the parameters are those of the rows.

import { KIB, sizeName } from "../kernels/sizes.ts";
import type { Load } from "../support/load.ts";
import type { Params } from "../support/rows.ts";
import { MIB } from "../support/shape.ts";

export interface NamedLoad {
  readonly params: Params;
  readonly load: Load;
}

type Kind = "write" | "read" | "mixed";

const READ_SHARE: Record<Kind, number> = { write: 0, read: 1, mixed: 0.7 };

export function loads(isQuick: boolean): NamedLoad[] {
  const one = (kind: Kind, bytes: number, depth: number): NamedLoad => ({
    params: { load: kind, size: sizeName(bytes), depth },
    load: {
      depth,
      bytes,
      readShare: READ_SHARE[kind],
      spanBytes: spanBytes(isQuick),
      seconds: isQuick ? 0.5 : 0.8,
      warmUpSeconds: 0.5,
    },
  });
  // The deep ones first: what V8 compiles it compiles for code that runs often, and a load at depth 1 alone would be
  // over before that. Who serves for days is measured, not who has just been started.
  const few = [one("write", 4 * KIB, 32), one("write", 4 * KIB, 1), one("write", 128 * KIB, 8)];
  if (isQuick) return [...few, one("read", 4 * KIB, 32), one("read", 4 * KIB, 1)];
  return [
    ...[32, 128, 8, 1].map((depth) => one("write", 4 * KIB, depth)),
    one("write", 32 * KIB, 8),
    ...[1, 8].map((depth) => one("write", 128 * KIB, depth)),
    one("write", MIB, 8),
    ...[32, 1].map((depth) => one("read", 4 * KIB, depth)),
    one("read", 128 * KIB, 8),
    one("mixed", 4 * KIB, 32),
  ];
}

/** Fits into the page cache, on both sides and for all who are measured at once. */
export function spanBytes(isQuick: boolean): number {
  return (isQuick ? 64 : 256) * MIB;
}

export function rounds(isQuick: boolean): number {
  return isQuick ? 1 : 2;
}
