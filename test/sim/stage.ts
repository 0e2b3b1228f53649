// Machines, pairs of volumes on them, and clients: what a history plays with, and what it checks all the time.
//
// A *side* is one copy of a volume on one machine. It has a model as long as it has the right to serve: the source
// from the start, the mirror from its promotion on. Checked at once, whatever happens:
//
//   - a read gives what the model of its side allows;
//   - an operation fails only with an error that the faults explain;
//   - no two machines acknowledge in one generation;
//   - whoever is served by a side reads and writes a volume that says it is the source.

import { MirrorvolError } from "../../src/kernel/errors.ts";
import type { Volume, WriteMode } from "../../src/volume/volume.ts";
import type { Situation } from "./coverage.ts";
import type { Machine, Running } from "./machine.ts";
import { fill, SECTOR_BYTES, type Write } from "./model.ts";
import type { Pair, Side } from "./side.ts";
import { Sightings } from "./sightings.ts";
import type { SimNetwork } from "./sim_network.ts";
import type { Life, Timeline } from "./timeline.ts";

/** A client's operation that has not ended. */
export interface Operation {
  readonly kind: "read" | "write" | "other";
  readonly side: Side;
  readonly life: Life;
  readonly write: Write | null;
  readonly abort: AbortController;
  readonly what: string;
  isCancelled: boolean;
}

export interface StageOptions {
  readonly timeline: Timeline;
  readonly network: SimNetwork;
  readonly machines: readonly Machine[];
  readonly pairs: readonly Pair[];
  /** A good copy of everything always survives, so nothing may be unreadable and nothing may stop for good. */
  readonly isRecoverable: boolean;
}

/** What a side may answer to anybody, whatever the faults. */
const ALWAYS_EXPLAINED = new Set([
  "ERR_FENCED",
  "ERR_CLOSED",
  "ERR_MIRROR_LOST",
  "ERR_IN_DOUBT",
  "ERR_TIMEOUT",
  "ERR_DIVERGED",
  "ERR_DEMOTED",
  "ERR_NOT_A_SOURCE",
]);
const RETRY_US = 200_000;
const LABEL_PROMOTE = 41;

export class Stage {
  readonly timeline: Timeline;
  readonly network: SimNetwork;
  readonly machines: readonly Machine[];
  readonly pairs: readonly Pair[];
  readonly isRecoverable: boolean;
  readonly situations = new Set<Situation>();
  readonly sightings: Sightings;
  readonly open = new Set<Operation>();
  /** The first thing that was wrong. */
  failure: string | null = null;
  acknowledged = 0;
  operations = 0;
  #ids = 0;
  #attempt = 0;
  /** Who acknowledged in a generation. */
  readonly #generations = new Map<string, Side>();

  constructor(options: StageOptions) {
    this.timeline = options.timeline;
    this.network = options.network;
    this.machines = options.machines;
    this.pairs = options.pairs;
    this.isRecoverable = options.isRecoverable;
    this.sightings = new Sightings(this);
    this.network.onSecondSession = () => this.met("second session beside the first");
  }

  fail(text: string): void {
    this.failure ??= text;
  }

  met(situation: Situation): void {
    this.situations.add(situation);
  }

