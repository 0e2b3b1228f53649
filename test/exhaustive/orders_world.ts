// A small world for orders of events: two machines, "a" with the first source and "b" with the first mirror, a
// network, and clients who write wherever they are served. Real volumes on simulated disks; time is the test's.
//
// A machine that crashes takes all that runs on it along, its timers and its calls too; only its disks remain.
// Machines are opened as a node opens its volumes: each listens for sources, and has a relationship with a mirror
// if it is a source whose configuration names one.

import { BLOCK_BYTES, LOG_HALF_COUNT } from "../../assembly/format.ts";
import { nodeAuthenticator } from "../../src/io/node_world.ts";
import type { Listener, Transport } from "../../src/io/transport.ts";
import type { Clock, Timer, World } from "../../src/io/world.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { MirrorService } from "../../src/replication/mirror.ts";
import { SourceRelationship } from "../../src/replication/source.ts";
import { Volume, type VolumeConfig } from "../../src/volume/volume.ts";
import { ManualClock, settle } from "../support/manual_clock.ts";
import { MemoryNetwork } from "../support/memory_network.ts";
import { SeededRandom } from "../support/memory_random.ts";
import { MemoryStorage } from "../support/memory_storage.ts";

export const TIMEOUT_MS = 1000;
export type Policy = "stop" | "continue";

const HALF_BYTES = 128 * 1024;
const KERNEL_BYTES = 12 * 1024 * 1024;
const NEVER = new Promise<never>(() => {});

const CONFIG = {
  name: "orders",
  sizeBytes: 64 * BLOCK_BYTES,
  memberBytes: 2 * 1024 * 1024,
  segmentStripes: 32,
  logBytes: LOG_HALF_COUNT * HALF_BYTES,
  ringBytes: 2_200_000,
  cacheBytes: 256 * 1024,
};
/** The two have different geometries. */
const MEMBERS: Record<string, Pick<VolumeConfig, "members" | "parity" | "log">> = {
  a: { members: ["a0", "a1"], parity: 1, log: ["alog"] },
  b: { members: ["b0"], parity: 0, log: ["blog"] },
};

/** One life of a machine, from its start to its crash: whatever it started ends with it. */
class Life {
  readonly clock: Clock;
  readonly transport: Transport;
  readonly #timers = new Set<Timer>();
  readonly #listeners = new Set<Listener>();
  #isOver = false;

