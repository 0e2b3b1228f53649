// The low region of the memory, reserved to the kernels. The arena begins above it (ARENA_OFFSET).
//
//   offset  bytes  what
//   0       192    the default secret of XXH3, written once by `initialize`
//   192     64     XXH3's eight accumulators, between two calls of one digest
//   256     16     the result of a digest
//   512     72     unit table that the host fills: k data pointers, then m parity pointers (u32)
//   640     64     working table of `reconstruct`: data pointers, or the walks of recover.ts
//   704     12     working table of `reconstruct`: the units that it writes
//   720     12     working table of `reconstruct`: the parity that it reads
//   736     12     the factors of `solve`
//   4096    4096   the zero page: reads as zeros for ever
//   8192    65536  staging, for data that lies outside this memory
//
// Nothing here is static data: instantiating the module writes nothing, so workers may share the memory
// (each would then need a low region of its own, which is why every address is derived from here).

export const SECRET_OFFSET = 0;
export const ACCUMULATORS_OFFSET = 192;
export const RESULT_OFFSET = 256;
export const UNITS_OFFSET = 512;
export const WORK_UNITS_OFFSET = 640;
export const WORK_OUTPUTS_OFFSET = 704;
export const WORK_PARITY_OFFSET = 720;
export const FACTORS_OFFSET = 736;
export const ZERO_PAGE_OFFSET = 4096;
export const ZERO_PAGE_BYTES = 4096;
export const STAGING_OFFSET = 8192;
export const STAGING_BYTES = 65536;
export const ARENA_OFFSET = 73728;

// What a broken promise is called; `fail` takes these to the host.
export const PROMISE_PARITY_SHAPE = 1;
export const PROMISE_PARITY_BYTES = 2;
export const PROMISE_LOST_COUNT = 3;
export const PROMISE_ENTRY_SIZE = 4;
export const PROMISE_ENTRY_OVERLAP = 5;
export const PROMISE_DIGEST_PIECE = 6;
