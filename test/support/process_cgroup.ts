// A memory limit for one process and its children, by a control group of either version. What is over the limit is
// first taken from the page cache; a process that needs more than that is killed by the kernel.
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = "/sys/fs/cgroup";
const LOOK_MS = 20;
const TRIES = 100;

interface Layout {
  readonly parent: string;
  readonly limitFile: string;
  readonly peakFile: string;
}

/** Below the group that we are in, so that whatever limits us stays in force. */
function findLayout(): Layout | null {
  const groups = readFileSync("/proc/self/cgroup", "utf8").split("\n");
  const own = groups.map((line) => /^\d+:memory:(.*)$/.exec(line)?.[1]).find((path) => path !== undefined);
  if (own !== undefined) {
    const mount = join(ROOT, "memory");
    const parent = existsSync(join(mount, own)) ? join(mount, own) : mount;
    return { parent, limitFile: "memory.limit_in_bytes", peakFile: "memory.max_usage_in_bytes" };
  }
  // Version 2 keeps groups with processes apart from groups with groups: ours is one of the topmost.
  const isUnified = existsSync(join(ROOT, "cgroup.subtree_control"));
  return isUnified ? { parent: ROOT, limitFile: "memory.max", peakFile: "memory.peak" } : null;
}

/** Why this machine cannot do it, or null. */
export function cgroupObstacle(): string | null {
  if (process.platform !== "linux") return "needs Linux's control groups";
  try {
    new ProcessCgroup(1 << 30).remove();
    return null;
  } catch (error) {
    return `needs a writable memory control group: ${(error as Error).message}`;
  }
}

export class ProcessCgroup {
  readonly #folder: string;
  readonly #peakFile: string;

  constructor(bytesMax: number) {
    const layout = findLayout();
    if (layout === null) throw new Error("there is none");
    this.#folder = join(layout.parent, `mirrorvol-test-${process.pid}`);
    this.#peakFile = layout.peakFile;
    mkdirSync(this.#folder);
    try {
      writeFileSync(join(this.#folder, layout.limitFile), String(bytesMax));
    } catch (error) {
      this.remove();
      throw error;
    }
    process.once("exit", this.#abandon);
  }

  /** What a node is to be run under. */
  get command(): string[] {
    return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', this.#folder];
  }

  /** Page cache included; null where the kernel does not say. */
  get peakBytes(): number | null {
    const file = join(this.#folder, this.#peakFile);
    return existsSync(file) ? Number(readFileSync(file, "utf8")) : null;
  }

  /** Nobody may be in it any more. */
  remove(): void {
    process.off("exit", this.#abandon);
    rmdirSync(this.#folder);
  }

  /** The kernel may take a moment to see that a killed process has left. */
  async close(): Promise<void> {
    for (
      let left = TRIES;
      left > 0 && readFileSync(join(this.#folder, "cgroup.procs"), "utf8") !== "";
      left--
    ) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    this.remove();
  }

  readonly #abandon = () => {
    try {
      rmdirSync(this.#folder);
    } catch {
      // The process in it is being killed just now; an empty group costs nothing.
    }
  };
}
