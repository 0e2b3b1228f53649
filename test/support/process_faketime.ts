// A wall clock of its own for a real node, by libfaketime: it can be years off, and jump while the node runs. The
// monotonic clock stays as it is: no real one ever jumps.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOTS = ["/usr/lib", "/usr/local/lib"];
const LIBRARY = join("faketime", "libfaketime.so.1");

function findLibrary(): string | null {
  const folders = ROOTS.filter((root) => existsSync(root)).flatMap((root) => [
    root,
    ...readdirSync(root).map((name) => join(root, name)),
  ]);
  return folders.map((folder) => join(folder, LIBRARY)).find((path) => existsSync(path)) ?? null;
}

/** Why this machine cannot do it, or null. */
export function faketimeObstacle(): string | null {
  if (findLibrary() === null) return "needs libfaketime (Debian: faketime)";
  const environment = {
    ...process.env,
    LD_PRELOAD: findLibrary()!,
    FAKETIME: "-30y",
    DONT_FAKE_MONOTONIC: "1",
  };
  const { stdout } = spawnSync("date", ["+%Y"], { env: environment, encoding: "utf8" });
  return Number(stdout) < 2010 ? null : "libfaketime has no effect here";
}

export class ProcessClock {
  readonly #file: string;

  /** In a folder of the caller's. */
  constructor(folder: string, offset: string) {
    this.#file = join(folder, "clock");
    this.jump(offset);
  }

  /** From the real time, such as "-10y" or "+36h". A running node sees it at once. */
  jump(offset: string): void {
    // Never half a file: the clock is read at any time.
    writeFileSync(`${this.#file}.new`, `${offset}\n`);
    renameSync(`${this.#file}.new`, this.#file);
  }

  /** What a node is to be run under. */
  get command(): string[] {
    const settings = {
      LD_PRELOAD: findLibrary()!,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      DONT_FAKE_MONOTONIC: "1",
    };
    return ["env", ...Object.entries(settings).map(([name, value]) => `${name}=${value}`)];
  }
}
