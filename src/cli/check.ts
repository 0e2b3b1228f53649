// mirrorvol check: proves closed volumes consistent from their files, or names what is wrong with them. Reads only.
// Exit code 1 when a volume has a fault, or could not be checked because it is in use.
import { nodeWorld } from "../io/node_world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { Kernel } from "../kernel/kernel.ts";
import { describeFinding } from "../log/findings.ts";
import { messageOf } from "../node/admin_api.ts";
import { loadConfig } from "../node/config.ts";
import { type CheckReport, checkVolume } from "../volume/check.ts";
import type { VolumeConfig } from "../volume/config.ts";
import { requireVolumes } from "./volumes.ts";

/** A volume that was not checked, and why. */
interface Unchecked {
  readonly name: string;
  readonly error: { readonly code: string; readonly message: string };
}

export async function check(command: {
  readonly config: string;
  readonly volumes: readonly string[];
  readonly isJson: boolean;
}): Promise<number> {
  const config = loadConfig(command.config);
  const names = requireVolumes("check", config, command.volumes);
  const kernel = await Kernel.create();
  const results: (CheckReport | Unchecked)[] = [];
  for (const name of names) {
    const result = await checkOne(kernel, config.volumes.get(name)!.volume);
    results.push(result);
    if (!command.isJson) process.stdout.write(describe(result));
  }
  if (command.isJson) process.stdout.write(`${JSON.stringify({ volumes: results }, null, 2)}\n`);
  return results.every((result) => "faults" in result && result.faultCount === 0) ? 0 : 1;
}

/** A configuration that does not fit the volume ends the command; a volume in use does not keep others from it. */
async function checkOne(kernel: Kernel, config: VolumeConfig): Promise<CheckReport | Unchecked> {
  const { name } = config;
  const progress = process.stderr.isTTY ? new ProgressLine(name) : null;
  try {
    const onProgress = (phase: string, done: number, total: number) => progress?.show(phase, done, total);
    return await checkVolume(nodeWorld(), kernel, config, { onProgress });
  } catch (error) {
    if (!(error instanceof MirrorvolError) || error.code === "ERR_CONFIG") throw error;
    return { name, error: { code: error.code, message: messageOf(error) } };
  } finally {
    progress?.clear();
  }
}

/** One line on the terminal that is written over, at most once for each percent. */
class ProgressLine {
  readonly #name: string;
  #shown = "";

  constructor(name: string) {
    this.#name = name;
  }

  show(phase: string, done: number, total: number): void {
    const share = total > 0 ? ` ${Math.floor((done / total) * 100)}%` : "";
    const text = `checking ${this.#name}: ${phase}${share}`;
    if (text === this.#shown) return;
    this.#shown = text;
    process.stderr.write(`\r\x1b[K${text}`);
  }

  clear(): void {
    process.stderr.write("\r\x1b[K");
  }
}

function describe(result: CheckReport | Unchecked): string {
  if ("error" in result) return `${result.name}: not checked: ${result.error.message}\n`;
  const { name, volume, faults, warnings, faultCount, warningCount } = result;
  const verdict = faultCount === 0 ? "consistent" : count(faultCount, "fault");
  const lines = [`${name}: ${verdict}${warningCount > 0 ? `, ${count(warningCount, "warning")}` : ""}`];
  if (volume !== null) {
    const { role, generation, cp, rootHash, sequence } = volume;
    const log = sequence === null ? "no log" : `log through entry ${sequence}`;
    lines.push(`  ${role}, generation ${generation}, CP ${cp}, root hash ${rootHash}, ${log}`);
  }
  const { superblocks, tablePages, nodes, blocks, rows, entries } = result;
  const seen = [
    count(superblocks, "superblock"),
    count(tablePages, "segment table page"),
    count(nodes, "node"),
    count(blocks, "block"),
    count(rows, "stripe"),
    count(entries, "log entry", "log entries"),
  ];
  lines.push(`  checked: ${seen.join(", ")}`);
  lines.push(...faults.map((fault) => `  FAULT: ${describeFinding(fault)}`));
  if (faultCount > faults.length) lines.push(`  and ${count(faultCount - faults.length, "more fault")}`);
  lines.push(...warnings.map((warning) => `  warning: ${describeFinding(warning)}`));
  if (warningCount > warnings.length)
    lines.push(`  and ${count(warningCount - warnings.length, "more warning")}`);
  return `${lines.join("\n")}\n`;
}

function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
