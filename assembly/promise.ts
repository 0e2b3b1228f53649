// Asserts without static data: a broken promise calls the host with a number, and then traps.

declare function fail(promise: i32): void;

/** Stops when the caller broke what it promised. Once a call, never once a byte. */
export function promised(condition: bool, promise: i32): void {
  if (condition) return;
  fail(promise);
  unreachable();
}
