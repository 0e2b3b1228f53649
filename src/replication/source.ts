// A source's relationship with its mirror: connects, reconnects, and decides what clients may do meanwhile.
//
//   state         detail                     writes
//   degraded      connecting, refused, ...   wait, or go on alone (onMirrorLoss)
//   catching up   comparing, image round 2   the same
//   in sync                                  wait for the mirror, as their mode says
//   diverged      what differs               as for a lost mirror; after a restart they are refused
//   degraded      fenced                     refused, for good
//
// Loss. The mirror is lost when for mirrorTimeoutMs it is not connected, or does not confirm what waits for it.
// "stop" leaves everything waiting. "continue" goes on alone: standing.ts says what is made durable first. A
// mirror that was never in sync is not waited for in either case: nobody relies on it yet.
//
// Everything that changes what is durable runs in one line (`#inLine`), one after the other.

import { ENTRY_KIND, ENTRY_KIND_SEAL } from "../../assembly/format.ts";
import type { Connection } from "../io/transport.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { fenced } from "../volume/refusals.ts";
import { UnderWay } from "../volume/under_way.ts";
import { CatchUp } from "./catch_up.ts";
import { CpMemory } from "./cp_memory.ts";
import type { Decision } from "./decide.ts";
import { Dialer } from "./dialer.ts";
import { fence } from "./fence.ts";
import { compareHistories, describeFork, describeGeneration, newestOf } from "./history.ts";
import { LogRelief } from "./log_relief.ts";
import type { BodyOf, MirrorState } from "./messages.ts";
import type { AppendedEntry, GenerationRecord, ReplicatedVolume } from "./port.ts";
import { RelationReport, type Trouble } from "./relation_report.ts";
import { RingHold } from "./ring_hold.ts";
import type { SourceSessionHost } from "./session_host.ts";
import { SourceSession } from "./source_session.ts";
import { addWire, type SourceRelationshipOptions, type SourceRelationshipStatus } from "./source_types.ts";
import { Standing } from "./standing.ts";
import { Watch } from "./watch.ts";

export type { MirrorTarget, SourceRelationshipOptions, SourceRelationshipStatus } from "./source_types.ts";

const MIRROR_TIMEOUT_MS = 5000;

export class SourceRelationship implements SourceSessionHost {
  readonly #options: SourceRelationshipOptions;
  readonly #volume: ReplicatedVolume;
  readonly #report: RelationReport;
  readonly #timeoutMs: number;
  readonly #memory = new CpMemory();
  readonly #ring: RingHold;
  readonly #underWay = new UnderWay();
  readonly #standing: Standing;
  readonly #catchUp = new CatchUp();
  readonly #dialer: Dialer;
  readonly #watch: Watch;
  readonly #relief: LogRelief;
  #session: SourceSession | null = null;
  /** Of this source when the session began. */
  #sessionGeneration = 0;
  #isInSync = false;
  #wire = addWire();
  #line: Promise<void> = Promise.resolve();
  #isStarted = false;
  #isClosed = false;
  #isFenced = false;

