// Whoever waits with an AbortSignal, however many wait with the same one: platforms warn when a signal has more than a
// few listeners, and are slow with many, so each signal gets one.

const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `abort` once when the signal is aborted, unless offAbort came before. */
export function onAbort(signal: AbortSignal, abort: () => void): void {
  let aborts = waiting.get(signal);
  if (aborts === undefined) {
    aborts = new Set();
    waiting.set(signal, aborts);
    const all = aborts;
    signal.addEventListener("abort", () => callAll(all), { once: true });
  }
  aborts.add(abort);
}

export function offAbort(signal: AbortSignal, abort: () => void): void {
  waiting.get(signal)?.delete(abort);
}

/** Settles a promise once, also when the signal comes first, and lets go of the signal then. */
export function settleOnce(
  resolve: () => void,
  reject: (error: unknown) => void,
  signal: AbortSignal | undefined,
  onGivenUp: () => void,
): (error: unknown) => void {
  const abort = () => {
    onGivenUp();
    reject(signal?.reason);
  };
  if (signal !== undefined) onAbort(signal, abort);
  return (error) => {
    if (signal !== undefined) offAbort(signal, abort);
    if (error) reject(error);
    else resolve();
  };
}

function callAll(aborts: Set<() => void>): void {
  const all = [...aborts];
  aborts.clear();
  for (const abort of all) abort();
}
