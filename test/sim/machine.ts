// A simulated machine: disks that stay, and a program on it that lives until it crashes or is stopped. The program
// is what a node runs: volumes, the relationship of each source with its mirror, a mirror service that listens.

import type { Storage } from "../../src/io/disk.ts";
import { nodeAuthenticator } from "../../src/io/node_world.ts";
import type { World } from "../../src/io/world.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { MirrorService } from "../../src/replication/mirror.ts";
import { type MirrorTarget, SourceRelationship } from "../../src/replication/source.ts";
import { type CheckReport, checkVolume } from "../../src/volume/check.ts";
import { Volume, type VolumeConfig } from "../../src/volume/volume.ts";
import type { CrashPolicy } from "../support/memory_file.ts";
import { SeededRandom } from "../support/memory_random.ts";
import { SimDisks, type SimFile } from "./sim_disks.ts";
import type { SimNetwork } from "./sim_network.ts";
import type { Choices } from "./tape.ts";
import { type Life, type Timeline, turn } from "./timeline.ts";

export const KERNEL_BYTES = 12 * 1024 * 1024;
const SERVICE_KERNEL_BYTES = 4 * 1024 * 1024;
const LABEL_TIMER = 31;

export interface Hosted {
  readonly config: VolumeConfig;
  /** Null: no mirror is configured. */
  target: MirrorTarget | null;
}

/** A volume in one life of its machine. */
export class Running {
  readonly hosted: Hosted;
  volume: Volume | null = null;
  relationship: SourceRelationship | null = null;
  /** Why it could not be opened. */
  failure: Error | null = null;

  constructor(hosted: Hosted) {
    this.hosted = hosted;
  }

  get isSettled(): boolean {
    return this.volume !== null || this.failure !== null;
  }

  get isInSync(): boolean {
    return this.relationship?.status().state === "in sync";
  }

  /** The mirror has confirmed whatever there is. */
  get isMirrorComplete(): boolean {
    if (this.relationship === null || this.volume === null) return false;
    const { state, acknowledgedSequence, aloneSince } = this.relationship.status();
    return (
      state === "in sync" && aloneSince === null && acknowledgedSequence >= this.volume.position.sequence
    );
  }
}

interface TakenKernel {
  readonly kernel: Kernel;
  /** Of its arena, when it was new. */
  readonly bytes: number;
}

export class Machine {
  readonly name: string;
  readonly disks: SimDisks;
  readonly hosted: Hosted[] = [];
  /** Devices that may come back as they were at the last start. */
  readonly damageable: string[] = [];
  life: Life | null = null;
  running = new Map<string, Running>();
  service: MirrorService | null = null;
  /** How far its clock is ahead. */
  clockAheadMs = 0;
  isStopping = false;
  /** Its last crash came while it was opening its volumes. */
  hasCrashedOpening = false;
  #lives = 0;
  #kernels: TakenKernel[] = [];
  #openings: Promise<void>[] = [];
  readonly #timeline: Timeline;
  readonly #network: SimNetwork;
  readonly #seed: number;

  constructor(name: string, timeline: Timeline, timing: Choices, network: SimNetwork, seed: number) {
    this.name = name;
    this.disks = new SimDisks(timeline, timing);
    this.#timeline = timeline;
    this.#network = network;
    this.#seed = seed;
  }

  get isUp(): boolean {
    return this.life !== null;
  }

  /** It was started, and some volume is not open yet. */
  get isOpening(): boolean {
    return this.isUp && [...this.running.values()].some(({ isSettled }) => !isSettled);
  }

  volume(name: string): Volume | null {
    return this.running.get(name)?.volume ?? null;
  }

