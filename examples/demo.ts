// `npm start`: what mirrorvol is for, in under a minute, with nothing faked.
//
// Two `mirrorvol serve` processes on this machine: a source (3+1) and its mirror (2+2). Two NBD clients write
// to the source, eight writes each under way at any time. The source is killed with SIGKILL in mid-write, the
// mirror is promoted, and every block is read back from it and compared with what the clients were told. Then
// a member of the promoted mirror is deleted, and everything is read again.
//
//   npm start                 runs, reports, cleans up; exit code 0 only if every check held
//   npm start -- --keep       the promoted mirror stays up for other NBD clients until Ctrl-C
import { rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { BLOCK_BYTES, BlockLedger } from "./support/block_ledger.ts";
import { DemoPair, reportOf, VOLUME, VOLUME_BYTES } from "./support/demo_pair.ts";
import { Screen } from "./support/demo_screen.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { mirrorvol, type NodeProcess } from "./support/processes.ts";
import { readBack, WriteStream } from "./support/write_stream.ts";

const CLIENT_COUNT = 2;
const QUEUE_DEPTH = 8;
const WRITE_MS_MIN = 6_000;
const WRITE_MS_MAX = 20_000;
const CPS_WANTED = 5;
const WAIT_MS = 20_000;
const POLL_MS = 20;
const PROGRESS_MS = 1_000;

const screen = new Screen();
const ledger = new BlockLedger(VOLUME_BYTES / BLOCK_BYTES);

interface Written {
  readonly writes: number;
  readonly bytes: number;
  readonly wirePerByte: number;
  readonly sourceCps: number;
}

async function demonstrate(pair: DemoPair, isKept: boolean, interrupted: Promise<never>): Promise<void> {
  const work = async () => {
    screen.step("Creating a source (3 data + 1 parity) and a mirror (2 data + 2 parity)");
    const { source, mirror } = await pair.start();
    screen.say(`everything is in ${pair.folder}`);
    screen.say(`source: process ${source.pid}, NBD at ${source.ready.nbd}`);
    screen.say(`mirror: process ${mirror.pid}, listens at ${mirror.ready.listen}`);
    await waitForSync(source, mirror);
    const written = await writeAndKill(source, mirror);
    const times = await promote(pair, mirror);
    await readEverything(mirror, "Reading every block from the promoted mirror");
    const mirrorCps = (await reportOf(mirror)).cp;
    const degraded = await loseMember(pair, mirror);
    report(written, times, mirrorCps);
    screen.isDone = true;
    if (isKept) await keep(degraded, interrupted);
  };
  // Once everything is checked and it stays up, it is not cut off, but ends by itself.
  const isCutOff = interrupted.catch((error: unknown) => {
    if (!screen.isDone) throw error;
  });
  const over = work();
  await Promise.race([over, isCutOff]);
  await over;
}

async function waitForSync(source: NodeProcess, mirror: NodeProcess): Promise<void> {
  screen.step("First sync");
  const sides = await Promise.all([reportOf(source), reportOf(mirror)]);
  const [here, there] = sides.map(({ geometry }) => `${geometry.data} + ${geometry.parity}`);
  screen.check(`the sides have different geometries: ${here} and ${there}`, here !== there);
  const state = await waitFor(async () => {
    const { mirror } = await reportOf(source);
    screen.state("mirror relationship", mirror === undefined ? "none" : `${mirror.state} (${mirror.detail})`);
    return mirror?.state === "in sync" ? mirror.state : null;
  });
  screen.check("the mirror is in sync before the first write", state !== null);
}

async function writeAndKill(source: NodeProcess, mirror: NodeProcess): Promise<Written> {
  screen.step(`Writing: ${CLIENT_COUNT} NBD clients, ${QUEUE_DEPTH} writes under way each, then SIGKILL`);
  const streams = await openStreams(source);
  const before = await reportOf(source);
  const over = Promise.all(streams.map((stream) => stream.run()));
  const sample = await watchWriting(streams, source, mirror, before.mirror?.wire.sentBytes ?? 0);
  await waitFor(async () => (sum(streams, "underWay") >= CLIENT_COUNT * QUEUE_DEPTH - 2 ? true : null));
  const underWay = sum(streams, "underWay");
  const { signal } = await source.kill();
  await over;
  screen.say(`source killed with ${underWay} writes under way (${ledger.blocksInDoubt} blocks in doubt)`);
  screen.check("the source died of SIGKILL", signal === "SIGKILL");
  screen.check("it was killed in mid-write", underWay > 0 && ledger.blocksInDoubt > 0);
  const gone = await waitFor(async () => {
    const { source: seen } = await reportOf(mirror);
    return seen?.state === "degraded" ? seen.detail : null;
  });
  screen.say(`the mirror sees: ${gone}`);
  screen.checkRoots();
  screen.check(`at least ${CPS_WANTED} consistency points happened`, sample.sourceCps >= CPS_WANTED);
  return { ...sample, writes: sum(streams, "acknowledgedWrites"), bytes: sum(streams, "acknowledgedBytes") };
}

async function openStreams(source: NodeProcess): Promise<WriteStream[]> {
  const blockCount = ledger.blockCount / CLIENT_COUNT;
  const open = async (_: unknown, index: number) => {
    const client = await NbdClient.connect(source.ready.nbd!, VOLUME);
    const place = { firstBlock: index * blockCount, blockCount, queueDepth: QUEUE_DEPTH, seed: 7919 + index };
    return new WriteStream({ client, ledger, ...place });
  };
  return Promise.all(Array.from({ length: CLIENT_COUNT }, open));
}

/** Shows how it goes until enough has happened; the last look before the kill gives the figures. */
async function watchWriting(
  streams: readonly WriteStream[],
  source: NodeProcess,
  mirror: NodeProcess,
  sentBefore: number,
): Promise<Omit<Written, "writes" | "bytes">> {
  const start = performance.now();
  for (;;) {
    await sleep(PROGRESS_MS);
    const failure = streams.find((stream) => stream.failure !== null)?.failure;
    if (failure) throw new Error(`a client failed while the source was alive: ${failure.message}`);
    const bytes = sum(streams, "acknowledgedBytes");
    const [here, there] = await Promise.all([reportOf(source), reportOf(mirror)]);
    const elapsedMs = performance.now() - start;
    screen.progress(elapsedMs, sum(streams, "acknowledgedWrites"), bytes, here, there);
    screen.compareRoots(here, there);
    const isEnough = elapsedMs >= WRITE_MS_MIN && here.cp >= CPS_WANTED && there.cp >= CPS_WANTED;
    if (!isEnough && elapsedMs < WRITE_MS_MAX) continue;
    return { wirePerByte: ((here.mirror?.wire.sentBytes ?? 0) - sentBefore) / bytes, sourceCps: here.cp };
  }
}

interface PromoteTimes {
  /** In the node, as it says. */
  readonly nodeMs: number;
  /** Of the whole command, most of it the start of a process. */
  readonly commandMs: number;
  /** From the end of the command: connect, negotiate, read. */
  readonly firstReadMs: number;
}

async function promote(pair: DemoPair, mirror: NodeProcess): Promise<PromoteTimes> {
  screen.step("Promoting the mirror: mirrorvol promote");
  const start = performance.now();
  const said = (await mirrorvol("promote", "--config", pair.mirror.config, VOLUME)).trim();
  const commandMs = performance.now() - start;
  screen.say(said);
  const client = await NbdClient.connect(mirror.ready.nbd!, VOLUME);
  await client.read(0, BLOCK_BYTES);
  const firstReadMs = performance.now() - start - commandMs;
  await client.disconnect();
  const { role, generation, sequence } = await reportOf(mirror);
  screen.say(`the mirror is now the ${role} of generation ${generation}, at sequence ${sequence}`);
  screen.check("the mirror is a source", role === "source");
  return { nodeMs: Number(/in ([\d.]+) ms/.exec(said)?.[1]), commandMs, firstReadMs };
}

async function readEverything(node: NodeProcess, title: string): Promise<void> {
  screen.step(title);
  const inDoubt = ledger.blocksInDoubt;
  const client = await NbdClient.connect(node.ready.nbd!, VOLUME);
  const { blocksRead, losses } = await readBack(client, ledger, QUEUE_DEPTH);
  await client.disconnect();
  screen.losses.push(...losses);
  const doubt = inDoubt > 0 ? `, ${inDoubt} of them in doubt before` : "";
  screen.say(`${blocksRead} blocks read and compared${doubt}; wrong: ${losses.length}`);
  for (const loss of losses.slice(0, 5)) screen.say(`  ${loss}`);
  screen.check(`${title.toLowerCase()}: all are right`, losses.length === 0);
}

async function loseMember(pair: DemoPair, mirror: NodeProcess): Promise<NodeProcess> {
  screen.step("Losing a disk: the node stops, one member is deleted, the node starts again");
  await mirror.stop();
  rmSync(pair.mirror.members[1]!);
  const restarted = await pair.serve(pair.mirror);
  const { state, degraded, members } = await reportOf(restarted);
  screen.say(
    `state: ${state}${degraded ? ", degraded" : ""}; members: ${members.map((member) => member.state).join(", ")}`,
  );
  screen.check("one member is missing", members.filter((member) => member.state !== "current").length === 1);
  await readEverything(restarted, "Reading every block again, one member short");
  return restarted;
}

function report(written: Written, times: PromoteTimes, mirrorCps: number): void {
  const number = (value: number) => value.toLocaleString("en-US");
  screen.table([
    ["writes acknowledged", `${number(written.writes)} (${Math.round(written.bytes / 1024 ** 2)} MiB)`],
    ["lost", number(screen.losses.length)],
    [
      "time to promote",
      `${times.nodeMs} ms (${Math.round(times.commandMs)} ms with the start of the command)`,
    ],
    ["time to first read", `${times.firstReadMs.toFixed(1)} ms after that`],
    ["bytes on the wire per byte written", written.wirePerByte.toFixed(3)],
    ["consistency points", `${written.sourceCps} on the source, ${mirrorCps} on the mirror`],
  ]);
}

async function keep(node: NodeProcess, interrupted: Promise<never>): Promise<void> {
  const url = `nbd://${node.ready.nbd}/${VOLUME}`;
  screen.step("The promoted mirror stays up (Ctrl-C ends it). Connect with, for instance");
  screen.say(`nbdinfo ${url}`);
  screen.say(`qemu-img convert -O raw ${url} copy.img`);
  screen.say(`nbd-client ${node.ready.nbd!.replace(":", " ")} /dev/nbd0 -name ${VOLUME}`);
  screen.say(`curl http://${node.ready.http}/status`);
  // From here on, being interrupted is how it ends.
  await Promise.race([node.finished, interrupted.catch(() => {})]);
}

function sum(streams: readonly WriteStream[], key: "underWay" | "acknowledgedWrites" | "acknowledgedBytes") {
  return streams.reduce((total, stream) => total + stream[key], 0);
}

async function waitFor<T>(look: () => Promise<T | null>): Promise<T | null> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const found = await look();
    if (found !== null || performance.now() > deadline) return found;
    await sleep(POLL_MS);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The first signal ends it in an orderly way, the second one at once (and our processes with us). */
function onInterrupt(): Promise<never> {
  return new Promise((_resolve, reject) => {
    let count = 0;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (++count > 1) process.exit(130);
        reject(new Error(`interrupted by ${signal}`));
      });
    }
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { keep: { type: "boolean", default: false } } });
  const interrupted = onInterrupt();
  const pair = new DemoPair();
  try {
    await demonstrate(pair, values.keep, interrupted);
  } catch (error) {
    screen.check(`it ran to its end: ${(error as Error).message}`, false);
  } finally {
    await pair.close();
  }
  return screen.verdict();
}

process.exitCode = await main();
