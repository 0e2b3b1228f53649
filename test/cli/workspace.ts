// A temporary folder with configuration files and the nodes that run from them; all of it is gone at the end.
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mirrorvol, NodeProcess } from "../../examples/support/processes.ts";
import type { NodeStatus, ServedStatus } from "../../src/node/status.ts";

export class Workspace {
  readonly folder = mkdtempSync(join(tmpdir(), "mirrorvol-test-"));
  readonly #nodes: NodeProcess[] = [];

  path(name: string): string {
    return join(this.folder, name);
  }

  /** A volume of this folder; files are named after it. */
  volume(name: string, changes: object = {}): object {
    const members = [0, 1, 2].map((slot) => `${name}-member${slot}`);
    return { size: "8MiB", members, parity: 1, log: [`${name}-log`], logSize: "8MiB", ...changes };
  }

  /** Returns the path of the configuration file. */
  configure(name: string, volumes: Record<string, object>, node: object = {}): string {
    const file = this.path(`${name}.json`);
    writeFileSync(file, JSON.stringify({ nbd: "127.0.0.1:0", ...node, volumes }));
    return file;
  }

  async create(file: string): Promise<string> {
    await mirrorvol("create", "--config", file);
    return file;
  }

  async serve(file: string): Promise<NodeProcess> {
    const node = await NodeProcess.serve(file);
    this.#nodes.push(node);
    return node;
  }

  async status(file: string): Promise<NodeStatus> {
    return JSON.parse(await mirrorvol("status", "--json", "--config", file)) as NodeStatus;
  }

  async volumeStatus(file: string, name: string): Promise<ServedStatus> {
    const { volumes } = await this.status(file);
    return volumes.find((volume) => volume.name === name) as ServedStatus;
  }

  /** Everything but configuration files. */
  files(): string[] {
    return readdirSync(this.folder).filter((name) => !name.endsWith(".json"));
  }

  async remove(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.stop()));
    if (existsSync(this.folder)) rmSync(this.folder, { recursive: true });
  }
}
