// CP data: what a consistency point changed, above RAID: logical block numbers and content hashes, never vvbns,
// members, stripes or parity. The source makes it from its dirty index, the mirror receives it.
import type { LogPosition } from "../log/types.ts";

export interface TrimExtent {
  readonly lba: number;
  readonly count: number;
}

export interface CpData {
  readonly cp: number;
  /** The seal entry that ends what belongs to the CP. */
  readonly seal: LogPosition;
  /** The first entry that belongs to it. */
  readonly firstSequence: number;
  /** Changed blocks. */
  readonly count: number;
  /** Ascending. */
  readonly lbas: Float64Array;
  /** Four words a block: XXH3-128 of the content; zero for a block of zeros. */
  readonly hashes: Uint32Array;
  /** Ascending, disjoint; applied before the blocks. */
  readonly trims: readonly TrimExtent[];
}
