// Every magic, size, offset and flag of disk and wire, for both worlds: AssemblyScript compiles this file,
// TypeScript imports it. Literals stay at or below 0x7fffffff, offsets are derived from earlier offsets,
// all integers are little endian, reserved bytes are zero.

export const FORMAT_VERSION = 1;

/** A logical block, a stripe unit and a map node, bytes. */
export const BLOCK_BYTES = 4096;
/** What a disk writes at once; what a crash may tear, bytes. */
export const SECTOR_BYTES = 512;
/** A content hash (XXH3-128), bytes. */
export const HASH_BYTES = 16;
/** An identity of a volume, a member, a generation's owner, bytes. */
export const ID_BYTES = 16;

// ---------------------------------------------------------------------------------------------------------
// Log entry: the same bytes in the arena, in the log file, on the wire and in the mirror's file.
// 80 bytes of header, then the payload (whole blocks). In a log file an entry starts on a sector.
export const ENTRY_MAGIC = 0x4c56524d; // "MRVL"
export const ENTRY_HEADER_CHECKSUM = 0; // u64, XXH3-64 of the header's bytes 8..80
export const ENTRY_PAYLOAD_CHECKSUM = 8; // u64, XXH3-64 of the payload
export const ENTRY_PREVIOUS = 16; // u64, the predecessor's header checksum: the chain
export const ENTRY_SEQUENCE = 24; // u64, dense
export const ENTRY_DURABLE_THROUGH = 32; // u64, highest sequence synced by the writer when this was encoded
export const ENTRY_GENERATION_ID = 40; // u64, random
export const ENTRY_LBA = 48; // u64; in a seal: the cp number
export const ENTRY_GENERATION = 56; // u32
export const ENTRY_BLOCK_COUNT = 60; // u32
export const ENTRY_PAYLOAD_BYTES = 64; // u32
export const ENTRY_KIND = 68; // u8
export const ENTRY_VERSION = 69; // u8
export const ENTRY_FLAGS = 70; // u16
export const ENTRY_MAGIC_AT = 72; // u32
export const ENTRY_MIRROR_LAG = 76; // u32, how many of those entries the mirror was not known to have synced
export const ENTRY_HEADER_BYTES = 80;
export const ENTRY_PAYLOAD_MAX = 0x100000; // 1 MiB

export const ENTRY_KIND_WRITE = 1;
export const ENTRY_KIND_TRIM = 2; // also write zeroes: the extent reads as zeros
export const ENTRY_KIND_SEAL = 3; // ends a half; lba is the cp number

export const ENTRY_FAULT_MAGIC = 1;
export const ENTRY_FAULT_VERSION = 2;
export const ENTRY_FAULT_HEADER_CHECKSUM = 4;
export const ENTRY_FAULT_PAYLOAD_CHECKSUM = 5;
export const ENTRY_FAULT_SIZE = 6; // kind, block count and payload size do not fit together

// ---------------------------------------------------------------------------------------------------------
// Log half: a file of fixed size; the first block is its header, entries follow from LOG_ENTRIES_OFFSET.
export const HALF_MAGIC = 0x4856524d; // "MRVH"
export const HALF_CHECKSUM = 0; // u64, XXH3-64 of the header's bytes 8..HALF_HEADER_BYTES
export const HALF_MAGIC_AT = 8; // u32
export const HALF_VERSION = 12; // u32
export const HALF_VOLUME_ID = 16; // 16 bytes
export const HALF_NUMBER = 32; // u64, counts the halves ever used
export const HALF_START_SEQUENCE = 40; // u64, of the first entry; 0 in a half that is not in use
export const HALF_START_CHAIN = 48; // u64, header checksum of the entry before it
export const HALF_GENERATION_ID = 56; // u64
export const HALF_GENERATION = 64; // u32
export const HALF_COPY = 68; // u16, which copy this file belongs to
export const HALF_COPY_COUNT = 70; // u16
export const HALF_SLOT = 72; // u16, which of the files of the copy
export const HALF_SLOT_COUNT = 74; // u16
export const HALF_ZERO = 76; // u32
export const HALF_FILE_BYTES = 80; // u64, size of this file, the same for all
export const HALF_RESERVED = 88; // zero to the end of the header
export const HALF_HEADER_BYTES = 512;
export const LOG_ENTRIES_OFFSET = 4096;
export const LOG_HALF_COUNT = 4;

