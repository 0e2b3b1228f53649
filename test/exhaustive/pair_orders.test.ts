// All orders of up to six events between a source, its mirror, and an old source that comes back (orders.ts says
// which), for both policies on the loss of a mirror, patiently and hastily; orders_run.ts says what must hold.
//
//   npm run test:only -- exhaustive/pair_orders          a share of them
//   npm run test:thorough -- exhaustive/pair_orders      all
//   MIRRORVOL_ORDER=continue:hasty:wnstp npm run test:only -- exhaustive/pair_orders
//                                                        that one alone

import { assert, suite } from "../support/harness.ts";
import { share } from "../support/thorough.ts";
import { allOrders } from "./orders.ts";
import { OrdersRun, type Pace } from "./orders_run.ts";
import type { Policy } from "./orders_world.ts";

export const deadlineMs = 3_600_000;

const test = suite("orders of events");
const LENGTH = 6;
/** So many orders of each policy and pace in `npm test`. */
const SHARE = 60;
/** A world serves so many orders, as long as nobody is promoted in it. */
const ORDERS_PER_WORLD = 32;

class Orders {
  readonly #first: OrdersRun;
  readonly #policy: Policy;
  readonly #pace: Pace;
  #run: OrdersRun | null = null;
  /** What the present world has seen. */
  #past: string[] = [];
  /** Orders whose last event had no effect. */
  readonly #idle = new Set<string>();
  count = 0;

  constructor(first: OrdersRun, policy: Policy, pace: Pace) {
    this.#first = first;
    this.#policy = policy;
    this.#pace = pace;
  }

  async try(order: string): Promise<void> {
    for (let end = 1; end < order.length; end++) if (this.#idle.has(order.slice(0, end))) return;
    const run = this.#run ?? (await this.#first.fork());
    this.#run = null;
    this.#past.push(order);
    try {
      const done = await run.run(order, this.#pace);
      if (done < order.length) this.#idle.add(order.slice(0, done + 1));
    } catch (error) {
      throw this.#describe(run, error);
    }
    this.count += 1;
    if (run.isAsNew && this.#past.length < ORDERS_PER_WORLD) this.#run = run;
    else this.#past = [];
  }

  #describe(run: OrdersRun, error: unknown): Error {
    const text = error instanceof Error ? error.message : String(error);
    const past = this.#past.slice(0, -1).join(" ");
    const before = past === "" ? "" : `, after ${past} in the same world`;
    const title = `order ${this.#policy}:${this.#pace}:${this.#past.at(-1)}${before}`;
    return new Error(`${title}: ${text}\n${run.world.describe()}`, { cause: error });
  }
}

async function runAll(policy: Policy, pace: Pace, orders: readonly string[]): Promise<void> {
  const all = new Orders(await OrdersRun.create(policy), policy, pace);
  const startMs = performance.now();
  for (const order of orders) await all.try(order);
  const ms = (performance.now() - startMs) / Math.max(1, all.count);
  console.log(`    ${policy}, ${pace}: ${all.count} orders of ${orders.length}, ${ms.toFixed(1)} ms each`);
}

const wanted = process.env["MIRRORVOL_ORDER"]?.split(":");

if (wanted === undefined) {
  const orders = share(allOrders(LENGTH), SHARE);
  for (const policy of ["stop", "continue"] as const) {
    for (const pace of ["patient", "hasty"] as const) {
      test(`${policy}, ${pace}: nothing is lost, no split goes unnoticed, healthy pairs go on`, async () => {
        await runAll(policy, pace, orders);
      });
    }
  }
} else {
  test(wanted.join(":"), async () => {
    const [policy, pace, order] = wanted as [Policy, Pace, string];
    await runAll(policy, pace, [order]);
  });
}

test("the orders are what they are said to be", () => {
  const orders = allOrders(4);
  assert.is(new Set(orders).size, orders.length);
  for (const order of ["wn", "nsp", "mws", "stpo", "ntwp"]) assert.ok(orders.includes(order), order);
  for (const order of ["ww", "nn", "xx", "p", "t", "ss"]) assert.not.ok(orders.includes(order), order);
});

test.run();
