// What the tests of the replication share: a source and a mirror, real volumes with different geometries on
// simulated storage, over a simulated network and one clock that only the test moves.

import { BLOCK_BYTES, LOG_HALF_COUNT } from "../../assembly/format.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { MirrorService } from "../../src/replication/mirror.ts";
import type { MirrorTarget } from "../../src/replication/source.ts";
import { SourceRelationship } from "../../src/replication/source.ts";
import { Volume, type VolumeConfig } from "../../src/volume/volume.ts";
import { assert } from "../support/harness.ts";
import { pooledKernel } from "../support/kernel_pool.ts";
import { ManualClock, settle } from "../support/manual_clock.ts";
import { MemoryNetwork } from "../support/memory_network.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { memoryWorld } from "../support/test_world.ts";
import { content, expectBytes } from "../volume/fixture.ts";

export const BLOCKS = 1024;
export const TIMEOUT_MS = 1000;
const HALF_BYTES = 1024 * 1024 + 8192;
const ADDRESS = "mirror:8750";

const shared = {
  name: "orders",
  sizeBytes: BLOCKS * BLOCK_BYTES,
  logBytes: LOG_HALF_COUNT * HALF_BYTES,
  ringBytes: 3 * 1024 * 1024,
  cacheBytes: 1024 * 1024,
  segmentStripes: 32,
};
const SOURCE: VolumeConfig = {
  ...shared,
  members: ["a", "b", "c", "d"],
  parity: 1,
  memberBytes: 10 * 1024 * 1024,
  log: ["log0", "log1"],
};
/** Another number of members, another parity, one log copy. */
const MIRROR: VolumeConfig = {
  ...shared,
  members: ["x", "y", "z", "u", "v"],
  parity: 2,
  memberBytes: 10 * 1024 * 1024,
  log: ["log"],
};

export interface PairOptions {
  readonly target?: Partial<MirrorTarget>;
  readonly sourceSecret?: Uint8Array | null;
  readonly mirrorSecret?: Uint8Array | null;
  readonly writeTimeoutMs?: number;
  readonly mirror?: Partial<VolumeConfig>;
  readonly source?: Partial<VolumeConfig>;
}

const newKernel = () => pooledKernel(24 * 1024 * 1024);

/** One side: its storage outlives what runs on it. */
class Side {
  storage = new MemoryStorage();
  volume!: Volume;
  kernel!: Kernel;
  events: string[] = [];
}

export class Pair {
  readonly clock = new ManualClock();
  readonly network = new MemoryNetwork();
  readonly source = new Side();
  readonly mirror = new Side();
  relationship!: SourceRelationship;
  service!: MirrorService;
  options: PairOptions;
  /** What the mirror's service sees instead of its volume: a place for faults. */
  wrapMirror: (volume: Volume) => Volume = (volume) => volume;
  #listener: { close(): Promise<void> } | null = null;
  #seed = 1;

  /** Both sides created, neither opened. */
  static async create(options: PairOptions = {}): Promise<Pair> {
    const pair = new Pair(options);
    await Volume.create(pair.world(pair.source.storage), newKernel(), pair.sourceConfig, "source");
    await Volume.create(pair.world(pair.mirror.storage), newKernel(), pair.mirrorConfig, "mirror");
    return pair;
  }

  /** What two crashed sides left behind. */
  static of(source: MemoryStorage, mirror: MemoryStorage, options: PairOptions = {}): Pair {
    const pair = new Pair(options);
    // Other random numbers than those that made the two sides.
    pair.#seed = 1000;
    pair.source.storage = source;
    pair.mirror.storage = mirror;
    return pair;
  }

  /** Both sides opened, and in sync. */
  static async inSync(options: PairOptions = {}): Promise<Pair> {
    const pair = await Pair.create(options);
    await pair.openMirror();
    await pair.openSource();
    await pair.untilInSync();
    return pair;
  }

  private constructor(options: PairOptions) {
    this.options = options;
  }

  get sourceConfig(): VolumeConfig {
    return { ...SOURCE, ...this.options.source };
  }

  get mirrorConfig(): VolumeConfig {
    return { ...MIRROR, ...this.options.mirror };
  }

