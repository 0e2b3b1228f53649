// Packages that may be missing: a native one has no build for every runtime and machine. They are CommonJS, some of
// them nothing but a binary, which only require takes.

import { createRequire } from "node:module";
import type { Recorder } from "../support/rows.ts";

const require = createRequire(import.meta.url);

export function tryRequire<T>(name: string, recorder: Recorder): T | null {
  try {
    return require(name) as T;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message.split("\n")[0];
    recorder.skip(name, `it cannot be loaded (${code})`);
    return null;
  }
}
