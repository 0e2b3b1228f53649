// Where things are: this project, and a folder for a benchmark's files that is gone when it ends.

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** From the sources as well as from dist/. */
export const projectFolder = findProject(dirname(fileURLToPath(import.meta.url)));
export const resultsFolder = join(projectFolder, "bench", "results");

function findProject(from: string): string {
  return existsSync(join(from, "package.json")) ? from : findProject(dirname(from));
}

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
