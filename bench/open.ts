// Opening: the package (a cold import, its size) and volumes, empty, full, and with a log to replay.

import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Volume } from "../src/index.ts";
import { projectRoot } from "../test/support/sources.ts";
import { sizeName } from "./kernels/sizes.ts";
import { type BenchFolder, withFolder } from "./support/folders.ts";
import { fill } from "./support/load.ts";
import { NbdTarget } from "./support/nbd_target.ts";
import { makeVolume } from "./support/pair.ts";
import type { Recorder } from "./support/rows.ts";
import { median } from "./support/samples.ts";
import { MIB, type Shape, shapeName, VOLUME } from "./support/shape.ts";
import { SourceProcess } from "./support/source_process.ts";
import { VolumeTarget } from "./support/volume_target.ts";

const SHAPE: Shape = {
  sizeBytes: 512 * MIB,
  memberCount: 4,
  parity: 1,
  logCopies: 2,
  logBytes: 512 * MIB,
  cpIntervalMs: 3_600_000,
};

export async function open(recorder: Recorder): Promise<void> {
  measureImport(recorder);
  measureSizes(recorder);
  await withFolder((folder) => measureCleanOpen(folder, recorder));
  await withFolder((folder) => measureReplay(folder, recorder));
}

/** In new processes, each with an empty module cache; the runtime's own start is a case of its own. */
function measureImport(recorder: Recorder): void {
  const here = fileURLToPath(import.meta.url);
  const entry = pathToFileURL(fileURLToPath(new URL(`../src/index${extname(here)}`, import.meta.url))).href;
  const imported = `const t = performance.now(); await import(${JSON.stringify(entry)}); `;
  const ms = Array.from({ length: recorder.isQuick ? 3 : 15 }, () =>
    Number(evaluate(`${imported}console.log(performance.now() - t)`)),
  );
  recorder.add("mirrorvol", { what: "cold import" }, "time", median(ms), "ms");
  const ws = "const t = performance.now(); await import('ws'); console.log(performance.now() - t)";
  const wsMs = Array.from({ length: ms.length }, () => Number(evaluate(ws)));
  recorder.add("ws alone", { what: "cold import" }, "time", median(wsMs), "ms");
}

function evaluate(code: string): string {
  const args = "Deno" in globalThis ? ["eval", code] : ["--input-type=module", "-e", code];
  return execFileSync(process.execPath, args, { encoding: "utf8", cwd: projectRoot });
}

function measureSizes(recorder: Recorder): void {
  const manifest = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")) as {
    files: string[];
    dependencies: Record<string, string>;
  };
  const wasm = join(projectRoot, "dist", "mirrorvol.wasm");
  if (existsSync(wasm))
    recorder.add("mirrorvol", { what: "WASM module" }, "size", sizeOf(wasm) / 1024, "KiB");
  const own = manifest.files.reduce((sum, name) => sum + sizeOf(join(projectRoot, name)), 0);
  const dependencies = Object.keys(manifest.dependencies);
  const others = dependencies.reduce((sum, name) => sum + sizeOf(join(projectRoot, "node_modules", name)), 0);
  recorder.addAll("mirrorvol", { what: "installed" }, [
    ["size", (own + others) / 1e6, "MB"],
    ["own files", own / 1e6, "MB"],
    ["dependencies", dependencies.length, "1"],
  ]);
}

function sizeOf(path: string): number {
  if (!existsSync(path)) return 0;
  const stat = lstatSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}

async function measureCleanOpen(folder: BenchFolder, recorder: Recorder): Promise<void> {
  const options = await makeVolume(folder, "clean", SHAPE);
  const params = { what: "open", volume: shapeName(SHAPE), size: sizeName(SHAPE.sizeBytes) };
  for (const state of ["empty", "half full"]) {
    const ms: number[] = [];
    for (let round = 0; round < (recorder.isQuick ? 2 : 5); round++) {
      const startMs = performance.now();
      const volume = await Volume.open(options);
      await volume.read(0, 4096);
      ms.push(performance.now() - startMs);
      await volume.close();
    }
    recorder.add("mirrorvol", { ...params, state }, "first read", median(ms), "ms");
    if (state !== "empty") return;
    const volume = await Volume.open(options);
    await fill(new VolumeTarget(volume), SHAPE.sizeBytes / (recorder.isQuick ? 8 : 2));
    await volume.consistencyPoint();
    await volume.close();
  }
}

/** The process that wrote them is killed: the entries are only in the log. */
async function measureReplay(folder: BenchFolder, recorder: Recorder): Promise<void> {
  for (const logged of recorder.isQuick ? [16] : [16, 64]) {
    const options = await makeVolume(folder, `replay-${logged}`, SHAPE);
    const source = await SourceProcess.start(options);
    const target = await NbdTarget.connect({ port: source.port, name: VOLUME, isFua: true });
    await fill(target, logged * MIB);
    await source.kill();
    const startMs = performance.now();
    const volume = await Volume.open(options);
    await volume.read(0, 4096);
    const params = { what: "open", volume: shapeName(SHAPE), state: `${logged} MiB in the log` };
    recorder.add("mirrorvol", params, "first read", performance.now() - startMs, "ms");
    await volume.close();
  }
}
