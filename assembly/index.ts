// What the module exports: pure functions over offsets into the imported memory. See layout.ts for the low
// region that they use, and src/kernel/kernel.ts for the typed side.

export { hash64, hash128, hashRun, initialize } from "./checksum";
export { checkEntryHeader, checkEntryPayload, encodeEntry } from "./entry";
export { encodeParity } from "./parity";
export { reconstruct } from "./reconstruct";
export { isZero } from "./scan";
export { streamBegin, streamBlocks, streamEnd } from "./stream";
