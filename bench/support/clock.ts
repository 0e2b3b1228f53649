// Milliseconds that mean the same in every process of this machine: what one of them says happened at a time
// can be laid beside what another one measured.

/** performance.now() begins anew in each process; the monotonic clock behind it does not. */
const offsetMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

export function nowMs(): number {
  return performance.now() + offsetMs;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
