// One fault at one system call of one node, and everything that must hold after it.
//
//   fault                      the client                          the node that has it
//   one call fails             notices nothing                     goes on with one device less, and says which
//   every call fails from N    gets errors, at most                stops serving; the volume is there afterwards
//   killed in the call         loses its server, at most           comes back with everything
//
// In each case: no acknowledged write is lost, on whichever side it is read then; and after an fdatasync that
// failed there is no other one of the same file (the kernel has dropped what it could not write, and would say that
// all is well).
import { join } from "node:path";
import { assert } from "./harness.ts";
import type { ProcessLoad } from "./process_load.ts";
import type { ProcessPair } from "./process_pair.ts";
import type { ProcessSide } from "./process_side.ts";
import { type CallFault, readTrace, straceCommand, type TracedEvent } from "./process_strace.ts";

const WRITES_BEFORE_CP = 20;
const WRITES_AFTER_CP = 13;
const LOOK_MS = 50;
/** How the end of a node that a signal has ended is told. */
const KILLED = "ended with null";

export interface FaultCase {
  readonly source: ProcessSide;
  /** Null for a lone volume. */
  readonly pair: ProcessPair | null;
  readonly victim: ProcessSide;
  readonly fault: CallFault;
  readonly load: ProcessLoad;
}

/** False when the call never came. */
export async function runFaultCase(faultCase: FaultCase): Promise<boolean> {
  const { source, pair, victim, fault, load } = faultCase;
  const traceFile = join(victim.folder, "trace");
  const said = await live(faultCase, straceCommand(traceFile, fault));
  const trace = readTrace(traceFile);
  assertNoSecondSync(trace);
  const [injected] = trace.filter(({ isInjected }) => isInjected);
  if (injected !== undefined && isSingle(fault)) {
    assert.match(said, /degraded: (member|log copy) /, `it says nothing about ${injected.path}`);
  }
  if (pair !== null && fault.isLasting && victim === source) {
    // The source is lost: its mirror takes over.
    await pair.mirror.start();
  } else {
    await Promise.all([pair?.mirror.start(), source.start()]);
    await load.verify(source, "after the restart");
    if (injected !== undefined && isSingle(fault)) await assertLeftOut(victim, injected.path);
    if (pair === null) return injected !== undefined || said.includes(KILLED);
    await source.kill();
  }
  await pair.promote();
  await load.verify(pair.mirror, "on the promoted mirror");
  return injected !== undefined || said.includes(KILLED);
}

function isSingle({ effect, isLasting }: CallFault): boolean {
  return effect !== "SIGKILL" && !isLasting;
}

/** Both nodes from start to end, with load and a consistency point; returns what the victim said. */
async function live(faultCase: FaultCase, under: readonly string[]): Promise<string> {
  const { source, pair, victim, fault } = faultCase;
  const start = (side: ProcessSide) => side.start(side === victim ? under : []);
  let said = "";
  if (pair !== null) {
    const error = await start(pair.mirror).catch((cause: Error) => cause);
    if (error instanceof Error) said += refuseUnless(!isSingle(fault), error);
    if (!pair.mirror.isRunning) await pair.mirror.start();
  }
  const error = await start(source).catch((cause: Error) => cause);
  if (error instanceof Error) return said + refuseUnless(!isSingle(fault), error) + (await endAll(faultCase));
  const work = writeAll(faultCase);
  if (pair !== null && victim === pair.mirror && !isSingle(fault)) {
    said += await bringBack(pair.mirror, work);
  }
  const failure = await work;
  const mayFail = victim === source && !isSingle(fault);
  if (failure !== null) said += refuseUnless(mayFail, failure);
  return said + (await endAll(faultCase));
}

async function writeAll({ source, load }: FaultCase): Promise<Error | null> {
  return (
    (await load.tryToWrite(source, WRITES_BEFORE_CP)) ??
    (await source.consistencyPoint()) ??
    (await load.tryToWrite(source, WRITES_AFTER_CP))
  );
}

/** Without its mirror the source waits. When the mirror has stopped, it starts anew, without a fault. */
async function bringBack(mirror: ProcessSide, work: Promise<unknown>): Promise<string> {
  let isOver = false;
  const over = work.then(() => (isOver = true));
  const { finished } = mirror.process;
  let isEnded = false;
  finished.then(() => (isEnded = true));
  while (!isOver && !isEnded) {
    const state = await mirror.status().then(
      (status) => status.state,
      () => "gone",
    );
    if (state === "failed" || state === "refused") break;
    await Promise.race([over, finished, new Promise((resolve) => setTimeout(resolve, LOOK_MS))]);
  }
  if (isOver) return "";
  const said = await endOne(mirror, true);
  await mirror.start();
  return said;
}

/** What the victim's last process said. */
async function endAll({ source, pair, victim, fault }: FaultCase): Promise<string> {
  let said = "";
  for (const side of [source, pair?.mirror]) {
    if (side?.isRunning !== true) continue;
    const mayFail = side === victim && !isSingle(fault);
    const its = await endOne(side, mayFail);
    if (side === victim) said += its;
  }
  return said;
}

async function endOne(side: ProcessSide, mayFail: boolean): Promise<string> {
  const { code, signal, stderr } = await side.end();
  if (!mayFail) assert.is(code, 0, stderr);
  return signal === "SIGKILL" ? `${stderr}${KILLED}` : stderr;
}

function refuseUnless(isAllowed: boolean, error: Error): string {
  if (!isAllowed) throw error;
  return error.message;
}

function assertNoSecondSync(trace: readonly TracedEvent[]): void {
  const failed = new Set<string>();
  for (const { call, path, isInjected } of trace) {
    if (call !== "fdatasync") continue;
    assert.not.ok(failed.has(path), `${path} was synced again after a sync had failed`);
    if (isInjected) failed.add(path);
  }
}

/** The device is lost for good: it is not trusted after a restart either. */
async function assertLeftOut(side: ProcessSide, path: string): Promise<void> {
  const { members, log, degraded } = await side.status();
  const device = [...members, ...log].find((each) => path.startsWith(each.path));
  assert.ok(device !== undefined && degraded, path);
  assert.not.equal(device.state, "current", path);
}
