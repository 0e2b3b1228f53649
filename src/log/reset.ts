// Forgetting everything, durably: old entries can never be taken for new ones, nor for evidence.
//
//   1. every entry area is overwritten with zeros, and synced;
//   2. the fresh half gets its header, the other files get that of a half that is not in use; synced.
//
// A crash after a part of it leaves holes in the old chain, whose evidence may be gone: an owner that resets
// has another source for the data (the image that it adopts), and resets again if it was interrupted.

import { LOG_ENTRIES_OFFSET } from "../../assembly/format.ts";
import type { LogCopies, LogCopy } from "./copies.ts";
import { LogHalf } from "./half.ts";
import { UNUSED } from "./half_header.ts";
import type { Generation, LogPosition } from "./types.ts";

const PIECE_BYTES = 1024 * 1024;

export async function resetFiles(
  copies: LogCopies,
  number: number,
  position: LogPosition,
  generation: Generation,
): Promise<LogHalf> {
  const zeros = new Uint8Array(PIECE_BYTES);
  for (const copy of copies.current) {
    for (let slot = 0; slot < copy.disks.length; slot += 1) await zeroFile(copies, copy, slot, zeros);
  }
  await copies.syncAll();
  const half = new LogHalf(number, position);
  const startSequence = position.sequence + 1;
  const use = { number, startSequence, startChain: position.chain, generation };
  for (const copy of copies.current) {
    for (let slot = 0; slot < copy.disks.length; slot += 1) {
      const buffer = copies.encodeHeader(copy, slot, slot === half.slot ? use : UNUSED);
      if (copy.state === "current") await copies.write(copy, slot, [{ kind: "write", offset: 0, buffer }]);
    }
  }
  await copies.syncAll();
  half.isHeaderWritten = true;
  return half;
}

async function zeroFile(copies: LogCopies, copy: LogCopy, slot: number, zeros: Uint8Array): Promise<void> {
  let offset = LOG_ENTRIES_OFFSET;
  while (offset < copies.halfBytes && copy.state === "current") {
    const buffer = zeros.subarray(0, Math.min(zeros.length, copies.halfBytes - offset));
    await copies.write(copy, slot, [{ kind: "write", offset, buffer }]);
    offset += buffer.length;
  }
}
