// The clients of a small world, and what they were told. They write wherever they are served; each write has a
// version of its own, and each block shows which version it holds.
//
// What must hold whatever happens:
//   - in one generation only one machine acknowledges;
//   - the first source acknowledges nothing after the promotion, unless it goes on alone and has recorded that;
//   - a block never holds a version older than the newest that was acknowledged, or read, before.
// Alone means that the record "alone since P" was durable when the client was told: this is the RPO ledger's share.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import { assert } from "../support/harness.ts";
import type { Machine, OrdersWorld } from "./orders_world.ts";

export const LBAS = 4;

export interface Write {
  readonly version: number;
  readonly lba: number;
  readonly machine: Machine;
  isAcknowledged: boolean;
  /** It was acknowledged without the mirror. */
  isAlone: boolean;
  /** Its machine still runs, and it has not been answered. */
  isWaiting: boolean;
}

export class Clients {
  writes: Write[] = [];
  /** Versions that blocks hold for certain, from before. */
  base = new Array<number>(LBAS).fill(0);
  readonly problems: string[] = [];
  /** Machines by the generation in which they acknowledged. */
  readonly #acknowledging = new Map<string, Machine>();
  readonly #world: OrdersWorld;
  #version = 0;
  #promotedAt: number | null = null;

  /** `past`: the clients of another world that this one was forked from, while nothing was under way. */
  constructor(world: OrdersWorld, past?: Clients) {
    this.#world = world;
    if (past === undefined) return;
    this.#version = past.#version;
    this.base = past.newest;
  }

  /** The version of each block that was written last. */
  get newest(): number[] {
    return this.base.map((version, lba) => {
      const versions = this.writes.filter((write) => write.lba === lba).map((write) => write.version);
      return Math.max(version, ...versions);
    });
  }

  /** The writes of what is over count no more. */
  begin(base: number[]): void {
    this.base = base;
    this.writes = [];
  }

  write(machine: Machine): void {
    const version = ++this.#version;
    const lba = version % LBAS;
    const write: Write = { version, lba, machine, isAcknowledged: false, isAlone: false, isWaiting: true };
    this.writes.push(write);
    const { volume } = machine;
    const done = () => this.#acknowledged(write, volume);
    volume.write(lba * BLOCK_BYTES, blockOf(lba, version)).then(done, () => (write.isWaiting = false));
  }

  crashed(machine: Machine): void {
    for (const write of this.writes) if (write.machine === machine) write.isWaiting = false;
  }

  /** From now on the first source is not to acknowledge anything as if its mirror had it. */
  promoted(): void {
    this.#promotedAt = this.writes.length;
  }

  /** What the promoted mirror may hold of the first source's writes. */
  get beforePromotion(): readonly Write[] {
    return this.writes.slice(0, this.#promotedAt ?? this.writes.length);
  }

  get isAnyWaiting(): boolean {
    return this.writes.some((write) => write.isWaiting && write.machine.isUp);
  }

  /** Reads every block: none is older than the newest of `floor`, each is of `allowed` or as it was before. */
  async check(machine: Machine, allowed: readonly Write[], floor: readonly Write[]): Promise<number[]> {
    const found: number[] = [];
    for (let lba = 0; lba < LBAS; lba++) {
      const version = versionOf(lba, await this.#read(machine, lba));
      const versions = (writes: readonly Write[]) =>
        writes.filter((write) => write.lba === lba).map((write) => write.version);
      const least = Math.max(this.base[lba]!, ...versions(floor));
      const isKnown = version === this.base[lba] || versions(allowed).includes(version);
      const text = `${machine.name}: block ${lba} holds version ${version}, at least ${least} was acknowledged`;
      assert.ok(version >= least && isKnown, `${text}; possible are ${versions(allowed)}`);
      found.push(version);
    }
    return found;
  }

  #read(machine: Machine, lba: number): Promise<Uint8Array> {
    return this.#world.finish("a read", machine.volume.read(lba * BLOCK_BYTES, BLOCK_BYTES));
  }

  #acknowledged(write: Write, volume: Machine["volume"]): void {
    const { machine, version } = write;
    write.isAcknowledged = true;
    write.isWaiting = false;
    write.isAlone = volume.persisted.aloneSince !== null;
    const { number, id } = volume.generation;
    const key = `${number}:${id}`;
    const other = this.#acknowledging.get(key) ?? machine;
    this.#acknowledging.set(key, machine);
    if (other !== machine) this.problems.push(`both machines acknowledged in generation ${number}`);
    if (this.#promotedAt === null || machine !== this.#world.a) return;
    const isAllowed = write.isAlone && this.#world.policy === "continue";
    if (!isAllowed) this.problems.push(`version ${version}: the old source acknowledged after the promotion`);
  }
}

const FACTOR = 0x9e3779b1;

/** The version stands in every word, each time in another way. */
function blockOf(lba: number, version: number): Uint8Array {
  const words = new Uint32Array(BLOCK_BYTES / 4);
  if (version > 0)
    for (let i = 0; i < words.length; i++) words[i] = version ^ Math.imul(lba * 1024 + i, FACTOR);
  return new Uint8Array(words.buffer);
}

function versionOf(lba: number, block: Uint8Array): number {
  const words = new Uint32Array(block.buffer, block.byteOffset, block.length / 4);
  const version = words.every((word) => word === 0) ? 0 : (words[0]! ^ Math.imul(lba * 1024, FACTOR)) >>> 0;
  const expected = new Uint32Array(blockOf(lba, version).buffer);
  const isWhole = words.every((word, i) => word === expected[i]);
  assert.ok(isWhole, `block ${lba} holds what nobody wrote`);
  return version;
}
