// The end of a history: the faults stop, every machine comes back, and everything is proved.
//
// In a recoverable history every volume must serve again within two minutes of its own time, whatever clients wait
// for must end, and a pair must be in sync again, unless its mirror was promoted. Then every sector of every side that
// serves is read, a write and a CP are made, both sides must have the same root hash at the same CP and the same
// chain in their logs, and the image is read. Last, the source crashes and the mirror is promoted, and its every
// sector is read too.
//
// In one history of three, each volume whose disks were never at fault is checked as it lies there after one more power
// failure: superblocks, maps, reference counts, parity, checksums and log must be sound (volume/check.ts).
//
// In an unlimited history a volume may have stopped, but must say why; what still serves is read all the same.

import { describeFinding } from "../../src/log/findings.ts";
import type { CheckReport } from "../../src/volume/check.ts";
import type { Machine } from "./machine.ts";
import type { Pair, Side } from "./side.ts";
import type { Stage } from "./stage.ts";
import { crashMachine } from "./steps.ts";
import type { Choices } from "./tape.ts";

const PATIENCE_US = 120_000_000;
const BLOCK_SECTORS = 8;
/** So many histories end with a check of what lies on the disks. */
const SOUND_ONE_IN = 3;

export class Ending {
  readonly #stage: Stage;
  readonly #plan: Choices;

  constructor(stage: Stage, plan: Choices) {
    this.#stage = stage;
    this.#plan = plan;
  }

  async run(): Promise<void> {
    const stage = this.#stage;
    stage.stopPromoting();
    this.#heal();
    const areOpen = () => stage.machines.every((machine) => this.#isSettled(machine));
    await this.#until(areOpen, "every volume is opened, or says why not");
    if (stage.isRecoverable) this.#expectOpened();
    for (const pair of stage.pairs) if (stage.failure === null) await this.#endPair(pair);
    if (stage.failure === null && this.#plan.below(SOUND_ONE_IN) === 0) await this.#proveSound();
  }

  #heal(): void {
    const { network, machines } = this.#stage;
    network.heal();
    for (const machine of machines) {
      machine.disks.heal();
      if (!machine.isUp) machine.start();
    }
  }

  /** A machine that was being stopped is started again. */
  #isSettled(machine: Machine): boolean {
    if (!machine.isUp) machine.start();
    return !machine.isStopping && [...machine.running.values()].every(({ isSettled }) => isSettled);
  }