  constructor(options: SourceRelationshipOptions) {
    const { world, volume, target } = options;
    this.#options = options;
    this.#volume = volume;
    this.#report = new RelationReport(options.onEvent ?? (() => {}));
    this.#timeoutMs = target.mirrorTimeoutMs ?? MIRROR_TIMEOUT_MS;
    this.#standing = new Standing(world, volume);
    this.#relief = new LogRelief(volume);
    this.#ring = new RingHold(volume);
    this.#dialer = new Dialer({
      world,
      url: target.url,
      maxDelayMs: this.#timeoutMs,
      onConnected: (connection) => this.#begin(connection),
      onFailed: (reason) => this.#noteFailure(`cannot connect: ${reason}`),
    });
    this.#watch = new Watch({
      clock: world.clock,
      timeoutMs: this.#timeoutMs,
      isWaiting: () => this.#isWaiting,
      onExpired: () => this.#lost(),
    });
  }

  /** Begins to connect. Clients wait until both sides have agreed, or `onMirrorLoss` lets them go on. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    const { fencedBy } = this.#volume.persisted;
    if (fencedBy !== null) return this.#stayFenced(fencedBy);
    this.#volume.onAppended = (entry) => this.#onAppended(entry);
    this.#volume.cpObserver = {
      begin: ({ cp }) => this.#onCpProgress(() => (this.#memory.begun = Math.max(this.#memory.begun, cp))),
      rootHash: (cp, root) => this.#onCpProgress(() => this.#memory.setRoot(cp, root)),
      committed: (cp, root) => this.#onCpCommitted(cp, root),
    };
    this.#inLine(() => this.#standing.restoreLedger());
    this.#watch.start();
    this.#dialer.dial();
  }

  status(): SourceRelationshipStatus {
    return {
      state: this.#state,
      detail: this.#detail,
      acknowledgedSequence: this.#standing.mirrorDurable,
      ledger: this.#standing.ledger,
      aloneSince: this.#volume.persisted.aloneSince,
      wire: addWire(this.#wire, this.#session?.wire),
    };
  }

  /** Idempotent. The volume is to be closed next: its gate stays as it is. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stop();
    await this.#line;
    await this.#underWay.ended();
  }

  // ------------------------------------------------------------------------------------------ the volume

  #onAppended(entry: AppendedEntry): void {
    if (this.#standing.mirrorDurable === entry.sequence - 1) this.#watch.progress();
    this.#standing.onAppended(entry);
    this.#session?.onAppended(entry);
    if (entry.view[ENTRY_KIND] === ENTRY_KIND_SEAL) this.#relieve();
  }

  #onCpProgress(note: () => void): void {
    note();
    this.#session?.onCpProgress();
  }

  #onCpCommitted(cp: number, root: Uint8Array): void {
    this.#memory.setRoot(cp, root);
    this.#session?.onCpCommitted(cp, root);
    this.#relieve();
  }

  /** Alone, the log is kept for the mirror's sake only as long as there is room. */
  #relieve(): void {
    const isAlone = this.#standing.isAlone && !this.#standing.isRequired;
    if (isAlone && !this.#session?.isForwarding) this.#relief.check(this.#session?.round ?? 0);
  }

  // ------------------------------------------------------------------------------------------ the session

  #begin(connection: Connection): void {
    if (this.#standing.isDemoted) {
      this.#stop();
      return connection.close("the volume is a source no longer");
    }
    const { world, kernel, target, secret } = this.#options;
    this.#session = new SourceSession({
      world,
      kernel,
      volume: this.#volume,
      connection,
      host: this,
      memory: this.#memory,
      ring: this.#ring,
      underWay: this.#underWay,
      name: target.volume ?? this.#volume.name,
      secret,
      timeoutMs: this.#timeoutMs,
      wantsReceived: target.mode !== "sync",
      hasServed: () => this.#standing.isOpen,
    });
    this.#sessionGeneration = this.#generation;
  }

  get #generation(): number {
    return newestOf(this.#volume.persisted.history).number;
  }

  async onDecision(session: SourceSession, decision: Decision, remote: MirrorState): Promise<boolean> {
    await this.#inLine(() => this.#take(session, decision, remote));
    return this.#session === session && !this.#isClosed && this.#report.trouble === null;
  }

  async #take(session: SourceSession, decision: Decision, remote: MirrorState): Promise<void> {
    if (this.#session !== session || this.#isClosed) return;
    // What was compared is not what we are any more.
    if (this.#sessionGeneration !== this.#generation) return session.close("a new generation began");
    this.#watch.progress();
    if (decision.kind === "fenced") return this.#fence(decision.by);
    if (decision.kind === "diverged") return this.#refuseFatally("diverged", "ERR_DIVERGED", decision.reason);
    if (decision.kind === "lost") {
      return this.#refuseFatally("degraded", "ERR_SOURCE_LOST_ENTRIES", decision.reason);
    }
    if (decision.kind === "refused")
      return this.#giveUp("degraded", `${decision.code}: ${decision.reason}`, false);
    this.#report.clearTrouble();
    this.#standing.unrefuse();
    if (decision.kind === "image") await this.#beforeImage();
    if (decision.kind === "forward") this.#beforeForward(remote);
    this.#tell();
  }

  #beforeForward(remote: MirrorState): void {
    this.#dialer.succeeded();
    this.#standing.setMirror(remote.tail.sequence, remote.tail.sequence);
    this.#catchUp.begin(this.#standing.isRequired ? this.#volume.log.tail.sequence : null);
  }

  /** The mirror has nothing to rely on now. */
  async #beforeImage(): Promise<void> {
    this.#isInSync = false;
    const isFirst = !this.#volume.persisted.everInSync || this.#standing.isAlone;
    if (this.#options.target.onMirrorLoss === "continue" || isFirst) {
      await this.#standing.goAlone();
      this.#relieve();
    }
    this.#standing.setMirror(0, 0);
  }

  onAck(session: SourceSession, received: number, durable: number): void {
    if (this.#session !== session) return;
    if (durable > this.#standing.mirrorDurable) {
      this.#watch.progress();
      this.#report.clearNotice();
    }
    this.#standing.setMirror(received, Math.max(durable, this.#standing.mirrorDurable));
    this.#advance();
  }

  onLive(session: SourceSession): void {
    if (this.#session === session) this.#advance();
  }

  #advance(): void {
    const session = this.#session;
    if (session === null || !session.isForwarding || this.#isInSync) return;
    const tail = this.#volume.log.tail.sequence;
    const { mirrorDurable } = this.#standing;
    const { isLogFull } = this.#relief;
    const step = this.#catchUp.next({ tail, mirrorDurable, isLive: session.isLive, isLogFull });
    if (step === "nothing") return;
    if (step === "wait for it") this.#standing.require(true);
    else session.sendSync(this.#catchUp.target);
    this.#advance();
  }

  onSynced(session: SourceSession, through: number): void {
    if (this.#session !== session || !this.#catchUp.isAnswer(through)) return;
    this.#inLine(async () => {
      if (this.#session !== session || !this.#standing.isRequired) return;
      await this.#standing.rejoin();
      this.#isInSync = this.#session === session;
      this.#watch.progress();
      this.#tell();
    });
  }

  onProgress(): void {
    this.#watch.progress();
  }

  onNotice(session: SourceSession, code: string, text: string): void {
    if (this.#session === session) this.#report.notice(`${code}: ${text}`);
  }

  /** The mirror ends the connection and says why. A history in it decides more than the words. */
  onRefused(session: SourceSession, { code, text, history }: BodyOf<"refuse">): void {
    if (this.#session !== session) return;
    const relation = history.length > 0 ? compareHistories(this.#volume.persisted.history, history) : null;
    this.#inLine(async () => {
      if (relation?.kind === "older") return this.#fence(relation.next);
      if (relation?.kind === "diverged") {
        return this.#refuseFatally("diverged", "ERR_DIVERGED", `${text}; ${relation.reason}`);
      }
      this.#giveUp("degraded", `the mirror refuses: ${code}: ${text}`, false);
    });
  }

  onClosed(session: SourceSession, reason: string, fault: MirrorvolError | null): void {
    if (this.#session !== session) return;
    this.#wire = addWire(this.#wire, session.wire);
    this.#session = null;
    this.#isInSync = false;
    this.#watch.progress();
    this.#noteFailure(fault === null ? `connection lost: ${reason}` : `${fault.code}: ${fault.message}`);
    this.#relieve();
    if (!this.#isClosed && !this.#isFenced) this.#dialer.dialLater();
  }

  // ------------------------------------------------------------------------------------------ loss

  /** For a connection, for entries to be confirmed, or with a full log for a consistency point. */
  get #isWaiting(): boolean {
    const session = this.#session;
    if (!session?.isForwarding) return !(this.#standing.isAlone && this.#relief.isEarly(session?.round ?? 0));
    const isConfirmed = this.#volume.log.tail.sequence <= this.#standing.mirrorDurable;
    return !isConfirmed || (session.isCpOwed && this.#relief.isLogFull);
  }

  /** mirrorTimeoutMs without a connection, or without a confirmation of what waits. */
  #lost(): void {
    const { onMirrorLoss } = this.#options.target;
    this.#report.lost(onMirrorLoss);
    this.#session?.close(`no confirmation within ${this.#timeoutMs} ms`);
    if (onMirrorLoss === "continue") this.#inLine(() => this.#continueAlone());
  }

  async #continueAlone(): Promise<void> {
    const standing = this.#standing;
    if (standing.isDemoted) return this.#stop();
    if (this.#isClosed || this.#isFenced || !standing.isRequired) return;
    // Whoever was served goes on; nobody begins without what only the mirror may have.
    if (!standing.isOpen && this.#report.trouble?.isFatal) return;
    // Whoever comes back in this very moment finds the new state, not a half of it.
    this.#session?.close("going on alone");
    if (standing.isOpen) await standing.goAlone();
    else {
      const record = await standing.branch();
      this.#report.note(`goes on alone as ${describeGeneration(record)}`);
    }
    this.#relieve();
    this.#tell();
  }

  // ------------------------------------------------------------------------------------------ the end

  async #fence(by: GenerationRecord): Promise<void> {
    this.#stop();
    this.#stayFenced(by);
    await fence(this.#volume, by);
  }

  #stayFenced(by: GenerationRecord): void {
    this.#isFenced = true;
    this.#report.fence(`fenced by ${describeGeneration(by)}`, describeFork(by, this.#volume.log.tail));
    this.#standing.refuse(fenced(this.#volume.name, by));
  }

  /** Serving clients who were served goes on as for a lost mirror; nobody else is served. */
  #refuseFatally(state: Trouble["state"], code: `ERR_${string}`, reason: string): void {
    const error = new MirrorvolError(code, `volume "${this.#volume.name}": ${reason}`);
    if (!this.#standing.isOpen) this.#standing.refuse(error);
    this.#giveUp(state, `${code}: ${reason}`, true);
  }

  #giveUp(state: Trouble["state"], text: string, isFatal: boolean): void {
    this.#isInSync = false;
    this.#session?.close(text);
    this.#dialer.slowDown();
    this.#report.giveUp({ state, text, isFatal });
  }

  #noteFailure(text: string): void {
    this.#report.noteFailure(text);
    this.#tell();
  }

  #stop(): void {
    this.#dialer.close();
    this.#watch.stop();
    this.#session?.close("closing");
    if (!this.#isStarted) return;
    this.#volume.onAppended = null;
    this.#volume.cpObserver = null;
  }

  #inLine(work: () => Promise<void> | void): Promise<void> {
    this.#line = this.#line.then(work).catch((error: unknown) => {
      const text = error instanceof MirrorvolError ? `${error.code}: ${error.message}` : String(error);
      this.#report.noteFailure(text);
      this.#session?.close("internal error");
      this.#report.note(text);
    });
    return this.#line;
  }

  // ------------------------------------------------------------------------------------------ for people

  get #state() {
    return this.#report.stateOf(this.#session !== null, this.#isInSync);
  }

  get #detail(): string {
    return this.#report.detailOf(this.#session?.detail ?? "connecting", this.#describeStanding());
  }

  #describeStanding(): string {
    if (this.#isInSync || this.#isFenced) return "";
    const { aloneSince } = this.#volume.persisted;
    return this.#standing.isAlone ? `alone since ${aloneSince}` : "waiting for the mirror";
  }

  #tell(): void {
    this.#report.tell(this.#state, this.#detail);
  }
}
