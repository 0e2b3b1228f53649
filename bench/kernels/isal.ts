// ISA-L, through a program of ours that is compiled now and runs in the same minute.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { type BenchFolder, withFolder } from "../support/folders.ts";
import { compile, isalObstacle } from "../support/native.ts";
import type { Params, Recorder } from "../support/rows.ts";
import { type Matrix, sizeName } from "./sizes.ts";

export async function measureIsal(recorder: Recorder, matrix: Matrix): Promise<void> {
  const obstacle = isalObstacle();
  if (obstacle === null) await withFolder((folder) => runIsal(folder, recorder, matrix));
  else recorder.skip("ISA-L", obstacle);
}

async function runIsal(folder: BenchFolder, recorder: Recorder, matrix: Matrix): Promise<void> {
  const program = await compile(folder, "isal", "-lisal");
  const seconds = recorder.isQuick ? "0.03" : "0.06";
  const args = [seconds, matrix.sizes.join(","), matrix.dataUnits.join(",")];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  });
  for await (const line of createInterface({ input: child.stdout })) take(line, recorder);
  const code = await ended;
  if (code !== 0) throw new Error(`the ISA-L program ended with ${code}`);
}

function take(line: string, recorder: Recorder): void {
  const [who, kernel, size, k, m, place, rate] = line.split("\t") as [string, ...string[]];
  const isParity = kernel === "encode" || kernel === "reconstruct";
  const units: Params = isParity ? { k: Number(k), m: Number(m) } : {};
  const params = { kernel: kernel!, size: sizeName(Number(size)), place: place!, ...units };
  recorder.add(who, params, "throughput", Number(rate), "GB/s");
}
