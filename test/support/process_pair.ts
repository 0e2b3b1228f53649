// A source and its mirror, each a process of its own, with different geometries. Their ports stay the same, so
// that the source finds its mirror again after it was killed; after a promotion the roles can be exchanged.
import { createServer } from "node:net";
import { ProcessSide, VOLUME } from "./process_side.ts";

/** Below the range that the system takes ports for outgoing connections from: nobody else gets ours meanwhile. */
const FIRST_PORT = 20_000;
const PORT_COUNT = 12_000;
const LOOK_MS = 10;
const WAIT_MS = 30_000;

export interface PairOptions {
  readonly sizeBytes: number;
  readonly onMirrorLoss?: "stop" | "continue";
  readonly mirrorTimeoutMs?: number;
  /** More keys of both volumes. */
  readonly volume?: object;
  /** More keys of the volume that is the mirror at first. */
  readonly mirrorVolume?: object;
  /** Where the search for a free port begins. */
  readonly portSeed: number;
}

/** A side, and the address at which it listens while it is the mirror. */
interface Place {
  readonly side: ProcessSide;
  readonly address: string;
}

export class ProcessPair {
  readonly #options: PairOptions;
  #source: Place;
  #mirror: Place;

  /** Members and logs on both sides; nothing runs yet. */
  static async create(options: PairOptions): Promise<ProcessPair> {
    const { sizeBytes, portSeed } = options;
    const first = await freePort(portSeed);
    const addresses = [first, await freePort(first + 1)].map((port) => `127.0.0.1:${port}`);
    const shape = (at: number, parity: number, role: object) => ({
      sizeBytes,
      memberCount: 4,
      parity,
      node: { listen: addresses[at] },
      volume: { ...options.volume, ...role },
    });
    const sides = await Promise.allSettled([
      ProcessSide.create(shape(0, 1, sourceRole(options, addresses[1]!))),
      ProcessSide.create(shape(1, 2, { ...options.mirrorVolume, ...MIRROR_ROLE })),
    ]);
    const [source, mirror] = sides;
    if (source.status === "fulfilled" && mirror.status === "fulfilled") {
      const places = [source.value, mirror.value].map((side, at) => ({ side, address: addresses[at]! }));
      return new ProcessPair(options, places[0]!, places[1]!);
    }
    for (const side of sides) if (side.status === "fulfilled") await side.value.close();
    throw sides.find((side) => side.status === "rejected")?.reason;
  }

  private constructor(options: PairOptions, source: Place, mirror: Place) {
    this.#options = options;
    this.#source = source;
    this.#mirror = mirror;
  }

  get source(): ProcessSide {
    return this.#source.side;
  }

  get mirror(): ProcessSide {
    return this.#mirror.side;
  }

  /** A pair with the same volumes and the same ports: only one of them may run. */
  async copy(): Promise<ProcessPair> {
    const copyOf = async ({ side, address }: Place) => ({ side: await ProcessSide.copyOf(side), address });
    return new ProcessPair(this.#options, await copyOf(this.#source), await copyOf(this.#mirror));
  }

  /** After a promotion: the roles change hands in the configuration too. Neither may run. */
  exchange(): void {
    const [source, mirror] = [this.#mirror, this.#source];
    source.side.configure({}, sourceRole(this.#options, mirror.address));
    mirror.side.configure({}, MIRROR_ROLE);
    this.#source = source;
    this.#mirror = mirror;
  }

  /** Both run, and the mirror is in sync. */
  async start(): Promise<void> {
    await Promise.all([this.mirror.start(), this.source.start()]);
    await this.inSync();
  }

  /** Resolves when the source says that its mirror is in sync. */
  async inSync(): Promise<void> {
    const state = await this.settled();
    if (state !== "in sync") throw new Error(`the mirror is ${state}`);
  }

  /** Resolves when the mirror is in sync, or never will be. */
  async settled(): Promise<"in sync" | "diverged"> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const { mirror } = (await this.source.status()) as { mirror?: { state: string; detail: string } };
      if (mirror?.state === "in sync" || mirror?.state === "diverged") return mirror.state;
      if (performance.now() > deadline) throw new Error(`not in sync: ${JSON.stringify(mirror)}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** As the command does, without the time that its process takes to start. */
  async promote(): Promise<void> {
    const { http } = this.mirror.process.ready;
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`http://${http}/volumes/${VOLUME}/promote`, { method: "POST", headers });
    if (!answer.ok) throw new Error(`not promoted: ${answer.status} ${await answer.text()}`);
    await answer.body?.cancel();
  }

  async close(): Promise<void> {
    await Promise.all([this.source.close(), this.mirror.close()]);
  }
}

const MIRROR_ROLE = { role: "mirror", mirror: undefined };

function sourceRole(
  { onMirrorLoss = "stop", mirrorTimeoutMs = 2_000 }: PairOptions,
  address: string,
): object {
  return { role: "source", mirror: { url: `ws://${address}`, mode: "sync", onMirrorLoss, mirrorTimeoutMs } };
}

export async function freePort(seed: number): Promise<number> {
  for (let index = 0; index < PORT_COUNT; index++) {
    const port = FIRST_PORT + ((seed + index) % PORT_COUNT);
    if (await isFree(port)) return port;
  }
  throw new Error("no port is free");
}

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
