// Sizes, offsets and kinds of what travels between a source and its mirror, beside the log entries themselves.
// The rules of format.ts hold here too: little endian, literals at or below 0x7fffffff, reserved bytes zero.
//
// A WebSocket message is either one or more whole log entries, back to back (format.ts), or one frame:
//
//     0        8      12  13  14     16         20          24             32
//     checksum magic  ver kind flags bodyBytes  generation  generationId   body ...
//
// The checksum (XXH3-64) covers everything behind it, body included, as an entry's does with its header.

export const WIRE_VERSION = 1;

export const FRAME_MAGIC = 0x4657524d; // "MRWF"
export const FRAME_CHECKSUM = 0; // u64, XXH3-64 of bytes 8 to the end
export const FRAME_MAGIC_AT = 8; // u32
export const FRAME_VERSION = 12; // u8
export const FRAME_KIND = 13; // u8
export const FRAME_FLAGS = 14; // u16, reserved
export const FRAME_BODY_BYTES = 16; // u32
export const FRAME_GENERATION = 20; // u32, 0 before the proof
export const FRAME_GENERATION_ID = 24; // u64, 0 before the proof
export const FRAME_HEADER_BYTES = 32;
/** 64 blocks, or their hashes, and the rest of a frame, bytes. */
export const FRAME_BODY_MAX = 0x48000;

// Who sends what: S the source, M the mirror.
export const FRAME_KIND_HELLO = 1; // S: which volume, a nonce
export const FRAME_KIND_CHALLENGE = 2; // M: a nonce
export const FRAME_KIND_PROOF = 3; // S, then M: HMAC
export const FRAME_KIND_SOURCE_STATE = 4; // S: identity, history, position
export const FRAME_KIND_MIRROR_STATE = 5; // M: the same, and what it knows about the source
export const FRAME_KIND_REFUSE = 6; // S, M: a code, a text, a history; then the connection is closed
export const FRAME_KIND_NOTICE = 7; // M: why it is slow
export const FRAME_KIND_PING = 8; // S, M
export const FRAME_KIND_CHAIN_REQUEST = 9; // S: the chain at a sequence?
export const FRAME_KIND_CHAIN = 10; // M
export const FRAME_KIND_ADOPT = 11; // S: send what you have after a position
export const FRAME_KIND_ADOPTED = 12; // M: that was all
export const FRAME_KIND_FORWARD = 13; // S: entries follow from here
export const FRAME_KIND_ACK = 14; // M: received, durable
export const FRAME_KIND_SYNC = 15; // S: the mirror has caught up
export const FRAME_KIND_SYNCED = 16; // M: it is recorded
export const FRAME_KIND_IMAGE = 17; // S: an image round begins
export const FRAME_KIND_IMAGE_DONE = 18; // M: committed or mismatch
export const FRAME_KIND_CHILDREN_REQUEST = 19; // M: the children of map nodes
export const FRAME_KIND_CHILDREN = 20; // S
export const FRAME_KIND_BLOCKS_REQUEST = 21; // M: blocks of an image
export const FRAME_KIND_BLOCKS = 22; // S
export const FRAME_KIND_CP_BEGIN = 23; // S: CP data follow
export const FRAME_KIND_CP_BLOCKS = 24; // S: lba and content hash, 24 bytes each
export const FRAME_KIND_CP_TRIMS = 25; // S: extents
export const FRAME_KIND_CP_END = 26; // S: the root hash that must result
export const FRAME_KIND_CP_OWN = 27; // S: no CP data any more: make it from your own index
export const FRAME_KIND_CP_ACK = 28; // M: committed, mismatch or failed
export const FRAME_KIND_CP_COMMITTED = 29; // S: both sides have it

/** One changed block in CP data: lba u64, content hash. */
export const CP_BLOCK_LBA = 0;
export const CP_BLOCK_HASH = 8;
export const CP_BLOCK_BYTES = 24;
/** One trimmed extent in CP data: lba u64, count u64. */
export const CP_TRIM_BYTES = 16;
/** Changed blocks, or extents, in one piece of CP data. */
export const CP_PIECE_COUNT_MAX = 4096;
/** Map nodes, or blocks, asked for at once. */
export const NODES_PER_REQUEST_MAX = 64;
export const BLOCKS_PER_REQUEST_MAX = 64;

export const NONCE_BYTES = 32;
export const PROOF_BYTES = 32;
export const VOLUME_NAME_BYTES_MAX = 255;
export const CODE_BYTES_MAX = 40;
export const TEXT_BYTES_MAX = 500;
export const GENERATIONS_MAX = 64;
export const SEALS_MAX = 16;
/** How long a side may be silent, ms: what a source may ask of its mirror. */
export const TIMEOUT_MS_MIN = 50;
export const TIMEOUT_MS_MAX = 3600000;
