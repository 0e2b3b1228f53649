// The two nodes of the demonstration: their folders, configuration files and volumes. The source protects its
// volume with three data units and one of parity, the mirror with two and two: replication knows blocks, never
// disks, so the sides need not look alike.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mirrorvol, NodeProcess } from "./processes.ts";

export const VOLUME = "orders";
export const VOLUME_BYTES = 64 * 1024 ** 2;
/** The smallest that there is: many consistency points in a short time. */
const LOG_SIZE = "8MiB";
const MEMBER_COUNT = 4;

export interface Side {
  readonly config: string;
  readonly members: readonly string[];
}

export class DemoPair {
  readonly folder = mkdtempSync(join(tmpdir(), "mirrorvol-demo-"));
  readonly source: Side;
  mirror: Side;
  readonly #nodes: Promise<NodeProcess>[] = [];
  #isClosed = false;

  constructor() {
    this.source = this.#makeFolder("source");
    this.mirror = this.#makeFolder("mirror");
  }

  /** Members and logs for both, then both nodes; the mirror first, since the source needs its address. */
  async start(): Promise<{ source: NodeProcess; mirror: NodeProcess }> {
    this.#configure(this.mirror, { listen: "127.0.0.1:0" }, { parity: 2, role: "mirror" });
    await mirrorvol("create", "--config", this.mirror.config);
    const mirror = await this.serve(this.mirror);
    const target = { url: `ws://${mirror.ready.listen}`, mode: "sync", onMirrorLoss: "stop" };
    this.#configure(this.source, {}, { parity: 1, role: "source", mirror: target });
    await mirrorvol("create", "--config", this.source.config);
    return { source: await this.serve(this.source), mirror };
  }

  serve(side: Side): Promise<NodeProcess> {
    if (this.#isClosed) throw new Error("the demonstration is over");
    const node = NodeProcess.serve(side.config);
    this.#nodes.push(node);
    return node;
  }

  /** Ends what still runs, also what is just starting, and removes everything. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const started = await Promise.allSettled(this.#nodes);
    await Promise.all(started.map((each) => (each.status === "fulfilled" ? each.value.stop() : null)));
    rmSync(this.folder, { recursive: true, force: true });
  }

  #makeFolder(name: string): Side {
    const folder = join(this.folder, name);
    mkdirSync(folder);
    const members = Array.from({ length: MEMBER_COUNT }, (_, i) => join(folder, `member${i}`));
    return { config: join(folder, "node.json"), members };
  }

  #configure(side: Side, node: object, volume: object): void {
    const folder = join(side.config, "..");
    const log = [join(folder, "log-a"), join(folder, "log-b")];
    const common = { size: VOLUME_BYTES, members: side.members, log, logSize: LOG_SIZE, cpInterval: "2s" };
    const listeners = { nbd: "127.0.0.1:0", http: "127.0.0.1:0" };
    const config = { ...listeners, ...node, volumes: { [VOLUME]: { ...common, ...volume } } };
    writeFileSync(side.config, JSON.stringify(config, null, 2));
  }
}

/** What the demonstration shows of a volume's status. */
export interface VolumeReport {
  readonly role: string;
  readonly state: string;
  readonly degraded: boolean;
  readonly generation: number;
  readonly sequence: number;
  readonly cp: number;
  readonly rootHash: string;
  readonly geometry: { readonly data: number; readonly parity: number };
  readonly members: readonly { readonly path: string; readonly state: string }[];
  /** Of a mirror. */
  readonly source?: { readonly state: string; readonly detail: string };
  /** Of a source. */
  readonly mirror?: {
    readonly state: string;
    readonly acknowledgedSequence: number;
    readonly detail: string;
    readonly wire: { readonly sentBytes: number };
  };
}

/** Asks a running node by its HTTP API. */
export async function reportOf(node: NodeProcess): Promise<VolumeReport> {
  const response = await fetch(`http://${node.ready.http}/status`);
  const { volumes } = (await response.json()) as { volumes: (VolumeReport & { name: string })[] };
  return volumes.find(({ name }) => name === VOLUME)!;
}