  /** Writes sectors [first, first + count). */
  write(side: Side, first: number, count: number, mode: WriteMode | undefined): void {
    const { volume, model } = side;
    if (volume === null || model === null) return;
    const id = ++this.#ids;
    const data = new Uint8Array(count * SECTOR_BYTES);
    fill(data, first, id);
    const isWeak = mode !== undefined && mode !== "sync";
    const write = model.begin(first, count, { id, isWeak }, this.timeline.nowUs);
    const operation = this.#begin(
      "write",
      side,
      write,
      `write ${id} of sectors ${first} to ${first + count - 1}`,
    );
    const options = { signal: operation.abort.signal, ...(mode ? { mode } : {}) };
    const done = volume.write(first * SECTOR_BYTES, data, options);
    this.#watchWrite(operation, done, first, count, mode);
  }

  /** Whole blocks only, so that trim and zero mean the same. */
  clear(side: Side, first: number, count: number, how: "trim" | "zero"): void {
    const { volume, model } = side;
    if (volume === null || model === null) return;
    const write = model.begin(first, count, { id: ++this.#ids, isZero: true }, this.timeline.nowUs);
    const operation = this.#begin("write", side, write, `${how} ${write.id} of ${count} sectors at ${first}`);
    const { signal } = operation.abort;
    const done = volume[how](first * SECTOR_BYTES, count * SECTOR_BYTES, { signal });
    this.#watchWrite(operation, done, first, count, undefined);
  }

  read(side: Side, first: number, count: number): void {
    const { volume, model } = side;
    if (volume === null || model === null) return;
    const read = model.beginRead(first, count, this.timeline.nowUs);
    const operation = this.#begin("read", side, null, `read of sectors ${first} to ${first + count - 1}`);
    const { signal } = operation.abort;
    volume.read(first * SECTOR_BYTES, count * SECTOR_BYTES, { signal }).then(
      (bytes) => {
        if (!this.#end(operation)) return;
        const wrong = model.observe(read, bytes, this.#isSafe(side, undefined));
        if (wrong !== null) this.fail(`${this.#where(side)}: a read is wrong: ${wrong}`);
      },
      (error) => this.#failed(operation, error),
    );
  }

  flush(side: Side): void {
    if (side.volume === null || side.model === null) return;
    const operation = this.#begin("other", side, null, "flush");
    side.volume.flush({ signal: operation.abort.signal }).then(
      () => void this.#end(operation),
      (error) => this.#failed(operation, error),
    );
  }

  consistencyPoint(side: Side): void {
    if (side.volume === null || side.model === null) return;
    const operation = this.#begin("other", side, null, "consistency point");
    side.volume.consistencyPoint({ signal: operation.abort.signal }).then(
      () => void this.#end(operation),
      (error) => this.#failed(operation, error),
    );
  }

  cancel(operation: Operation): void {
    operation.isCancelled = true;
    operation.abort.abort();
    if (operation.kind === "write") this.met("write cancelled");
  }

  /** The promoted volume's model begins with what the mirror must have. */
  promote(pair: Pair, side: Side, isForced: boolean): void {
    const { running, machine } = side;
    const { service } = machine;
    if (side.model !== null || running?.volume == null || service === null) return;
    if (side.promotion === "under way") return;
    const { life } = machine;
    side.promotion = "under way";
    side.promotionLife = life;
    this.sightings.promotionBegins(side);
    service.promote(side.config.name, { force: isForced }).then(
      () => {
        if (machine.life !== life) return;
        this.met(isForced ? "promoted by force" : "promoted");
        this.noticePromotion(pair, side, isForced);
      },
      (error) => {
        if (machine.life !== life) return;
        side.promotion = "none";
        this.met("promotion refused");
        const allowed = this.isRecoverable ? PROMOTION_REFUSALS : null;
        this.#expectCode(error, `promotion of ${this.#where(side)}`, allowed);
      },
    );
  }

  /** Promotes it, as soon as its machine has noticed that the source is gone. */
  promoteSoon(pair: Pair, side: Side, attempt = this.#attempt): void {
    const { life } = side.machine;
    if (life === null || side.model !== null || attempt !== this.#attempt) return;
    this.promote(pair, side, false);
    this.timeline.after(RETRY_US, life, LABEL_PROMOTE, () => this.promoteSoon(pair, side, attempt));
  }

  /** Nobody tries any more what was begun before. */
  stopPromoting(): void {
    this.#attempt += 1;
  }

  /** Also when a machine comes back as a source whose promotion had not been reported. */
  noticePromotion(pair: Pair, side: Side, isForced: boolean): void {
    if (side.model !== null || side.volume?.role !== "source") return;
    const other = pair.sides.find((each) => each !== side)!;
    side.promotion = "done";
    this.sightings.promoted(side);
    side.model = other.model!.promoted(isForced);
  }

  /** Nothing of that life answers any more. */
  lifeEnded(life: Life): void {
    for (const side of this.pairs.flatMap(({ sides }) => sides)) {
      if (side.promotion === "under way" && side.promotionLife === life) side.promotion = "none";
    }
    for (const operation of [...this.open]) {
      if (operation.life !== life) continue;
      this.open.delete(operation);
      this.#doubt(operation);
    }
    for (const operation of this.#cancelled) {
      if (operation.life === life) this.#doubt(operation);
    }
    this.#cancelled = this.#cancelled.filter((operation) => operation.life !== life);
  }

  /** Where every volume stands, for a person. */
  describe(): string {
    const lines = this.pairs.flatMap((pair) =>
      pair.sides.map((side) => {
        const { running, volume } = side;
        const what = volume === null ? String(running?.failure ?? "not open") : describeVolume(volume);
        return `\n  ${this.#where(side)}: ${what}${describeRelation(running)}`;
      }),
    );
    const waiting = [...this.open].map(({ side, what }) => `\n  waits: ${this.#where(side)}: ${what}`);
    return [...lines, ...waiting].join("");
  }

  /** To be called now and then: what can be seen from outside. */
  look(): void {
    for (const pair of this.pairs) {
      for (const side of pair.sides) {
        const { running, model } = side;
        if (running?.volume == null) continue;
        if (model === null) {
          if (running.volume.role === "source") this.noticePromotion(pair, side, false);
        } else if (running.isMirrorComplete) model.everythingIsSafe();
      }
      this.sightings.look(pair);
    }
  }

  #cancelled: Operation[] = [];

  #begin(kind: Operation["kind"], side: Side, write: Write | null, what: string): Operation {
    const life = side.machine.life!;
    const abort = new AbortController();
    const operation: Operation = { kind, side, life, write, abort, what, isCancelled: false };
    this.operations += 1;
    this.timeline.say(`  ${this.#where(side)}: ${what}`);
    this.open.add(operation);
    return operation;
  }

  /** False: it was ended by a crash before. */
  #end(operation: Operation): boolean {
    return this.open.delete(operation);
  }

  #watchWrite(
    operation: Operation,
    done: Promise<void>,
    first: number,
    count: number,
    mode: WriteMode | undefined,
  ): void {
    const { side } = operation;
    const model = side.model!;
    done.then(
      () => {
        if (!this.#end(operation)) return;
        this.acknowledged += 1;
        this.timeline.say(`  write ${operation.write!.id} is acknowledged`);
        model.acknowledge(operation.write!, first, count, this.timeline.nowUs, this.#isSafe(side, mode));
        this.#noteGeneration(side);
        this.sightings.acknowledged(side);
      },
      (error) => {
        this.#failed(operation, error);
      },
    );
  }

  #failed(operation: Operation, error: unknown): void {
    if (!this.#end(operation)) return;
    this.timeline.say(`  ${operation.what} failed: ${String(error)}`);
    // The engine may still be at what was cancelled.
    if (operation.isCancelled) this.#cancelled.push(operation);
    else this.#doubt(operation);
    if (operation.isCancelled) return;
    const { side } = operation;
    const allowed = this.isRecoverable ? ALWAYS_EXPLAINED : null;
    this.#expectCode(error, `${this.#where(side)}: ${operation.what}`, allowed);
    if ((error as MirrorvolError).code === "ERR_UNRECOVERABLE") this.met("unrecoverable read refused");
  }

  #doubt(operation: Operation): void {
    if (operation.write === null) return;
    operation.side.model?.doubt(operation.write, this.timeline.nowUs);
    this.met("write in doubt");
  }

  /** Null allows every error that has a code and says something; an assertion never. */
  #expectCode(error: unknown, what: string, allowed: ReadonlySet<string> | null): void {
    const code = error instanceof MirrorvolError ? error.code : null;
    if (code === null || code === "ERR_ASSERTION") {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return this.fail(`${what}: failed with what is no answer: ${text}`);
    }
    if (allowed !== null && !allowed.has(code)) this.fail(`${what}: ${code}: ${(error as Error).message}`);
  }

  /** Whatever is acknowledged now, the mirror has. */
  #isSafe(side: Side, mode: WriteMode | undefined): boolean {
    const { running } = side;
    if (running?.relationship == null) return true;
    const { state, aloneSince } = running.relationship.status();
    const target = running.hosted.target!;
    return state === "in sync" && aloneSince === null && (mode ?? target.mode) === "sync";
  }

  #noteGeneration(side: Side): void {
    const { volume } = side;
    if (volume === null) return;
    const { number, id } = volume.generation;
    const key = `${side.config.name} ${number}:${id}`;
    const other = this.#generations.get(key);
    if (other === undefined) this.#generations.set(key, side);
    else if (other !== side) {
      const both = `${other.machine.name} and ${side.machine.name}`;
      this.fail(`${side.config.name}: ${both} acknowledge in generation ${number}`);
    }
  }

  #where(side: Side): string {
    return `${side.config.name} on ${side.machine.name}`;
  }
}

function describeVolume(volume: Volume): string {
  const { role, state, reason, cp, sequence, generation } = volume.status();
  return `${role}, ${state}${reason ? ` (${reason})` : ""}, generation ${generation}, entry ${sequence}, CP ${cp}`;
}

function describeRelation(running: Running | null): string {
  if (running?.relationship == null) return "";
  const { state, detail, acknowledgedSequence, aloneSince } = running.relationship.status();
  return `; mirror ${state} (${detail}), at ${acknowledgedSequence}, alone since ${aloneSince}`;
}

const PROMOTION_REFUSALS = new Set([
  "ERR_SOURCE_CONNECTED",
  "ERR_NOT_A_MIRROR",
  "ERR_FENCED",
  "ERR_NEVER_IN_SYNC",
  "ERR_NOT_IN_SYNC",
  "ERR_CLOSED",
  "ERR_LOG_CLOSED",
]);
