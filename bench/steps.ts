// Where the time of one 4 KiB write goes: its parts, each alone and one at a time, and then the whole of it,
// embedded and by NBD. The parts are what the engine calls, and what it might call instead: asynchronous file calls
// go through the runtime's thread pool.

import { fork } from "node:child_process";
import fs from "node:fs";
import { connect, type Socket } from "node:net";
import { extname } from "node:path";
import { createHistogram } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ENTRY_PAYLOAD_BYTES } from "../assembly/format.ts";
import { runInThread } from "../src/io/file_threads.ts";
import { nodeWorld } from "../src/io/node_world.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import { type BenchFolder, withFolder } from "./support/folders.ts";
import { payload, runLoad } from "./support/load.ts";
import type { Figure, Recorder } from "./support/rows.ts";
import { emptySplit, percentiles, sortInto } from "./support/samples.ts";
import { MIB, type Shape } from "./support/shape.ts";
import { byNbd, embedded } from "./write/ours.ts";

const WRITE_BYTES = 4096;
const ENTRY_BYTES = 4608;
const FILE_BYTES = 32 * MIB;
const SHAPE: Shape = { sizeBytes: 256 * MIB, memberCount: 4, parity: 1, logCopies: 2, logBytes: 512 * MIB };

const write = promisify(fs.write) as (
  fd: number,
  data: Uint8Array,
  from: number,
  bytes: number,
  at: number,
) => Promise<unknown>;
const fdatasync = promisify(fs.fdatasync);

type Step = () => unknown;

export async function steps(recorder: Recorder): Promise<void> {
  await measure(recorder, "encode the entry, hash the block", await encoder());
  await withFolder((folder) => measureFiles(folder, recorder));
  await measureNetwork(recorder);
  await withFolder((folder) => measureWhole(folder, recorder));
}

async function measure(recorder: Recorder, what: string, step: Step): Promise<void> {
  const histogram = createHistogram();
  const count = recorder.isQuick ? 200 : 2000;
  for (let i = 0; i < count; i++) await step();
  for (let i = 0; i < count; i++) {
    const start = process.hrtime.bigint();
    await step();
    histogram.record(process.hrtime.bigint() - start);
  }
  recorder.addAll("step", { what }, percentiles(histogram).map(inUs));
}

function inUs([name, us]: readonly [string, number]): Figure {
  return [name, us, "us"];
}

async function encoder(): Promise<Step> {
  const kernel = await Kernel.create();
  const room = kernel.arena.allocate(4 * WRITE_BYTES);
  const [source, target] = [kernel.offsetOf(room), kernel.offsetOf(room) + 2 * WRITE_BYTES];
  room.set(payload(WRITE_BYTES, 1));
  const out = new Uint32Array(4);
  return () => {
    kernel.view.setUint32(target + ENTRY_PAYLOAD_BYTES, WRITE_BYTES, true);
    kernel.encodeEntryAt(target, source, WRITE_BYTES);
    kernel.hashBlocksAt(source, 1, out);
  };
}

async function measureFiles(folder: BenchFolder, recorder: Recorder): Promise<void> {
  const [first, second] = ["a", "b"].map((name) => zeroedFile(folder.at(name))) as [number, number];
  const data = payload(ENTRY_BYTES, 1);
  let at = 0;
  const next = () => (at = (at + ENTRY_BYTES) % (FILE_BYTES - ENTRY_BYTES));
  const append = async (fd: number, offset: number) => {
    await write(fd, data, 0, ENTRY_BYTES, offset);
    await fdatasync(fd);
  };
  await measure(recorder, "append and sync one log, calls that block", () => {
    fs.writeSync(first, data, 0, ENTRY_BYTES, next());
    fs.fdatasyncSync(first);
  });
  await measure(recorder, "append and sync one log, thread pool", () => append(first, next()));
  await measure(recorder, "append and sync two logs, thread pool", () => {
    const offset = next();
    return Promise.all([append(first, offset), append(second, offset)]);
  });
  const commit = (fd: number, offset: number) =>
    runInThread("commit", [{ fd, offset, buffer: data }]) ?? append(fd, offset);
  await measure(recorder, "append and sync one log, a thread of ours", () => commit(first, next()));
  await measure(recorder, "append and sync two logs, threads of ours", () => {
    const offset = next();
    return Promise.all([commit(first, offset), commit(second, offset)]);
  });
  await measure(recorder, "nothing, thread pool", () => write(first, data, 0, 0, 0));
  fs.closeSync(first);
  fs.closeSync(second);
}

function zeroedFile(path: string): number {
  const fd = fs.openSync(path, "w+");
  fs.writeSync(fd, new Uint8Array(FILE_BYTES), 0, FILE_BYTES, 0);
  fs.fsyncSync(fd);
  return fd;
}

/** 4 KiB there and a few bytes back, the other end in another process. */
async function measureNetwork(recorder: Recorder): Promise<void> {
  const here = fileURLToPath(import.meta.url);
  const child = fork(fileURLToPath(new URL(`./support/echo_program${extname(here)}`, import.meta.url)));
  const { address, port } = await new Promise<{ address: string; port: number }>((resolve) => {
    child.once("message", (message) => resolve(message as { address: string; port: number }));
  });
  const data = payload(WRITE_BYTES, 1);
  const connection = await nodeWorld().transport.connect(`ws://${address}`);
  await measure(recorder, "round trip, WebSocket", () => {
    return new Promise<void>((resolve) => {
      connection.onMessage = () => resolve();
      connection.send(data);
    });
  });
  const socket = await openSocket(port);
  await measure(recorder, "round trip, TCP", () => {
    return new Promise<void>((resolve) => {
      socket.once("data", () => resolve());
      socket.write(data);
    });
  });
  socket.destroy();
  child.disconnect();
}

function openSocket(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1").setNoDelay(true);
  return new Promise((resolve) => socket.once("connect", () => resolve(socket)));
}

async function measureWhole(folder: BenchFolder, recorder: Recorder): Promise<void> {
  const load = { depth: 1, bytes: WRITE_BYTES, readShare: 0, spanBytes: 64 * MIB, warmUpSeconds: 2 };
  for (const [name, start] of [
    ["embedded", embedded],
    ["by NBD", byNbd],
  ] as const) {
    const subject = await start(folder, name.replaceAll(" ", "-"), SHAPE);
    try {
      const { samples } = await runLoad(subject.target, { ...load, seconds: recorder.isQuick ? 0.5 : 3 });
      const split = emptySplit();
      sortInto(split, samples, []);
      recorder.addAll("mirrorvol", { what: `one write, ${name}` }, percentiles(split.all).map(inUs));
    } finally {
      await subject.close();
    }
  }
}
