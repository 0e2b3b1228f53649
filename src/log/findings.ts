// What a check finds: where, in which structure, what should be there, what is. A fault is damage, or something that
// contradicts something else. A warning is what a crash, a lost device or an operator may leave behind, and what the
// next opening deals with by itself: the volume is consistent all the same.
//
// A trashed device has a finding in every block, so only the first FINDINGS_MAX of each kind are kept; all are counted.

export interface Finding {
  /** The file; null when it is about the volume as a whole. */
  readonly path: string | null;
  /** In bytes; null when it is about the whole file. */
  readonly offset: number | null;
  readonly structure: string;
  readonly expected: string;
  readonly found: string;
}

const FINDINGS_MAX = 1000;

export class Findings {
  readonly faults: Finding[] = [];
  readonly warnings: Finding[] = [];
  /** With those that are not kept. */
  faultCount = 0;
  warningCount = 0;

  fault(finding: Finding): void {
    this.faultCount += 1;
    if (this.faults.length < FINDINGS_MAX) this.faults.push(finding);
  }

  warn(finding: Finding): void {
    this.warningCount += 1;
    if (this.warnings.length < FINDINGS_MAX) this.warnings.push(finding);
  }
}

/** "path @offset: structure: expected this, found that". */
export function describeFinding({ path, offset, structure, expected, found }: Finding): string {
  const at = offset === null ? "" : ` @${offset}`;
  const where = path === null ? "" : `${path}${at}: `;
  return `${where}${structure}: expected ${expected}, found ${found}`;
}
