// A folder for an example's files: the one named on the command line, kept, or a temporary one, removed.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export interface Folder {
  readonly path: string;
  /** Removes a temporary folder; leaves a named one. */
  remove(): void;
}

export function useFolder(named: string | undefined, what: string): Folder {
  if (named !== undefined) {
    const path = resolve(named);
    mkdirSync(path, { recursive: true });
    return { path, remove: () => {} };
  }
  const path = mkdtempSync(join(tmpdir(), `mirrorvol-${what}-`));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
