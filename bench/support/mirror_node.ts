// The other side: a real node, as a process of its own, that mirrors the volumes of whoever connects.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mirrorvol, NodeProcess } from "../../examples/support/processes.ts";
import type { NodeStatus, ServedStatus } from "../../src/node/status.ts";
import { type Shape, VOLUME, volumeEntry } from "./shape.ts";

export class MirrorNode {
  readonly #config: string;
  #process: NodeProcess;

  static async start(folder: string, shape: Shape, names: readonly string[] = [VOLUME]): Promise<MirrorNode> {
    mkdirSync(folder, { recursive: true });
    const config = join(folder, "node.json");
    const volumes = names.map((name) => [name, { ...volumeEntry(shape, folder, name), role: "mirror" }]);
    const listeners = { listen: "127.0.0.1:0", nbd: "127.0.0.1:0", http: "127.0.0.1:0" };
    writeFileSync(config, JSON.stringify({ ...listeners, volumes: Object.fromEntries(volumes) }));
    await mirrorvol("create", "--config", config);
    return new MirrorNode(config, await NodeProcess.serve(config));
  }

  private constructor(config: string, process: NodeProcess) {
    this.#config = config;
    this.#process = process;
  }

  get pid(): number {
    return this.#process.pid;
  }

  get url(): string {
    return `ws://${this.#process.ready.listen}`;
  }

  get nbdPort(): number {
    return Number(this.#process.ready.nbd!.split(":").pop());
  }

  async status(): Promise<NodeStatus> {
    const response = await fetch(`http://${this.#process.ready.http}/status`);
    return (await response.json()) as NodeStatus;
  }

  async volume(name = VOLUME): Promise<ServedStatus> {
    const { volumes } = await this.status();
    return volumes.find((each) => each.name === name) as ServedStatus;
  }

  /** Resolves when it serves the volume. */
  async promote(name = VOLUME): Promise<void> {
    const url = `http://${this.#process.ready.http}/volumes/${name}/promote`;
    const headers = { "content-type": "application/json" };
    const answer = await fetch(url, { method: "POST", headers, body: '{"force":true}' });
    if (!answer.ok) throw new Error(`promote: ${answer.status} ${await answer.text()}`);
  }

  async kill(): Promise<void> {
    await this.#process.kill();
  }

  async restart(): Promise<void> {
    this.#process = await NodeProcess.serve(this.#config);
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }
}
