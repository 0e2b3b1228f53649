// A source and its mirror, each a process of its own, with different geometries. The mirror's port stays the
// same, so that the source finds it again after it was killed.
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
  /** Where the search for a free port begins. */
  readonly portSeed: number;
}

export class ProcessPair {
  readonly source: ProcessSide;
  readonly mirror: ProcessSide;

  /** Members and logs on both sides; nothing runs yet. */
  static async create({ sizeBytes, onMirrorLoss = "stop", portSeed }: PairOptions): Promise<ProcessPair> {
    const address = `127.0.0.1:${await freePort(portSeed)}`;
    const target = { url: `ws://${address}`, mode: "sync", onMirrorLoss, mirrorTimeoutMs: "2s" };
    const sides = await Promise.allSettled([
      ProcessSide.create({ sizeBytes, memberCount: 4, parity: 1, volume: { mirror: target } }),
      ProcessSide.create({
        sizeBytes,
        memberCount: 4,
        parity: 2,
        node: { listen: address },
        volume: { role: "mirror" },
      }),
    ]);
    const [source, mirror] = sides;
    if (source.status === "fulfilled" && mirror.status === "fulfilled") {
      return new ProcessPair(source.value, mirror.value);
    }
    for (const side of sides) if (side.status === "fulfilled") await side.value.close();
    throw sides.find((side) => side.status === "rejected")?.reason;
  }

  /** A pair with the same volumes and the same port: only one of them may run. */
  async copy(): Promise<ProcessPair> {
    return new ProcessPair(await ProcessSide.copyOf(this.source), await ProcessSide.copyOf(this.mirror));
  }

  private constructor(source: ProcessSide, mirror: ProcessSide) {
    this.source = source;
    this.mirror = mirror;
  }

  /** Both run, and the mirror is in sync. */
  async start(): Promise<void> {
    await Promise.all([this.mirror.start(), this.source.start()]);
    await this.inSync();
  }

  /** Resolves when the source says that its mirror is in sync. */
  async inSync(): Promise<void> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const { mirror } = (await this.source.status()) as { mirror?: { state: string; detail: string } };
      if (mirror?.state === "in sync") return;
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
