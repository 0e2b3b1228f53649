// Fuzzing from the command line:
//
//   npm run fuzz -- [TARGET...] [--inputs N] [--seconds S] [--seed N] [--unguided] [--list]
//   npm run fuzz -- TARGET --replay FILE
//
// Each target gets so many inputs or seconds, whichever ends first. A line a target: inputs tried, how many were
// accepted, kinds of refusals, characters of the engine's code reached, new inputs for the corpus. What breaks a
// property is shrunk, kept in the corpus (`npm test` runs it from then on), and printed with the command that
// runs it again; the exit code is 1 then.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { keepFound } from "./corpus.ts";
import { Fuzzer } from "./fuzzer.ts";
import { TARGETS } from "./targets.ts";
import { type Job, type Result, SHARED_HEADER_BYTES } from "./worker.ts";

const INPUTS = 100_000;
const SECONDS = 60;
/** No run has ended for so long: that input hangs. */
const HANG_MS = 30_000;
const HEAP_MIB = 768;
const INPUT_BYTES_MAX = 128 * 1024;

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      inputs: { type: "string" },
      seconds: { type: "string" },
      seed: { type: "string" },
      replay: { type: "string" },
      unguided: { type: "boolean" },
      list: { type: "boolean" },
    },
  });
  const chosen = TARGETS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const unknown = positionals.filter((name) => !TARGETS.some((target) => target.name === name));
  if (unknown.length > 0) throw new Error(`no such target: ${unknown.join(", ")} (--list names them)`);
  if (values.list) for (const { name } of chosen) console.log(name);
  if (values.list) return 0;
  if (values.replay !== undefined) return replay(chosen[0]!.name, values.replay);
  const isBounded = values.seconds !== undefined || values.inputs !== undefined;
  const job = {
    inputs: numberOf(values.inputs, values.seconds === undefined ? INPUTS : Number.MAX_SAFE_INTEGER),
    seconds: numberOf(values.seconds, isBounded ? 1e9 : SECONDS),
    seed: numberOf(values.seed, 1),
    isGuided: values.unguided !== true,
  };
  let total = 0;
  let failed = 0;
  for (const { name } of chosen) {
    const result = await fuzz({ ...job, target: name });
    total += result.inputs;
    if (result.found !== null) failed += 1;
    print(name, result);
  }
  console.log(`${total} inputs, ${failed} targets with a failure`);
  return failed === 0 ? 0 : 1;
}

function numberOf(text: string | undefined, fallback: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (!(value > 0)) throw new Error(`${text} is no positive number`);
  return value;
}

function fuzz(job: Omit<Job, "shared">): Promise<Result> {
  const shared = new SharedArrayBuffer(SHARED_HEADER_BYTES + INPUT_BYTES_MAX);
  const header = new Int32Array(shared, 0, 2);
  const startMs = performance.now();
  const worker = new Worker(new URL(import.meta.url.replace(/main\.(ts|js)$/, "worker.$1")), {
    workerData: { ...job, shared },
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
  });
  return new Promise((resolve) => {
    let before = -1;
    const end = (result: Result) => {
      clearInterval(watch);
      void worker.terminate().then(() => resolve(result));
    };
    const lost = (text: string) => {
      const inputs = Atomics.load(header, 0);
      const input = new Uint8Array(
        shared,
        SHARED_HEADER_BYTES,
        Math.min(header[1]!, INPUT_BYTES_MAX),
      ).slice();
      const found = { path: keepFound(job.target, input), input, text };
      const seconds = (performance.now() - startMs) / 1000;
      end({ inputs, accepted: 0, verdicts: 0, interesting: 0, seconds, points: 0, kept: 0, found });
    };
    const watch = setInterval(() => {
      const now = Atomics.load(header, 0);
      if (now === before) lost(`an input did not end within ${HANG_MS} ms`);
      before = now;
    }, HANG_MS);
    worker.on("message", end);
    worker.on("error", (error: Error) => lost(error.stack ?? error.message));
  });
}

function print(name: string, result: Result): void {
  const { inputs, accepted, verdicts, points, interesting, kept, seconds, found } = result;
  const rate = Math.round(inputs / Math.max(seconds, 0.001));
  console.log(
    `${found === null ? "ok  " : "FAIL"} ${name.padEnd(18)} ${String(inputs).padStart(9)} inputs ` +
      `${seconds.toFixed(1).padStart(6)} s ${String(rate).padStart(7)}/s  accepted ${accepted}, ` +
      `${verdicts} verdicts, ${points} reached, pool +${interesting}, corpus +${kept}`,
  );
  if (found === null) return;
  console.log(`     ${found.text.replaceAll("\n", "\n     ")}`);
  console.log(`     input (${found.input.length} bytes): ${show(found.input)}`);
  console.log(`     again: npm run fuzz -- ${name} --replay ${found.path}`);
}

function show(input: Uint8Array): string {
  const shown = input.subarray(0, 160);
  const isText = shown.every((byte) => byte >= 32 && byte < 127);
  const text = isText ? JSON.stringify(String.fromCharCode(...shown)) : Buffer.from(shown).toString("hex");
  return shown.length < input.length ? `${text}...` : text;
}

/** In this thread, so that a debugger can be at it. */
async function replay(name: string, path: string): Promise<number> {
  const target = TARGETS.find((each) => each.name === name)!;
  const fuzzer = new Fuzzer({ target, nowMs: () => performance.now() });
  await target.seeds();
  console.log(`${name}: ${await fuzzer.check(new Uint8Array(readFileSync(path)))}`);
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