  world(storage: MemoryStorage) {
    return memoryWorld({ seed: this.#seed++, storage, network: this.network, clock: this.clock });
  }

  async openSource(): Promise<void> {
    const { source, options } = this;
    const world = this.world(source.storage);
    source.kernel = newKernel();
    const { writeTimeoutMs = 60_000 } = options;
    source.volume = await Volume.open(world, source.kernel, this.sourceConfig, {
      hasMirror: true,
      writeTimeoutMs,
    });
    this.startRelationship(world);
  }

  startRelationship(world = this.world(this.source.storage)): void {
    const { source, options } = this;
    const target: MirrorTarget = {
      url: `ws://${ADDRESS}`,
      mode: "sync",
      onMirrorLoss: "stop",
      mirrorTimeoutMs: TIMEOUT_MS,
      ...options.target,
    };
    this.relationship = new SourceRelationship({
      world,
      kernel: source.kernel,
      volume: source.volume,
      target,
      secret: options.sourceSecret ?? null,
      onEvent: (text) => source.events.push(text),
    });
    this.relationship.start();
  }

  async openMirror(): Promise<void> {
    const { mirror, options } = this;
    const world = this.world(mirror.storage);
    mirror.kernel = newKernel();
    mirror.volume = await Volume.open(world, mirror.kernel, this.mirrorConfig, {});
    const volume = this.wrapMirror(mirror.volume);
    this.service = new MirrorService({
      world,
      kernel: mirror.kernel,
      volumes: { find: (name) => (name === volume.name ? volume : undefined) },
      secret: options.mirrorSecret ?? null,
      onEvent: (text) => mirror.events.push(text),
    });
    const { service } = this;
    this.#listener = await world.transport.listen(ADDRESS, (connection) => service.accept(connection));
  }

  async closeSource(): Promise<void> {
    await this.relationship.close();
    await this.source.volume.close();
  }

  async closeMirror(): Promise<void> {
    await this.#listener?.close();
    await this.service.close();
    await this.mirror.volume.close();
  }

  /** Power fails: what was not synced is there or not, drawn from the seed. */
  async crashSource(seed: number | "drop" | "keep" = "drop"): Promise<void> {
    this.source.storage.stop();
    this.cut();
    // It may wait for a disk that never answers.
    void this.relationship.close();
    this.source.storage = this.source.storage.afterCrash(seed);
  }

  async crashMirror(seed: number | "drop" | "keep" = "drop"): Promise<void> {
    this.mirror.storage.stop();
    await this.#listener?.close();
    this.cut();
    this.mirror.storage = this.mirror.storage.afterCrash(seed);
  }

  cut(): void {
    this.network.cutAll("cable pulled");
  }

  /** Nobody hears anybody, and nobody is told. */
  loseAll(): void {
    for (const link of this.network.links) link.lose();
  }

  get state(): string {
    return this.relationship.status().state;
  }

  /** Turns of the program, and if they do not help, some time. */
  async until(what: string, condition: () => boolean, withinMs = 20_000): Promise<void> {
    const endMs = this.clock.nowMs() + withinMs;
    for (;;) {
      for (let turn = 0; turn < 20; turn++) {
        if (condition()) return;
        await settle();
      }
      if (this.clock.nowMs() >= endMs)
        throw new Error(`${what}: not within ${withinMs} ms\n${this.describe()}`);
      await this.clock.advance(10);
    }
  }

  untilInSync(): Promise<void> {
    return this.until("in sync", () => this.state === "in sync");
  }

  /** Both have made the same consistency points. */
  async untilEqual(): Promise<void> {
    const { source, mirror } = this;
    await this.until("the same cp", () => mirror.volume.cp === source.volume.cp);
    assert.equal(mirror.volume.rootHash, source.volume.rootHash, "root hashes");
  }

  describe(): string {
    const side = (name: string, { volume, events }: Side) =>
      `${name}: cp ${volume?.cp}, ${JSON.stringify(volume?.position, bigints)}\n  ${events.join("\n  ")}`;
    const status = JSON.stringify(this.relationship?.status());
    return `${status}\n${side("source", this.source)}\n${side("mirror", this.mirror)}`;
  }

  async write(lba: number, version: number, count = 1): Promise<void> {
    const data = new Uint8Array(count * BLOCK_BYTES);
    for (let i = 0; i < count; i++) data.set(content(lba + i, version), i * BLOCK_BYTES);
    const done = this.source.volume.write(lba * BLOCK_BYTES, data);
    await this.waitFor("a write", done);
  }

  /** Waits for a promise; time passes if it must. */
  async waitFor<T>(what: string, promise: Promise<T>): Promise<T> {
    let isDone = false;
    const done = promise.finally(() => {
      isDone = true;
    });
    done.catch(() => {});
    await this.until(what, () => isDone);
    return done;
  }

  async consistencyPoint(): Promise<number> {
    return this.waitFor("a consistency point", this.source.volume.consistencyPoint());
  }

  async expect(volume: Volume, lba: number, version: number): Promise<void> {
    const block = await this.waitFor("a read", volume.read(lba * BLOCK_BYTES, BLOCK_BYTES));
    const expected = version === 0 ? new Uint8Array(BLOCK_BYTES) : content(lba, version);
    expectBytes(block, expected, lba * BLOCK_BYTES);
  }

  async close(): Promise<void> {
    await this.closeSource();
    await this.closeMirror();
  }
}

/** The same volume, with some of its methods replaced. */
export function override(volume: Volume, changes: Partial<Volume>): Volume {
  return new Proxy(volume, {
    get(target, name) {
      const value = Reflect.get(Reflect.has(changes, name) ? changes : target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
    set: (target, name, value) => Reflect.set(target, name, value, target),
  });
}

function bigints(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}n` : value;
}

/** The source's disks are an old copy of themselves, and its mirror refuses it. Blocks 0 to 7 have version 7 there. */
export async function sourcePutBack(options: PairOptions = {}): Promise<Pair> {
  const pair = await Pair.inSync(options);
  await pair.write(1, 1);
  const old = pair.source.storage.ifPowerFailedNow("keep");
  for (let round = 0; round < 6; round++) {
    for (let lba = 0; lba < 8; lba++) await pair.write(lba, round + 2);
    await pair.consistencyPoint();
    await pair.untilEqual();
  }
  await pair.crashSource();
  pair.source.storage = old;
  await pair.openSource();
  await pair.until("refused", () => pair.relationship.status().detail.includes("ERR_SOURCE_LOST_ENTRIES"));
  return pair;
}