  /** Begins a life. It goes on by itself as the timeline runs. */
  start(): void {
    const life = { isOver: false };
    this.disks.keepOlder(this.damageable);
    this.life = life;
    this.#lives += 1;
    this.running = new Map(this.hosted.map((hosted) => [hosted.config.name, new Running(hosted)]));
    const world = this.#world(life);
    for (const running of this.running.values()) {
      const opening = this.#open(world, running).catch((error) => {
        running.failure = error as Error;
        this.#say(`${running.hosted.config.name}: cannot be opened: ${String(error)}`);
      });
      this.#openings.push(opening);
    }
    void this.#listen(world);
  }

  /** The power fails. */
  crash(policyOf: (file: SimFile) => CrashPolicy, isReset: boolean): void {
    if (this.life === null) return;
    this.#network.crash(this.name, this.life, isReset);
    this.life.isOver = true;
    this.disks.crash(policyOf);
    this.#end();
  }

  /**
   * An orderly stop. Resolves when it has ended, with the bytes of its arenas that nobody gave back; a crash meanwhile
   * ends it at once, and this never resolves.
   */
  async stop(): Promise<number> {
    const { life } = this;
    if (life === null || this.isStopping) return 0;
    this.isStopping = true;
    await Promise.all(this.#openings);
    await this.service?.close();
    for (const { relationship, volume } of this.running.values()) {
      await relationship?.close();
      await volume?.close();
    }
    this.#network.crash(this.name, life, true);
    life.isOver = true;
    const leaked = this.#kernels.reduce((sum, { kernel, bytes }) => sum + bytes - kernel.arena.freeBytes, 0);
    this.#end();
    return leaked;
  }

  /** What `mirrorvol check` says of a volume, while nothing runs here. */
  async check(config: VolumeConfig): Promise<CheckReport> {
    const life = { isOver: false };
    const kernel = takeKernel(KERNEL_BYTES);
    try {
      return await checkVolume(this.worldOn(this.disks.storage(life), life), kernel, config);
    } finally {
      giveBack(kernel);
    }
  }

  /** Gives back what it holds, at the end of the world. */
  dispose(): void {
    if (this.life !== null) this.life.isOver = true;
    this.#end();
  }

  #say(text: string): void {
    this.#timeline.say(`${this.name}: ${text}`);
  }

  #end(): void {
    this.life = null;
    this.isStopping = false;
    this.service = null;
    this.#openings = [];
    // The dead program goes on until it waits for something; what it writes until then nobody else may use.
    const kernels = this.#kernels.splice(0);
    void turn().then(() => kernels.forEach(({ kernel }) => giveBack(kernel)));
  }

  async #open(world: World, running: Running): Promise<void> {
    const { config, target } = running.hosted;
    const kernel = this.#takeKernel(KERNEL_BYTES);
    const options = { hasMirror: target !== null, writeTimeoutMs: WRITE_TIMEOUT_MS };
    const volume = await Volume.open(world, kernel, config, options);
    running.volume = volume;
    if (target === null || volume.role !== "source") return;
    volume.defaultMode = target.mode;
    running.relationship = new SourceRelationship({
      world,
      kernel,
      volume,
      target,
      secret: null,
      onEvent: (text) => this.#say(`${config.name}: ${text}`),
    });
    running.relationship.start();
  }

  async #listen(world: World): Promise<void> {
    const kernel = this.#takeKernel(SERVICE_KERNEL_BYTES);
    const service = new MirrorService({
      world,
      kernel,
      volumes: { find: (name) => this.volume(name) ?? undefined },
      secret: null,
      onEvent: (text) => this.#say(text),
    });
    this.service = service;
    await world.transport.listen(`${this.name}:8750`, (connection) => service.accept(connection));
  }

  #takeKernel(memoryBytes: number): Kernel {
    const kernel = takeKernel(memoryBytes);
    this.#kernels.push({ kernel, bytes: kernel.arena.freeBytes });
    return kernel;
  }

  #world(life: Life): World {
    return this.worldOn(this.disks.storage(life), life);
  }

  worldOn(storage: Storage, life: Life): World {
    const timeline = this.#timeline;
    return {
      storage,
      transport: this.#network.transport(this.name, life),
      streams: this.#network.streams,
      clock: {
        nowMs: () => timeline.nowUs / 1000 + this.clockAheadMs,
        setTimer: (delayMs, callback) => timeline.after(delayMs * 1000, life, LABEL_TIMER, callback),
      },
      random: new SeededRandom(this.#seed * 1000 + this.#lives),
      authenticator: nodeAuthenticator,
    };
  }
}

export const WRITE_TIMEOUT_MS = 5000;

// Memories are used again: making one costs more than a history. What a dead program left in it stays there, which
// no program may ever see.
const memories: WebAssembly.Memory[] = [];

function takeKernel(memoryBytes: number): Kernel {
  const index = memories.findIndex((memory) => memory.buffer.byteLength === memoryBytes);
  if (index < 0) return Kernel.createSync({ memoryBytes });
  return Kernel.createSync({ memory: memories.splice(index, 1)[0]! });
}

function giveBack(kernel: Kernel): void {
  memories.push(kernel.memory);
}
