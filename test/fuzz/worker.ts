// Fuzzes one target in a thread of its own, so that an input that never ends, or takes all memory, ends the
// thread and nothing else. The input at work lies in shared memory: whoever watches can still read it then.

import { parentPort, workerData } from "node:worker_threads";
import { corpusOf, keepFound, keepInteresting } from "./corpus.ts";
import { Coverage } from "./coverage.ts";
import { Fuzzer, type Report } from "./fuzzer.ts";
import { TARGETS } from "./targets.ts";

/** Words at the start of the shared memory: runs so far, length of the input. The input follows. */
export const SHARED_HEADER_BYTES = 8;

export interface Job {
  readonly target: string;
  readonly inputs: number;
  readonly seconds: number;
  readonly seed: number;
  readonly isGuided: boolean;
  readonly shared: SharedArrayBuffer;
}

export interface Result extends Omit<Report, "found"> {
  readonly seconds: number;
  readonly points: number;
  readonly kept: number;
  readonly found: { readonly path: string; readonly input: Uint8Array; readonly text: string } | null;
}

async function main(job: Job): Promise<Result> {
  const target = TARGETS.find(({ name }) => name === job.target)!;
  const header = new Int32Array(job.shared, 0, 2);
  const room = new Uint8Array(job.shared, SHARED_HEADER_BYTES);
  const strays: unknown[] = [];
  process.on("unhandledRejection", (error) => strays.push(error));
  process.on("uncaughtException", (error) => strays.push(error));
  const coverage = job.isGuided ? new Coverage() : null;
  const nowMs = () => performance.now();
  let kept = 0;
  const isMachine = (target.batch ?? 0) > 0;
  const fuzzer = new Fuzzer({
    target,
    nowMs,
    ...(coverage === null ? {} : { coverage }),
    memoryBytes: () => {
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    },
    onRun: (input) => {
      room.set(input.subarray(0, room.length));
      header[1] = input.length;
      Atomics.add(header, 0, 1);
    },
    onInteresting: (input) => {
      if (keepInteresting(target.name, input)) kept += 1;
    },
    // A rejection that nobody handles is told a turn later; only whole machines have any.
    takeStray: async () => {
      if (isMachine) await new Promise((resolve) => setImmediate(resolve));
      return strays.shift();
    },
  });
  const startMs = nowMs();
  const endMs = startMs + job.seconds * 1000;
  const known = corpusOf(target.name).map(({ input }) => input);
  const report = await fuzzer.run(known, { inputs: job.inputs, seed: job.seed, endMs });
  const { found } = report;
  return {
    ...report,
    seconds: (nowMs() - startMs) / 1000,
    points: coverage?.points ?? 0,
    kept,
    found: found && {
      path: keepFound(target.name, found.input),
      input: found.input,
      text: found.error instanceof Error ? (found.error.stack ?? found.error.message) : String(found.error),
    },
  };
}

if (parentPort !== null) parentPort.postMessage(await main(workerData as Job));
