// What the demonstration shows: steps, progress, checks, and the table at the end.
import type { VolumeReport } from "./demo_pair.ts";

export class Screen {
  readonly losses: string[] = [];
  /** All that was to be shown has been shown. */
  isDone = false;
  readonly #start = performance.now();
  readonly #failed: string[] = [];
  readonly #states = new Map<string, string>();
  #checkCount = 0;
  #rootsCompared = 0;
  #rootsDifferent = 0;

  constructor() {
    // Whoever reads along may stop (`| head`): that must not end us before we have cleaned up.
    process.stdout.on("error", () => {});
  }

  step(title: string): void {
    const seconds = (performance.now() - this.#start) / 1000;
    console.log(`\n[${seconds.toFixed(1).padStart(5)} s] ${title}`);
  }

  say(text: string): void {
    console.log(`          ${text}`);
  }

  /** Said when it changes. */
  state(what: string, state: string): void {
    if (this.#states.get(what) === state) return;
    this.#states.set(what, state);
    this.say(`${what}: ${state}`);
  }

  progress(
    elapsedMs: number,
    writes: number,
    bytes: number,
    source: VolumeReport,
    mirror: VolumeReport,
  ): void {
    const rate = Math.round(writes / (elapsedMs / 1000)).toLocaleString("en-US");
    const amount = `${(bytes / 1024 ** 2).toFixed(0)} MiB in ${writes.toLocaleString("en-US")} writes`;
    const cps = `CP ${source.cp} on the source, ${mirror.cp} on the mirror`;
    this.say(`${amount} acknowledged (${rate}/s); ${cps}; ${source.mirror?.state ?? "no mirror"}`);
  }

  /** Whenever both sides happen to be at the same consistency point, their images must have the same hash. */
  compareRoots(source: VolumeReport, mirror: VolumeReport): void {
    if (source.cp !== mirror.cp) return;
    this.#rootsCompared++;
    if (source.rootHash !== mirror.rootHash) this.#rootsDifferent++;
  }

  checkRoots(): void {
    const looks = `${this.#rootsCompared} of these looks found both at the same consistency point`;
    this.check(`${looks}, with the same root hash`, this.#rootsDifferent === 0);
  }

  check(what: string, isHeld: boolean): void {
    this.#checkCount++;
    if (!isHeld) this.#failed.push(what);
    this.say(`${isHeld ? "held:  " : "FAILED:"} ${what}`);
  }

  table(rows: readonly (readonly [name: string, value: string])[]): void {
    const width = Math.max(...rows.map(([name]) => name.length)) + 2;
    console.log("");
    for (const [name, value] of rows) console.log(`  ${name.padEnd(width)}${value}`);
  }

  /** The exit code. */
  verdict(): number {
    const count = this.#failed.length;
    const text =
      count === 0 ? `All ${this.#checkCount} checks held.` : `${count} of ${this.#checkCount} checks FAILED.`;
    console.log(`\n${text}`);
    return count === 0 ? 0 : 1;
  }
}
