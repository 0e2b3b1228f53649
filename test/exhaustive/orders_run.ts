// One order of events, run in a small world, and what must be true after it.
//
// After the last event every fault stops: the network is up, every machine is started.
//
//   no promotion     the pair comes into sync by itself: nothing acknowledged or read is lost, alone or not, the
//                    logs have one chain, the same consistency point has the same root hash, writes go on
//   a promotion      the promoted one has every write that was acknowledged with the mirror, and serves. The old
//                    source hears of it, and says so: it is fenced or diverged. Then the roles are exchanged
//                    (unless they are already): either the old source follows, and nothing that it ever acknowledged
//                    is missing on either side, or the two have diverged, which must be true, and nothing of the old
//                    source's log is gone

import { promoteVolume } from "../../src/node/promote.ts";
import { assert } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";
import type { OrderEvent } from "./orders.ts";
import { Clients, LBAS } from "./orders_clients.ts";
import { type Machine, OrdersWorld, type Policy, TIMEOUT_MS } from "./orders_world.ts";

/** Everything has come to rest before the next event, or hardly anything has. */
export type Pace = "patient" | "hasty";

/** A source finds its mirror again within this time, however long it was away. */
const PATIENCE_MS = 1500;

export class OrdersRun {
  readonly world: OrdersWorld;
  readonly #clients: Clients;
  readonly #a: Machine;
  readonly #b: Machine;
  #pace: Pace = "patient";
  /** Of the events so far, so that orders that begin alike run alike. */
  #hash = 0;
  #isPromoted = false;
  #isForced = false;
  #isExchanged = false;
  #wasAlone = false;
  #promotionSequence = 0;

  static async create(policy: Policy): Promise<OrdersRun> {
    const world = await OrdersWorld.create(policy);
    const run = new OrdersRun(world);
    for (let lba = 0; lba < LBAS; lba++) run.#write();
    await run.#quiet();
    await run.#consistencyPoint();
    run.#write();
    await run.#quiet();
    return run;
  }

