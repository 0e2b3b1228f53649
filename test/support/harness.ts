// What test files use instead of bare uvu: `suite`, `assert`, `skip` and `journal`.
//
// uvu can be green when it should not be. This wrapper closes these holes, together with test/run.ts:
//   - a hook that throws, or a test that throws something that is no Error, becomes a failure;
//   - a suite whose `.run()` was forgotten is reported;
//   - a test that never settles fails at its deadline (60 s, or what the file exports as `deadlineMs`);
//   - a skipped test has a reason, which is printed (`MIRRORVOL_NO_SKIP=1` turns skips into failures).

import * as uvu from "uvu";

export * as assert from "uvu/assert";

/** What uvu adds to every context. */
type Crumbs = { __suite__: string; __test__: string };
type Context = Record<string, unknown>;
type Hook<T> = (context: T) => Promise<void> | void;
type Each<T> = ((hook: Hook<T>) => void) & { each(hook: Hook<T>): void };

export interface Suite<T> {
  (name: string, handler: (context: T) => Promise<void> | void): void;
  only(name: string, handler: (context: T) => Promise<void> | void): void;
  skip(name: string, reason?: string | Hook<T>): void;
  before: Each<T>;
  after: Each<T>;
  run(): void;
}

/** What happened in this process so far; test/run.ts reads it when a file has ended. */
export const journal = {
  deadlineMs: 60_000,
  /** Names of suites that hold tests which `.run()` has not queued. */
  pending: new Set<string>(),
  /** `inside`: skipped while it ran, so uvu counts it among the passed ones. */
  skips: [] as { test: string; reason: string; inside: boolean }[],
  problems: [] as string[],
  onStart: (_test: string): void => {},
};

class Skipped {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

/** Ends the running test as skipped. Say what is missing, and what would have to be there. */
export function skip(reason: string): never {
  throw new Skipped(reason);
}

export function suite<T extends object = Context>(name: string, state?: T): Suite<T & Crumbs> {
  type C = T & Crumbs;
  const inner = uvu.suite<T>(name, state);
  const wrap = (test: string, handler: Hook<C>) => (context: C) =>
    runTest(`${name}: ${test}`, handler, context);
  const hook = (kind: string, register: (hook: Hook<C>) => void) => (handler: Hook<C>) =>
    register((context) => runHook(`${name}: ${kind}`, handler, context));
  const outer = ((test, handler) => {
    journal.pending.add(name);
    inner(test, wrap(test, handler));
  }) as Suite<C>;
  outer.only = (test, handler) => {
    journal.pending.add(name);
    journal.skips.push({ test: name, reason: `only "${test}" runs`, inside: false });
    inner.only(test, wrap(test, handler));
  };
  outer.skip = (test, reason) => {
    const said = typeof reason === "string" ? reason : "no reason given";
    journal.skips.push({ test: `${name}: ${test}`, reason: said, inside: false });
  };
  outer.before = Object.assign(hook("before", inner.before), {
    each: hook("before each", inner.before.each),
  });
  outer.after = Object.assign(hook("after", inner.after), { each: hook("after each", inner.after.each) });
  outer.run = () => {
    journal.pending.delete(name);
    inner.run();
  };
  return outer;
}

async function runTest<C>(test: string, handler: Hook<C>, context: C): Promise<void> {
  journal.onStart(test);
  try {
    await withDeadline(test, handler(context));
  } catch (error) {
    if (!(error instanceof Skipped)) throw asError(error);
    journal.skips.push({ test, reason: error.reason, inside: true });
  }
}

async function runHook<C>(name: string, handler: Hook<C>, context: C): Promise<void> {
  try {
    await withDeadline(name, handler(context));
  } catch (error) {
    journal.problems.push(`${name} threw: ${asError(error).stack}`);
    throw asError(error);
  }
}

async function withDeadline(name: string, work: Promise<void> | void): Promise<void> {
  if (!(work instanceof Promise)) return work;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const fail = () => reject(new Error(`${name}: did not end within ${journal.deadlineMs} ms`));
    timer = setTimeout(fail, journal.deadlineMs);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** uvu crashes while it formats anything else, and then counts the test as neither passed nor failed. */
function asError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  return new Error(`threw something that is no Error: ${String(thrown)}`);
}