// ---------------------------------------------------------------------------------------------------------
// RAID: pvbn = stripe * PVBN_STRIDE + member slot + 1 (0 names no block). Stripe 0 starts at the member's data offset.
export const PVBN_STRIDE = 32;
export const DATA_UNITS_MAX = 15;
export const PARITY_UNITS_MAX = 3;
export const MEMBERS_MAX = 24;

// ---------------------------------------------------------------------------------------------------------
// Block map (lba -> vvbn): leaf pointers of 32 bytes, inner pointers of 64. vvbn 0 is a hole.
export const LEAF_FANOUT = 128;
export const LEAF_POINTER_BYTES = 32;
export const INNER_FANOUT = 64;
export const INNER_POINTER_BYTES = 64;
export const POINTER_VVBN = 0; // u64
export const POINTER_BIRTH = 8; // u64, cp
export const POINTER_LOGICAL = 16; // hash of the content, or of the children's logical hashes
export const POINTER_STORED = 32; // inner only: hash of the stored node
// Container map (vvbn -> pvbn): leaves of 8-byte pvbns (0 is free), inner pointers of 32 bytes.
export const CONTAINER_LEAF_FANOUT = 512;
export const CONTAINER_FANOUT = 128;
export const CONTAINER_POINTER_BYTES = 32;
export const CONTAINER_POINTER_PVBN = 0; // u64
export const CONTAINER_POINTER_STORED = 8; // hash
// Free list: a chain of nodes. The superblock points to its head with an inner pointer (vvbn and stored hash only).
export const FREE_LIST_ENTRY_BYTES = 32; // vvbn u64, birth cp (7 bytes), level + 1 (u8), stored hash
export const FREE_LIST_HEADER_BYTES = 64; // next vvbn u64, next stored hash, count u32, magic u32
export const FREE_LIST_MAGIC = 0x4656524d; // "MRVF"
export const FREE_LIST_ENTRIES = 126;

// ---------------------------------------------------------------------------------------------------------
// Run summary: the last blocks of a run. Each part: a header, then records for the run's blocks in order.
export const SUMMARY_MAGIC = 0x5356524d; // "MRVS"
export const SUMMARY_CHECKSUM = 0; // u64, XXH3-64 of the block's bytes 8..4096
export const SUMMARY_MAGIC_AT = 8; // u32
export const SUMMARY_VERSION = 12; // u32
export const SUMMARY_FIRST_STRIPE = 16; // u64
export const SUMMARY_COMMIT = 24; // u64
export const SUMMARY_ROWS = 32; // u32
export const SUMMARY_BLOCKS = 36; // u32, described blocks in the whole run (the summary itself not counted)
export const SUMMARY_PART = 40; // u32, which part this is
export const SUMMARY_PARTS = 44; // u32
export const SUMMARY_VOLUME_ID = 48; // 16 bytes
export const SUMMARY_HEADER_BYTES = 64;
export const SUMMARY_RECORD_BYTES = 32; // kind u8, level u8, zero u16, zero u32, id u64, hash
export const SUMMARY_RECORDS = 126;
export const RECORD_KIND_DATA = 1; // id is the vvbn
export const RECORD_KIND_MAP = 2; // a block-map node; id is the vvbn
export const RECORD_KIND_FREE_LIST = 3; // id is the vvbn
export const RECORD_KIND_CONTAINER = 4; // a container node of `level`; id is its index

// ---------------------------------------------------------------------------------------------------------
// Member: superblocks (2 slots), segment table (2 slots a page), stripes, superblocks (2 slots) at the end.
export const SUPERBLOCK_BYTES = 8192;
export const SUPERBLOCK_SLOTS = 2;
export const SEGMENT_TABLE_OFFSET = 16384;
export const SUPERBLOCK_MAGIC = 0x4256524d; // "MRVB"
export const SEGMENT_PAGE_MAGIC = 0x5456524d; // "MRVT"
export const SEGMENT_PAGE_HEADER_BYTES = 64; // checksum, magic, version, page, count, commit, volume id
export const SEGMENT_ENTRY_BYTES = 32; // live u32, written u32, members u32, k u8, m u8, state u8, zero
export const SEGMENT_PAGE_ENTRIES = 126;