  constructor(clock: ManualClock, { transport }: MemoryNetwork) {
    this.clock = { nowMs: () => clock.nowMs(), setTimer: (ms, callback) => this.#timer(clock, ms, callback) };
    this.transport = {
      connect: async (url, options) => {
        if (this.#isOver) return NEVER;
        const connection = await transport.connect(url, options);
        return this.#isOver ? NEVER : connection;
      },
      listen: async (address, onConnection) => {
        const listener = await transport.listen(address, onConnection);
        this.#listeners.add(listener);
        return listener;
      },
    };
  }

  end(): void {
    this.#isOver = true;
    for (const timer of this.#timers) timer.cancel();
    for (const listener of this.#listeners) void listener.close();
  }

  #timer(clock: ManualClock, ms: number, callback: () => void): Timer {
    if (this.#isOver) return { cancel: () => {} };
    const timer = clock.setTimer(ms, () => {
      this.#timers.delete(timer);
      callback();
    });
    this.#timers.add(timer);
    return {
      cancel: () => {
        this.#timers.delete(timer);
        timer.cancel();
      },
    };
  }
}

/** Making a WebAssembly memory costs more than opening a small volume: whatever has ended leaves its own to others. */
class Memories {
  #free: WebAssembly.Memory[] = [];
  #left: WebAssembly.Memory[] = [];

  kernel(): Kernel {
    const memory = this.#free.pop();
    return memory ? Kernel.createSync({ memory }) : Kernel.createSync({ memoryBytes: KERNEL_BYTES });
  }

  leave({ memory }: Kernel): void {
    this.#left.push(memory);
  }

  /** Nothing of the machines that have ended runs any more. */
  recycle(): void {
    this.#free.push(...this.#left);
    this.#left = [];
  }
}

/** What runs on a machine that is up. */
interface Running {
  readonly life: Life;
  readonly world: World;
  readonly kernel: Kernel;
  readonly volume: Volume;
  readonly service: MirrorService;
  readonly relationship: SourceRelationship | null;
}

export class Machine {
  readonly name: "a" | "b";
  storage: MemoryStorage;
  /** The machine that its configuration names as the mirror. */
  mirror: Machine | null = null;
  running: Running | null = null;
  events: string[] = [];

  constructor(name: "a" | "b", storage: MemoryStorage) {
    this.name = name;
    this.storage = storage;
  }

  get isUp(): boolean {
    return this.running !== null;
  }

  get volume(): Volume {
    return this.running!.volume;
  }

  get isSource(): boolean {
    return this.running?.volume.role === "source";
  }

  get state(): string {
    return this.running?.relationship?.status().state ?? "none";
  }
}

export class OrdersWorld {
  readonly clock = new ManualClock();
  readonly network = new MemoryNetwork();
  readonly a: Machine;
  readonly b: Machine;
  readonly policy: Policy;
  readonly #memories: Memories;
  #seed = 1;

  /** Both made, and in sync, with something behind the last consistency point. */
  static async create(policy: Policy): Promise<OrdersWorld> {
    const world = new OrdersWorld(policy, new Memories(), [new MemoryStorage(), new MemoryStorage()]);
    for (const machine of [world.a, world.b]) {
      const made = world.#world(machine, new Life(world.clock, world.network));
      const role = machine === world.a ? "source" : "mirror";
      await Volume.create(made, world.#memories.kernel(), configOf(machine), role);
    }
    await world.openBoth();
    return world;
  }

  /** Another world with the same past, not opened yet. */
  fork(): OrdersWorld {
    const [a, b] = [this.a.storage.ifPowerFailedNow("keep"), this.b.storage.ifPowerFailedNow("keep")];
    const world = new OrdersWorld(this.policy, this.#memories, [a, b]);
    world.#seed = 1000;
    return world;
  }

  private constructor(policy: Policy, memories: Memories, disks: readonly [MemoryStorage, MemoryStorage]) {
    this.policy = policy;
    this.#memories = memories;
    this.a = new Machine("a", disks[0]);
    this.b = new Machine("b", disks[1]);
    this.a.mirror = this.b;
  }

  async openBoth(): Promise<void> {
    await this.open(this.b);
    await this.open(this.a);
    await this.until("in sync", () => this.a.state === "in sync");
  }

  async open(machine: Machine): Promise<void> {
    const life = new Life(this.clock, this.network);
    const world = this.#world(machine, life);
    const kernel = this.#memories.kernel();
    const { mirror, name } = machine;
    const options = { hasMirror: mirror !== null, writeTimeoutMs: Number.POSITIVE_INFINITY };
    const volume = await Volume.open(world, kernel, configOf(machine), options);
    const onEvent = (text: string) => machine.events.push(text);
    const volumes = { find: () => volume };
    const service = new MirrorService({ world, kernel, volumes, secret: null, onEvent });
    await life.transport.listen(`${name}:1`, (connection) => service.accept(connection));
    let relationship: SourceRelationship | null = null;
    if (mirror !== null && volume.role === "source") {
      const limits = { onMirrorLoss: this.policy, mirrorTimeoutMs: TIMEOUT_MS };
      const target = { url: `ws://${mirror.name}:1`, mode: "sync" as const, ...limits };
      relationship = new SourceRelationship({ world, kernel, volume, target, secret: null, onEvent });
      relationship.start();
    }
    machine.running = { life, world, kernel, volume, service, relationship };
  }

  /** Power fails: what was not synced is there or not. "keep": the process dies alone. */
  crash(machine: Machine, how: number | "drop" | "keep"): void {
    const { running, storage } = machine;
    storage.stop();
    if (running !== null) this.#end(machine, running);
    this.network.cutAll(`${machine.name} is gone`);
    machine.storage = storage.afterCrash(how);
  }

  async close(machine: Machine): Promise<void> {
    const { running } = machine;
    if (running === null) return;
    await running.relationship?.close();
    await running.service.close();
    await running.volume.close();
    this.#end(machine, running);
  }

  /** The world is used no more. */
  end(): void {
    for (const machine of [this.a, this.b]) if (machine.isUp) this.crash(machine, "drop");
  }

  /** Nothing of what has crashed goes on: every step of it has been waited for. */
  recycle(): void {
    this.#memories.recycle();
  }

  #end(machine: Machine, { life, kernel }: Running): void {
    life.end();
    machine.running = null;
    this.#memories.leave(kernel);
  }

  /** Lets the program go on, with a little time now and then, until the condition holds or the time is over. */
  async wait(withinMs: number, condition: () => boolean): Promise<boolean> {
    const endMs = this.clock.nowMs() + withinMs;
    for (;;) {
      for (let turn = 0; turn < 6; turn++) {
        if (condition()) return true;
        await settle();
      }
      if (this.clock.nowMs() >= endMs) return condition();
      await this.clock.advance(25);
    }
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    if (!(await this.wait(20_000, condition))) throw new Error(`${what}: it never came\n${this.describe()}`);
  }

  async finish<T>(what: string, promise: Promise<T>): Promise<T> {
    let isDone = false;
    const done = promise.finally(() => {
      isDone = true;
    });
    done.catch(() => {});
    await this.until(what, () => isDone);
    return done;
  }

  describe(): string {
    return [this.a, this.b].map(describe).join("\n");
  }

  #world({ storage }: Machine, { clock, transport }: Life): World {
    const random = new SeededRandom(this.#seed++);
    return {
      storage,
      clock,
      transport,
      random,
      streams: this.network.streams,
      authenticator: nodeAuthenticator,
    };
  }
}

function configOf(machine: Machine): VolumeConfig {
  return { ...CONFIG, ...MEMBERS[machine.name]! };
}

function describe({ name, running, events }: Machine): string {
  if (running === null) return `${name} is down\n  ${events.join("\n  ")}`;
  const { role, position, cp, persisted } = running.volume;
  const { inSync, everInSync, aloneSince, history } = persisted;
  const state = { cp, inSync, everInSync, aloneSince, sequence: position.sequence };
  const starts = history.map((each) => `${each.number}@${each.startSequence}`).join(" ");
  const detail = running.relationship?.status().detail ?? "";
  return `${name}: ${role} ${JSON.stringify(state)} generations ${starts} ${detail}\n  ${events.join("\n  ")}`;
}
