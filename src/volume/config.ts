// What a volume is made of, and the sizes that follow from it.
import {
  BLOCK_BYTES,
  DATA_UNITS_MAX,
  LEAF_FANOUT,
  LOG_HALF_COUNT,
  MEMBERS_MAX,
  PARITY_UNITS_MAX,
  SECTOR_BYTES,
} from "../../assembly/format.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { HALF_BYTES_MIN } from "../log/create.ts";
import { segmentCountFor, tailOffset } from "./members.ts";

export interface VolumeConfig {
  readonly name: string;
  /** A multiple of 4096. */
  readonly sizeBytes: number;
  /** Paths of files or block devices, 1 to 24. */
  readonly members: readonly string[];
  /** Parity units a row, 0 to 3. */
  readonly parity: number;
  /** Data units a row, 1 to 15; default members - parity. Fewer leave spares. */
  readonly dataUnits?: number;
  /** Of each member. Default: defaultMemberBytes. */
  readonly memberBytes?: number;
  /** Path prefixes, one for each copy of the log, 1 to 4. */
  readonly log: readonly string[];
  /** Of each copy, all halves together. */
  readonly logBytes: number;
  /** A dirty volume makes a CP after so long. Default 10,000. */
  readonly cpIntervalMs?: number;
  /** So many bytes in changed blocks make a CP, however small the part of the log is that they take. Default: none. */
  readonly cpDirtyBytes?: number;
  /** Memory for entries on their way. Default 8 MiB. */
  readonly ringBytes?: number;
  /** Memory for map nodes. Default 16 MiB. */
  readonly cacheBytes?: number;
  /** Rows of a segment; default chosen by the members' size. */
  readonly segmentStripes?: number;
}

export const RING_BYTES = 8 * 1024 * 1024;
export const CACHE_BYTES = 16 * 1024 * 1024;
export const CP_INTERVAL_MS = 10_000;
const LOG_COPIES_MAX = 4;
const LOG_HALF_BYTES_MIN = Math.ceil(HALF_BYTES_MIN / BLOCK_BYTES) * BLOCK_BYTES;
const SEGMENT_STRIPES_MIN = 32;
const SEGMENT_STRIPES_MAX = 4096;
const SEGMENTS_WANTED = 256;
const SEGMENTS_MIN = 8;

export interface Geometry {
  readonly dataUnits: number;
  readonly parityUnits: number;
  readonly sizeBlocks: number;
  readonly memberBytes: number;
  readonly segmentStripes: number;
  readonly segmentCount: number;
  readonly vvbnCount: number;
  readonly logHalfBytes: number;
}

/** Checks the configuration and derives the sizes; throws ERR_CONFIG naming what is wrong. */
export function geometryOf(config: VolumeConfig): Geometry {
  const dataUnits = config.dataUnits ?? config.members.length - config.parity;
  check(
    config,
    config.sizeBytes >= BLOCK_BYTES && config.sizeBytes % BLOCK_BYTES === 0,
    "size must be a multiple of 4096",
  );
  check(
    config,
    config.members.length >= 1 && config.members.length <= MEMBERS_MAX,
    `1 to ${MEMBERS_MAX} members`,
  );
  check(
    config,
    Number.isInteger(config.parity) && config.parity >= 0 && config.parity <= PARITY_UNITS_MAX,
    "parity is 0 to 3",
  );
  check(
    config,
    Number.isInteger(dataUnits) && dataUnits >= 1 && dataUnits <= DATA_UNITS_MAX,
    "1 to 15 data units",
  );
  check(config, dataUnits + config.parity <= config.members.length, "more units in a row than members");
  check(
    config,
    config.log.length >= 1 && config.log.length <= LOG_COPIES_MAX,
    `1 to ${LOG_COPIES_MAX} log copies`,
  );
  const logHalfBytes = Math.floor(config.logBytes / LOG_HALF_COUNT / BLOCK_BYTES) * BLOCK_BYTES;
  const logMin = `the log needs ${LOG_HALF_BYTES_MIN * LOG_HALF_COUNT} bytes a copy or more`;
  check(config, logHalfBytes >= LOG_HALF_BYTES_MIN, logMin);
  const memberBytes =
    Math.floor((config.memberBytes ?? defaultMemberBytes(config)) / BLOCK_BYTES) * BLOCK_BYTES;
  const segmentStripes = config.segmentStripes ?? segmentStripesFor(memberBytes);
  const segmentCount = segmentCountFor(memberBytes, segmentStripes);
  check(config, segmentCount >= SEGMENTS_MIN, `the members are too small (${memberBytes} bytes)`);
  const vvbnCount = 2 * segmentCount * segmentStripes * Math.max(dataUnits, config.members.length);
  const sizeBlocks = config.sizeBytes / BLOCK_BYTES;
  return {
    dataUnits,
    parityUnits: config.parity,
    sizeBlocks,
    memberBytes,
    segmentStripes,
    segmentCount,
    vvbnCount,
    logHalfBytes,
  };
}

/**
 * Room on each member for the full volume, its maps, the reserve (two worst-case CPs and some segments) and a fifth
 * on top for the cleaner to work in.
 */
function defaultMemberBytes(config: VolumeConfig): number {
  const dataUnits = config.dataUnits ?? config.members.length - config.parity;
  const blocks = Math.ceil(config.sizeBytes / BLOCK_BYTES);
  const logHalf = Math.floor(config.logBytes / LOG_HALF_COUNT);
  const cpBlocks = Math.min(blocks, Math.ceil(logHalf / (BLOCK_BYTES + SECTOR_BYTES)));
  const cpNodes =
    Math.min(cpBlocks, Math.ceil(blocks / LEAF_FANOUT)) + Math.min(3 * cpBlocks, Math.ceil(blocks / 128));
  const needed = blocks * 1.03 + 2 * (cpBlocks + cpNodes);
  const stripes = Math.ceil((needed * 1.2) / dataUnits) + 8 * SEGMENT_STRIPES_MIN;
  const segmentStripes = segmentStripesFor(stripes * BLOCK_BYTES);
  return Math.ceil(stripes / segmentStripes + 6) * segmentStripes * BLOCK_BYTES + 1024 * 1024;
}

function segmentStripesFor(memberBytes: number): number {
  let stripes = SEGMENT_STRIPES_MIN;
  while (
    stripes < SEGMENT_STRIPES_MAX &&
    tailOffset(memberBytes) / (stripes * BLOCK_BYTES) > 2 * SEGMENTS_WANTED
  )
    stripes *= 2;
  return stripes;
}

/** Blocks that one CP can change at most, by the size of a log half. */
export function cpBlocksMax(logHalfBytes: number): number {
  return Math.ceil(logHalfBytes / (BLOCK_BYTES + SECTOR_BYTES));
}

function check(config: VolumeConfig, condition: boolean, message: string): void {
  if (!condition) throw new MirrorvolError("ERR_CONFIG", `volume "${config.name}": ${message}`);
}
