// Packages that may be missing: a native one has no build for every runtime and machine.

import type { Recorder } from "../support/rows.ts";

export async function tryImport<T>(name: string, recorder: Recorder): Promise<T | null> {
  try {
    const module = (await import(name)) as T & { default?: T };
    return module.default ?? module;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message.split("\n")[0];
    recorder.skip(name, `it cannot be loaded (${code})`);
    return null;
  }
}