  /** The same past in a world of its own; this one has not taken any order. */
  async fork(): Promise<OrdersRun> {
    const run = new OrdersRun(this.world.fork(), this.#clients);
    await run.world.openBoth();
    return run;
  }

  private constructor(world: OrdersWorld, past?: Clients) {
    this.world = world;
    this.#a = world.a;
    this.#b = world.b;
    this.#clients = new Clients(world, past);
  }

  /** Whether it may take another order: nobody was promoted. */
  get isAsNew(): boolean {
    return !this.#isPromoted;
  }

  /** Runs the order and checks the end. Returns how many events had an effect before one that had none. */
  async run(order: string, pace: Pace): Promise<number> {
    this.#pace = pace;
    this.#hash = 1;
    let done = 0;
    for (const event of order) {
      this.#hash = (Math.imul(this.#hash, 31) + event.charCodeAt(0)) >>> 0;
      if (!(await this.#step(event as OrderEvent))) break;
      done += 1;
      await this.#rest();
    }
    await this.#heal();
    assert.is(this.#clients.problems.join("; "), "");
    if (this.#isPromoted) this.world.end();
    await settle();
    this.world.recycle();
    return done;
  }

  // ------------------------------------------------------------------------------------------- the events

  /** False: it had no effect. */
  async #step(event: OrderEvent): Promise<boolean> {
    switch (event) {
      case "w":
        return this.#write();
      case "c":
        return this.#requestPoint();
      case "x":
        this.world.network.cutAll("the link broke");
        return true;
      case "n":
        return this.#toggleNetwork();
      case "t":
        await this.world.clock.advance(2 * TIMEOUT_MS + 100);
        return true;
      case "s":
        return this.#toggle(this.#a);
      case "m":
        return this.#toggle(this.#b);
      case "p":
      case "f":
        return this.#promote(event === "f");
      case "o":
        return this.#exchange();
    }
  }

  get #serving(): Machine[] {
    return [this.#a, this.#b].filter((machine) => machine.isSource);
  }

  #write(): boolean {
    for (const machine of this.#serving) this.#clients.write(machine);
    return this.#serving.length > 0;
  }

  #requestPoint(): boolean {
    for (const { volume } of this.#serving) volume.consistencyPoint().catch(() => {});
    return this.#serving.length > 0;
  }

  #toggleNetwork(): boolean {
    const { network } = this.world;
    network.isDown = !network.isDown;
    if (network.isDown) network.cutAll("the network is down");
    return true;
  }

  async #toggle(machine: Machine): Promise<boolean> {
    if (machine.isUp) this.#crash(machine);
    else await this.world.open(machine);
    return true;
  }

  #crash(machine: Machine): void {
    this.#note();
    this.#clients.crashed(machine);
    const kinds = ["drop", "keep", this.#hash] as const;
    this.world.crash(machine, kinds[this.#hash % 3]!);
  }

  async #promote(isForced: boolean): Promise<boolean> {
    this.#note();
    if (!this.#b.isUp || this.#isPromoted) return false;
    const { world, service, volume } = this.#b.running!;
    const promoting = promoteVolume(world, service, volume, { force: isForced });
    const code = await this.world.finish(
      "promotion",
      promoting.then(() => "", codeOf),
    );
    if (code !== "") {
      this.#checkRefusal(code, isForced);
      return false;
    }
    const promotion = await promoting;
    this.#isPromoted = true;
    this.#isForced = promotion.isForced;
    this.#promotionSequence = promotion.startSequence;
    this.#clients.promoted();
    return true;
  }

  #checkRefusal(code: string, isForced: boolean): void {
    const reasons = isForced ? ["ERR_SOURCE_CONNECTED"] : ["ERR_SOURCE_CONNECTED", "ERR_NOT_IN_SYNC"];
    assert.ok(reasons.includes(code), `promotion was refused with ${code}`);
    assert.ok(code !== "ERR_NOT_IN_SYNC" || this.#wasAlone, "it is in sync: its source was never alone");
    assert.ok(code !== "ERR_SOURCE_CONNECTED" || this.#a.isUp, "the source is not connected: it is down");
  }

  /** A person names the old source as the mirror of the promoted one, and starts both again. */
  async #exchange(): Promise<boolean> {
    if (!this.#isPromoted || this.#isExchanged || !this.#b.isUp) return false;
    if (this.#a.isUp) this.#crash(this.#a);
    this.#clients.crashed(this.#b);
    await this.world.finish("closing", this.world.close(this.#b));
    this.#b.mirror = this.#a;
    this.#isExchanged = true;
    await this.world.open(this.#a);
    await this.world.open(this.#b);
    return true;
  }

  #note(): void {
    const { running } = this.#a;
    this.#wasAlone ||= running !== null && running.volume.persisted.aloneSince !== null;
  }

  // --------------------------------------------------------------------------------------------- the pace

  async #rest(): Promise<void> {
    this.#note();
    if (this.#pace === "patient") return this.#quiet();
    await settle(this.#hash % 300);
    if (this.#hash % 4 === 0) await this.world.clock.advance(40);
  }

  /** Until those that can reach each other have agreed; the others have had their turns. */
  async #quiet(): Promise<void> {
    const isReachable = this.#a.isUp && this.#b.isUp && !this.world.network.isDown;
    const withinMs = isReachable ? PATIENCE_MS : 0;
    await this.world.wait(withinMs, () => isReachable && this.#isAgreed);
    this.#note();
  }

  get #isAgreed(): boolean {
    if (this.#clients.isAnyWaiting && !this.#isPromoted) return false;
    const source = this.#isExchanged ? this.#b : this.#a;
    return source.state === "in sync" || source.state === "diverged" || this.#isNoticed;
  }

  // ----------------------------------------------------------------------------------------------- the end

  async #heal(): Promise<void> {
    const { world } = this;
    world.network.isDown = false;
    for (const machine of [this.#b, this.#a]) if (!machine.isUp) await world.open(machine);
    if (!this.#isPromoted) return this.#checkPair();
    await this.#checkPromoted();
    if (!this.#isExchanged) {
      await world.until("the old source notices the promotion", () => this.#isNoticed);
      await this.#exchange();
    }
    await world.until("an agreement", () => ["in sync", "diverged"].includes(this.#b.state));
    if (this.#b.state === "in sync") await this.#checkFollows();
    else await this.#checkDiverged();
  }

  /** The old source says that it is one. */
  get #isNoticed(): boolean {
    if (!this.#isPromoted || !this.#a.isUp) return false;
    return this.#a.volume.persisted.fencedBy !== null || this.#a.state === "diverged";
  }

  async #checkPair(): Promise<void> {
    const { world } = this;
    await world.until("in sync", () => this.#a.state === "in sync" && !this.#clients.isAnyWaiting);
    const { writes } = this.#clients;
    const acknowledged = writes.filter((write) => write.isAcknowledged);
    await this.#clients.check(this.#a, writes, acknowledged);
    await this.#checkProgress(this.#a, this.#b);
    this.#clients.begin(await this.#clients.check(this.#a, writes, acknowledged));
    this.#wasAlone = false;
  }

  async #checkPromoted(): Promise<void> {
    const { writes, beforePromotion } = this.#clients;
    const own = writes.filter((write) => write.machine === this.#b);
    const theirs = beforePromotion.filter((write) => write.machine === this.#a);
    const promised = theirs.filter((write) => write.isAcknowledged && !write.isAlone && !this.#isForced);
    const floor = [...promised, ...own.filter((write) => write.isAcknowledged)];
    if (this.#isExchanged) {
      // A promoted one that knows that the two have diverged serves nobody before a person has decided.
      await this.world.until("an agreement", () => ["in sync", "diverged"].includes(this.#b.state));
      if (this.#b.state === "diverged") return;
    }
    await this.#clients.check(this.#b, [...theirs, ...own], floor);
  }

  /** The old source is a mirror now: nothing that it acknowledged was put away for that. */
  async #checkFollows(): Promise<void> {
    const { writes, beforePromotion } = this.#clients;
    const isTheirs = (write: (typeof writes)[number]) => write.machine === this.#a && write.isAcknowledged;
    const own = writes.filter((write) => write.machine === this.#b);
    const floor = [...writes.filter(isTheirs), ...own.filter((write) => write.isAcknowledged)];
    await this.#clients.check(this.#b, [...beforePromotion, ...own], floor);
    await this.#checkProgress(this.#b, this.#a);
  }

  /** It has something that the promoted one lacks, entries or at least a generation, and keeps it. */
  async #checkDiverged(): Promise<void> {
    const { position, history } = this.#a.volume;
    const isOurs = (id: bigint) => this.#b.volume.history.some((each) => each.id === id);
    const hasMore = position.sequence > this.#promotionSequence || !history.every(({ id }) => isOurs(id));
    const text = `the old source ends at ${position.sequence}, the promotion was at ${this.#promotionSequence}`;
    assert.ok(hasMore, `nothing has diverged: ${text}`);
    assert.ok(this.#b.running!.relationship!.status().detail.length > 0, "it does not say why");
  }

  /** A write is acknowledged, and the next consistency point is the same on both sides. */
  async #checkProgress(source: Machine, mirror: Machine): Promise<void> {
    const { world } = this;
    this.#clients.write(source);
    await world.until("a write goes on", () => !this.#clients.isAnyWaiting);
    await world.finish("a consistency point", source.volume.consistencyPoint());
    await world.until("the mirror's consistency point", () => mirror.volume.cp === source.volume.cp);
    assert.equal(mirror.volume.rootHash, source.volume.rootHash, "root hashes");
    const last = Math.min(source.volume.position.sequence, mirror.volume.position.sequence);
    const [ours, theirs] = [await source.volume.log.chainAt(last), await mirror.volume.log.chainAt(last)];
    assert.is(theirs, ours, `the chains at sequence ${last}`);
  }

  async #consistencyPoint(): Promise<void> {
    await this.world.finish("a consistency point", this.#a.volume.consistencyPoint());
    await this.world.until("the same", () => this.#a.volume.cp === this.#b.volume.cp);
  }
}

function codeOf(error: { code?: string }): string {
  return error.code ?? String(error);
}
