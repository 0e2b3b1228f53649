// Where results are kept, and a folder for a benchmark's files that is gone when it ends.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectRoot } from "../../test/support/sources.ts";

export const resultsFolder = join(projectRoot, "bench", "results");

export class BenchFolder {
  readonly path = mkdtempSync(join(tmpdir(), "mirrorvol-bench-"));
  readonly #remove = () => rmSync(this.path, { recursive: true, force: true });

  constructor() {
    process.once("exit", this.#remove);
  }

  at(name: string): string {
    return join(this.path, name);
  }

  close(): void {
    process.off("exit", this.#remove);
    this.#remove();
  }
}

export async function withFolder<T>(work: (folder: BenchFolder) => Promise<T>): Promise<T> {
  const folder = new BenchFolder();
  try {
    return await work(folder);
  } finally {
    folder.close();
  }
}
