// mirrorvol inspect: what lies on the disks, without a node and without a configuration. Everything is opened
// for reading only. Exit code 1 when something is wrong with what was looked at.
import { statSync } from "node:fs";
import { LOG_HALF_COUNT } from "../../assembly/format.ts";
import { nodeWorld } from "../io/node_world.ts";
import { Kernel } from "../kernel/kernel.ts";
import { halfPath } from "../log/copies.ts";
import { type InspectedHalf, inspectLog } from "../log/inspect.ts";
import { inspectMap, inspectSuperblock, type MapReport, type SuperblockReport } from "../volume/inspect.ts";
import type { InspectKind } from "./arguments.ts";

interface Inspection {
  readonly report: unknown;
  readonly text: string;
  readonly isSound: boolean;
}

export async function inspect(command: {
  readonly kind: InspectKind;
  readonly paths: readonly string[];
  readonly isJson: boolean;
  readonly withData: boolean;
}): Promise<number> {
  const { kind, paths, isJson, withData } = command;
  const kernel = await Kernel.create();
  const { report, text, isSound } = await {
    superblock: () => lookAtSuperblocks(kernel, paths),
    log: () => lookAtLogs(kernel, paths),
    map: () => lookAtMap(kernel, paths, withData),
  }[kind]();
  process.stdout.write(isJson ? `${JSON.stringify(report, null, 2)}\n` : text);
  return isSound ? 0 : 1;
}

async function lookAtSuperblocks(kernel: Kernel, paths: readonly string[]): Promise<Inspection> {
  const report: SuperblockReport[] = [];
  for (const path of paths) report.push(await inspectSuperblock(nodeWorld().storage, kernel, path));
  const text = report.map(({ path, fault, superblock }) => {
    if (superblock === null) return `${path}: ${fault}\n`;
    const fields = Object.entries(superblock).map(
      ([key, value]) => `  ${key.padEnd(17)}${JSON.stringify(value)}\n`,
    );
    return `${path}\n${fields.join("")}`;
  });
  return { report, text: text.join("\n"), isSound: report.every(({ fault }) => fault === null) };
}

async function lookAtLogs(kernel: Kernel, paths: readonly string[]): Promise<Inspection> {
  const report: InspectedHalf[] = [];
  for (const path of paths) report.push(...(await lookAtLog(kernel, path)));
  const text = report.map(describeHalf).join("\n");
  return { report, text, isSound: report.every(({ faults }) => faults.length === 0) };
}

/** A path is the prefix of a copy, or one of its files. */
async function lookAtLog(kernel: Kernel, path: string): Promise<InspectedHalf[]> {
  const { storage } = nodeWorld();
  const prefix = path.slice(0, -2);
  const slots = Array.from({ length: LOG_HALF_COUNT }, (_, slot) => halfPath(prefix, slot));
  const isFile = slots.includes(path) && statSync(path, { throwIfNoEntry: false }) !== undefined;
  if (!isFile) return inspectLog(kernel, storage, path);
  return (await inspectLog(kernel, storage, prefix)).filter((half) => half.path === path);
}

function describeHalf({ path, fileBytes, header, entries, faults }: InspectedHalf): string {
  const lines: string[] = [];
  if (header !== null) {
    const use = header.inUse ? `half ${header.number}, from sequence ${header.startSequence}` : "not in use";
    lines.push(`copy ${header.copy + 1} of ${header.copyCount}, file ${header.slot}, ${use}`);
    lines.push(`volume ${header.volumeId}, generation ${header.generation} (${header.generationId})`);
  }
  for (const { offset, sequence, kind, lba, blockCount, generation, durableThrough } of entries) {
    const what = kind === "seal" ? `CP ${lba}` : `lba ${lba}, ${blockCount} blocks`;
    lines.push(
      `@${offset}: ${sequence} ${kind} ${what}, generation ${generation}, durable through ${durableThrough}`,
    );
  }
  lines.push(...faults.map((fault) => `FAULT: ${fault}`));
  return `${path}: ${fileBytes} bytes, ${entries.length} entries\n${lines.map((line) => `  ${line}\n`).join("")}`;
}

async function lookAtMap(kernel: Kernel, paths: readonly string[], verifyData: boolean): Promise<Inspection> {
  const report = await inspectMap(nodeWorld().storage, kernel, paths, { verifyData });
  return { report, text: describeMap(report, verifyData), isSound: report.faults.length === 0 };
}

function describeMap(report: MapReport, verifyData: boolean): string {
  const { total, used, liveBlocks } = report.segments;
  const lines = [
    `CP ${report.cp}, root hash ${report.rootHash}`,
    `${report.mappedBlocks} blocks mapped${verifyData ? ", each read and verified" : ""}`,
    `${report.levels} levels; nodes, leaves first: ${report.nodes.join(", ")}`,
    `${used} of ${total} segments used, ${liveBlocks} live blocks in them`,
    ...report.excluded.map(({ path, reason }) => `left out: ${path}: ${reason}`),
    ...report.faults.map((fault) => `FAULT: ${fault}`),
  ];
  return lines.map((line) => `${line}\n`).join("");
}
