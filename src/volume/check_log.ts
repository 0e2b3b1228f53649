// The log against the image: what a replay would apply must fit. Behind the position that the image includes come the
// entries of the next CPs: each seal has the number that is next, each extent lies within the volume, each entry is
// of a generation of this volume's history, within the entries of that generation.
import { ENTRY_KIND_SEAL } from "../../assembly/format.ts";
import type { Storage } from "../io/disk.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { checkLog, type LogCheckResult } from "../log/check.ts";
import type { Findings } from "../log/findings.ts";
import type { EntryView } from "../log/types.ts";
import type { Superblock } from "./superblock.ts";

interface Wrong {
  readonly expected: string;
  readonly found: string;
}

export async function checkVolumeLog(
  storage: Storage,
  kernel: Kernel,
  prefixes: readonly string[],
  superblock: Superblock,
  findings: Findings,
): Promise<LogCheckResult> {
  const { appliedSequence, appliedChain, history, volumeId, logCopies, logHalfBytes } = superblock;
  const { role, inSync } = superblock;
  const newest = history[history.length - 1]!;
  const replay = new ReplayCheck(superblock);
  const result = await checkLog(
    {
      kernel,
      storage,
      prefixes,
      volumeId,
      trustedCopies: logCopies,
      halfBytes: logHalfBytes,
      applied: { sequence: appliedSequence, chain: appliedChain },
      generation: { number: newest.number, id: newest.id },
      isMirror: role === "mirror",
      // A mirror that is catching up was interrupted at any point of it; its source has what it lacks.
      mayLack: role === "mirror" && !inSync,
      onEntry: (entry) => replay.check(entry),
    },
    findings,
  );
  if (role === "source" && result.tail !== null && newest.startSequence > result.tail) {
    findings.fault({
      path: null,
      offset: null,
      structure: `generation ${newest.number}`,
      expected: `the log through entry ${newest.startSequence}, where it begins`,
      found: `its end at entry ${result.tail}`,
    });
  }
  return result;
}

class ReplayCheck {
  readonly #superblock: Superblock;
  #nextCp: number;

  constructor(superblock: Superblock) {
    this.#superblock = superblock;
    this.#nextCp = superblock.cp + 1;
  }

  check(entry: EntryView): Wrong | null {
    return this.#checkGeneration(entry) ?? this.#checkContent(entry);
  }

  #checkContent({ kind, lba, blockCount }: EntryView): Wrong | null {
    if (kind === ENTRY_KIND_SEAL) {
      const expected = this.#nextCp++;
      return lba === expected ? null : { expected: `the seal of CP ${expected}`, found: `that of CP ${lba}` };
    }
    const { sizeBlocks } = this.#superblock;
    if (lba + blockCount <= sizeBlocks) return null;
    return { expected: `blocks below ${sizeBlocks}`, found: `blocks ${lba} to ${lba + blockCount - 1}` };
  }

  #checkGeneration({ sequence, generation, generationId }: EntryView): Wrong | null {
    const { history } = this.#superblock;
    // Older generations than the oldest that is kept cannot be compared.
    if (generation < history[0]!.number) return null;
    const at = history.findIndex(({ number, id }) => number === generation && id === generationId);
    if (at < 0) {
      const found = `generation ${generation} with id ${generationId.toString(16)}`;
      return { expected: "a generation of this volume", found };
    }
    const first = history[at]!.startSequence + 1;
    const last = history[at + 1]?.startSequence ?? Number.POSITIVE_INFINITY;
    if (first <= sequence && sequence <= last) return null;
    return {
      expected: `generation ${generation} in its entries ${first} to ${last}`,
      found: `entry ${sequence}`,
    };
  }
}
