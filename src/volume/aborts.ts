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

function callAll(aborts: Set<() => void>): void {
  const all = [...aborts];
  aborts.clear();
  for (const abort of all) abort();
}