  #expectOpened(): void {
    for (const { name, running } of this.#stage.machines) {
      for (const { failure, hosted } of running.values()) {
        if (failure)
          this.#stage.fail(`${hosted.config.name} on ${name} cannot be opened: ${String(failure)}`);
      }
    }
  }

  async #endPair(pair: Pair): Promise<void> {
    const stage = this.#stage;
    const isQuiet = () => pair.sides.every(({ promotion }) => promotion !== "under way");
    await this.#until(isQuiet, `no promotion of ${pair.name} is under way`);
    stage.look();
    const isPromoted = pair.sides.length > 1 && pair.sides[1]!.model !== null;
    if (isPromoted) await this.#untilNoticed(pair);
    else if (pair.target !== null) await this.#untilInSync(pair);
    const newest = isPromoted ? pair.sides[1]! : pair.sides[0]!;
    for (const side of pair.sides) {
      if (stage.failure === null) await this.#proveServing(side, stage.isRecoverable && side === newest);
    }
    const isPaired = pair.target !== null && !isPromoted;
    if (stage.failure === null && stage.isRecoverable && isPaired) await this.#proveEqual(pair);
  }

  async #untilInSync(pair: Pair): Promise<void> {
    const [source] = pair.sides;
    const isInSync = () => source!.running?.isMirrorComplete === true && this.#stage.open.size === 0;
    await this.#until(isInSync, `${pair.name} is in sync`, this.#stage.isRecoverable);
    const { entries } = source!.running?.relationship?.status().ledger ?? { entries: 0 };
    if (isInSync() && entries > 0)
      this.#stage.fail(`${pair.name} is in sync, and its ledger has ${entries} entries`);
    this.#stage.look();
  }

  /** Reads all of it, when it serves; when it must serve, something is written as well. */
  async #proveServing(side: Side, mustServe: boolean): Promise<void> {
    const stage = this.#stage;
    const { volume, model } = side;
    if (model === null || volume === null) return;
    const { state, reason } = volume.status();
    if (state !== "serving") {
      if (mustServe) stage.fail(`${side.config.name} on ${side.machine.name} is ${state}: ${reason}`);
      return;
    }
    if (mustServe) stage.write(side, 0, BLOCK_SECTORS, undefined);
    if (mustServe) await this.#idle(`the last write of ${side.config.name}`);
    for (let first = 0; first < model.sectors; first += 64 * BLOCK_SECTORS) {
      stage.read(side, first, Math.min(64 * BLOCK_SECTORS, model.sectors - first));
    }
    await this.#idle(`the last reads of ${side.config.name}`);
  }

  async #proveEqual(pair: Pair): Promise<void> {
    const stage = this.#stage;
    const [source, mirror] = pair.sides as [Side, Side];
    stage.consistencyPoint(source);
    await this.#idle("the last consistency point");
    const isEqual = () => mirror.volume!.cp === source.volume!.cp && source.running!.isMirrorComplete;
    await this.#until(isEqual, `${pair.name} has the same CP on both sides`);
    if (stage.failure !== null) return;
    const [ours, theirs] = [hex(source.volume!.rootHash), hex(mirror.volume!.rootHash)];
    if (ours !== theirs)
      return stage.fail(`${pair.name}: CP ${source.volume!.cp} has root ${ours} and ${theirs}`);
    const [one, other] = [source.volume!.position, mirror.volume!.position];
    if (one.sequence !== other.sequence || one.chain !== other.chain) {
      return stage.fail(
        `${pair.name}: the logs end at ${one.sequence} and ${other.sequence}, or differ there`,
      );
    }
    // Nothing is dirty now: this reads the image.
    await this.#proveServing(source, false);
    if (stage.pairs.length === 1) await this.#proveFailover(pair, source, mirror);
  }

  async #proveFailover(pair: Pair, source: Side, mirror: Side): Promise<void> {
    const stage = this.#stage;
    stage.look();
    crashMachine(stage, this.#plan, source.machine);
    stage.promoteSoon(pair, mirror);
    await this.#until(() => mirror.model !== null, `${pair.name} is promoted`);
    if (stage.failure === null) await this.#proveServing(mirror, true);
  }

  /** The power fails once more; then each volume whose disks were never at fault is checked as it lies there. */
  async #proveSound(): Promise<void> {
    const stage = this.#stage;
    for (const machine of stage.machines) crashMachine(stage, this.#plan, machine);
    for (const side of stage.pairs.flatMap(({ sides }) => sides)) {
      if (side.isTouched || stage.failure !== null) continue;
      let report: CheckReport | null = null;
      void side.machine.check(side.config).then(
        (done) => void (report = done),
        (error) => stage.fail(`the check of ${side.config.name} on ${side.machine.name}: ${String(error)}`),
      );
      await this.#until(() => report !== null, `${side.config.name} on ${side.machine.name} is checked`);
      const { faults } = report ?? { faults: [] };
      const found = faults.slice(0, 3).map(describeFinding).join("; ");
      if (faults.length > 0) stage.fail(`${side.config.name} on ${side.machine.name} is not sound: ${found}`);
      else stage.met("checked after a crash");
    }
  }

  /** The old source meets the promoted mirror: it must learn that it is old, or both that they went apart. */
  async #untilNoticed(pair: Pair): Promise<void> {
    const [source] = pair.sides;
    const isNoticed = () => {
      const { volume, running } = source!;
      const isStopped = volume !== null && volume.status().state !== "serving";
      return isStopped || running?.relationship?.status().state === "diverged";
    };
    await this.#until(isNoticed, `the old source of ${pair.name} has noticed`, this.#stage.isRecoverable);
  }

  #idle(what: string): Promise<void> {
    return this.#until(() => this.#stage.open.size === 0, `${what} ended`, this.#stage.isRecoverable);
  }

  /** Lets the world run until it is so. */
  async #until(isSo: () => boolean, what: string, isRequired = true): Promise<void> {
    const stage = this.#stage;
    const endUs = stage.timeline.nowUs + PATIENCE_US;
    while (stage.failure === null && !isSo()) {
      if (await stage.timeline.step(endUs)) continue;
      // The last step may have made it so, or given whoever asks a reason to set something going.
      if (isSo() || (await stage.timeline.step(endUs))) continue;
      if (isRequired)
        stage.fail(`not so within ${PATIENCE_US / 1e6} s of its time: ${what}${stage.describe()}`);
      return;
    }
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
