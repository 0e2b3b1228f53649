// Faults at the N-th system call of a real node, placed by strace: the call returns an error, or the process is
// killed in it. strace counts the calls of each thread for itself, so the node gets a thread pool of one thread:
// then all of its files' calls are in one order, and the N-th is the N-th of the node.
//
// strace runs beside the node, which keeps its own process id and exit code, and leaves a trace of every call that
// makes something durable: what came after a fault is seen there, whatever the node says about itself.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { isInstalled } from "./process_programs.ts";

export const TRACED_CALLS = ["fdatasync", "pwrite64", "pwritev"] as const;

export type TracedCall = (typeof TRACED_CALLS)[number];

export interface CallFault {
  readonly call: TracedCall;
  /** The first is 1. */
  readonly nth: number;
  readonly effect: "EIO" | "ENOSPC" | "SIGKILL";
  /** That call and all later ones; otherwise only that one. */
  readonly isLasting: boolean;
}

export interface TracedEvent {
  readonly call: TracedCall;
  readonly path: string;
  readonly isInjected: boolean;
}

/** Why this machine cannot do it, or null. */
export function straceObstacle(): string | null {
  if (!isInstalled("strace")) return "needs strace (Debian: strace)";
  const { status, stderr } = spawnSync("strace", ["-qq", "-o", "/dev/null", "true"], { encoding: "utf8" });
  return status === 0 ? null : `strace may not trace here: ${stderr.trim()}`;
}

/** What a node is to be run under: nothing happens without a fault but that the calls are traced. */
export function straceCommand(traceFile: string, fault: CallFault | null): string[] {
  const traced = [
    "-e",
    `trace=${TRACED_CALLS.join(",")}`,
    "-e",
    "signal=none",
    "-s",
    "0",
    "-y",
    "-o",
    traceFile,
  ];
  const injected = fault === null ? [] : ["-e", `inject=${fault.call}:${describeEffect(fault)}`];
  return [
    "env",
    "UV_THREADPOOL_SIZE=1",
    "strace",
    "-D",
    "-f",
    "-qq",
    "--seccomp-bpf",
    ...traced,
    ...injected,
  ];
}

function describeEffect({ effect, nth, isLasting }: CallFault): string {
  const action = effect === "SIGKILL" ? "signal=SIGKILL" : `error=${effect}`;
  return `${action}:when=${nth}${isLasting ? "+" : ""}`;
}

/** The calls in their order, of a node that has ended. */
export function readTrace(traceFile: string): TracedEvent[] {
  const events: TracedEvent[] = [];
  const line = /^\d+ +(fdatasync|pwrite64|pwritev)\(\d+<([^>]*)>(.*)$/;
  for (const text of readFileSync(traceFile, "utf8").split("\n")) {
    const match = line.exec(text);
    if (match !== null) {
      const [, call, path, rest] = match as unknown as [string, TracedCall, string, string];
      events.push({ call, path, isInjected: rest.includes("(INJECTED)") });
    } else if (/ resumed>.*\(INJECTED\)/.test(text)) {
      // One thread makes all of these calls: it is the last one that began.
      events.push({ ...events.pop()!, isInjected: true });
    }
  }
  return events;
}
