// A source's relationship with its mirror: connects, reconnects, and decides what clients may do meanwhile.
//
//   state         detail                     writes
//   degraded      connecting, refused, ...   wait, or go on alone (onMirrorLoss)
//   catching up   comparing, image round 2   the same
//   in sync                                  wait for the mirror, as their mode says
//   diverged      what differs               wait; after a restart they are refused
//   degraded      fenced                     refused, for good
//
// Loss. The mirror is lost when it is not connected, or does not confirm entries that wait, for mirrorTimeoutMs.
// "stop" leaves everything waiting. "continue" goes on alone: see standing.ts for what is made durable first.
// An image round of a mirror that was never in sync is not waited for in either case: nobody relies on it yet.
//
// Everything that changes what is durable runs in one line (`#inLine`), one after the other.

import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { WriteMode } from "../volume/pending.ts";
import { fenced } from "../volume/volume.ts";
import { CpMemory } from "./cp_memory.ts";
import type { Decision } from "./decide.ts";
import { Dialer } from "./dialer.ts";
import { fence } from "./fence.ts";
import { compareHistories, describeGeneration } from "./history.ts";
import { LogRelief } from "./log_relief.ts";
import type { BodyOf, MirrorState } from "./messages.ts";
import type { AppendedEntry, GenerationRecord, ReplicatedVolume } from "./port.ts";
import { SourceSession, type SourceSessionHost } from "./source_session.ts";
import { Standing } from "./standing.ts";
import { Watch } from "./watch.ts";

export interface MirrorTarget {
  /** Of the mirror's node: "ws://host:port". */
  readonly url: string;
  /** The volume's name over there. Default: its own. */
  readonly volume?: string;
  readonly mode: WriteMode;
  readonly onMirrorLoss: "stop" | "continue";
  /** Default 5000. */
  readonly mirrorTimeoutMs?: number;
}

export interface SourceRelationshipOptions {
  readonly world: World;
  readonly kernel: Kernel;
  readonly volume: ReplicatedVolume;
  readonly target: MirrorTarget;
  readonly secret: Uint8Array | null;
  /** What happens, for people; `name` for programs: mirrorstate, mirrorlost, fenced, diverged. */
  readonly onEvent?: (text: string, name: string) => void;
}

export type MirrorRelationState = "in sync" | "catching up" | "degraded" | "diverged";

export interface SourceRelationshipStatus {
  readonly state: MirrorRelationState;
  readonly detail: string;
  /** What the mirror is known to have made durable. */
  readonly acknowledgedSequence: number;
  readonly ledger: { readonly entries: number; readonly bytes: number };
  readonly aloneSince: number | null;
  readonly wire: { readonly sentBytes: number; readonly receivedBytes: number };
}

/** Why there is no session, and that trying again soon is of no use. */
interface Trouble {
  readonly state: "degraded" | "diverged";
  readonly text: string;
  /** Clients must not be served by a new generation either. */
  readonly isFatal: boolean;
}

const MIRROR_TIMEOUT_MS = 5000;
/** Alone and so little behind: writes wait for the mirror again. */
const REJOIN_LAG_ENTRIES = 256;

export class SourceRelationship implements SourceSessionHost {
  readonly #options: SourceRelationshipOptions;
  readonly #volume: ReplicatedVolume;
  readonly #onEvent: (text: string, name: string) => void;
  readonly #timeoutMs: number;
  readonly #memory = new CpMemory();
  readonly #standing: Standing;
  readonly #dialer: Dialer;
  readonly #watch: Watch;
  readonly #relief: LogRelief;
  #session: SourceSession | null = null;
  /** Of this source when the session began. */
  #sessionGeneration = 0;
  #trouble: Trouble | null = null;
  #notice = "";
  #isInSync = false;
  #isLossTold = false;
  #toldState: MirrorRelationState = "degraded";
  /** The mirror is in sync once it has everything up to here; null: not asked for yet. */
  #syncTarget: number | null = null;
  #isSyncSent = false;
  #wire = { sentBytes: 0, receivedBytes: 0 };
  #line: Promise<void> = Promise.resolve();
  #isStarted = false;
  #isClosed = false;
  #isFenced = false;

  constructor(options: SourceRelationshipOptions) {
    const { world, volume, target } = options;
    this.#options = options;
    this.#volume = volume;
    this.#onEvent = options.onEvent ?? (() => {});
    this.#timeoutMs = target.mirrorTimeoutMs ?? MIRROR_TIMEOUT_MS;
    this.#standing = new Standing(world, volume);
    this.#relief = new LogRelief(volume);
    this.#dialer = new Dialer({
      world,
      url: target.url,
      maxDelayMs: this.#timeoutMs,
      onConnected: (connection) => this.#begin(connection),
      onFailed: (reason) => this.#noteTrouble(`cannot connect: ${reason}`),
    });
    this.#watch = new Watch({
      clock: world.clock,
      timeoutMs: this.#timeoutMs,
      isWaiting: () => !this.#isConfirming() || volume.log.tail.sequence > this.#standing.mirrorDurable,
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
    const session = this.#session?.wire ?? { sentBytes: 0, receivedBytes: 0 };
    return {
      state: this.#state(),
      detail: this.#detail(),
      acknowledgedSequence: this.#standing.mirrorDurable,
      ledger: this.#standing.ledger,
      aloneSince: this.#volume.persisted.aloneSince,
      wire: {
        sentBytes: this.#wire.sentBytes + session.sentBytes,
        receivedBytes: this.#wire.receivedBytes + session.receivedBytes,
      },
    };
  }

  /** Idempotent. The volume is to be closed next: its gate stays as it is. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stop();
    await this.#line;
  }

  // ------------------------------------------------------------------------------------------ the volume

  #onAppended(entry: AppendedEntry): void {
    const { sequence } = entry;
    if (this.#standing.mirrorDurable === sequence - 1) this.#watch.progress();
    this.#standing.onAppended(entry);
    this.#session?.onAppended(entry);
    this.#relieve();
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
    const session = this.#session;
    if (isAlone && session?.isForwarding !== true) this.#relief.check(session?.round ?? 0);
  }

  // ------------------------------------------------------------------------------------------ the session

  #begin(connection: Parameters<Dialer["options"]["onConnected"]>[0]): void {
    const { world, kernel, target, secret } = this.#options;
    this.#session = new SourceSession({
      world,
      kernel,
      volume: this.#volume,
      connection,
      host: this,
      memory: this.#memory,
      name: target.volume ?? this.#volume.name,
      secret,
      timeoutMs: this.#timeoutMs,
      wantsReceived: target.mode !== "sync",
      hasServed: () => this.#standing.isOpen,
    });
    this.#sessionGeneration = this.#generation;
    this.#syncTarget = null;
    this.#isSyncSent = false;
  }

  get #generation(): number {
    const { history } = this.#volume.persisted;
    return history[history.length - 1]!.number;
  }

  async onDecision(session: SourceSession, decision: Decision, remote: MirrorState): Promise<boolean> {
    await this.#inLine(() => this.#take(session, decision, remote));
    return this.#session === session && !this.#isClosed && this.#trouble === null;
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
    this.#trouble = null;
    this.#standing.unrefuse();
    if (decision.kind === "image") await this.#beforeImage();
    if (decision.kind === "forward") this.#beforeForward(remote);
    this.#tell();
  }

  #beforeForward(remote: MirrorState): void {
    this.#dialer.succeeded();
    const { sequence } = remote.tail;
    this.#standing.setMirror(sequence, sequence);
    this.#syncTarget = this.#standing.isRequired ? this.#volume.log.tail.sequence : null;
    this.#isSyncSent = false;
  }

  /** The mirror has nothing to rely on now. */
  async #beforeImage(): Promise<void> {
    this.#isInSync = false;
    this.#syncTarget = null;
    const { onMirrorLoss } = this.#options.target;
    const isFirst = !this.#volume.persisted.everInSync;
    if (onMirrorLoss === "continue" || isFirst) {
      await this.#standing.goAlone();
      this.#relieve();
    }
    this.#standing.setMirror(0, 0);
  }

  onAck(session: SourceSession, received: number, durable: number): void {
    if (this.#session !== session) return;
    if (durable > this.#standing.mirrorDurable) {
      this.#watch.progress();
      this.#notice = "";
    }
    this.#standing.setMirror(received, Math.max(durable, this.#standing.mirrorDurable));
    this.#advance();
  }

  onLive(session: SourceSession): void {
    if (this.#session === session) this.#advance();
  }

  /** Alone and nearly caught up: wait for the mirror again. Waiting and caught up: say so to the mirror. */
  #advance(): void {
    const session = this.#session;
    if (session === null || !session.isForwarding || this.#isInSync || this.#isSyncSent) return;
    const { sequence } = this.#volume.log.tail;
    if (this.#syncTarget === null) {
      const lag = sequence - this.#standing.mirrorDurable;
      if (!session.isLive || lag > REJOIN_LAG_ENTRIES) return;
      this.#standing.require(true);
      this.#syncTarget = sequence;
    }
    if (this.#standing.mirrorDurable < this.#syncTarget) return;
    this.#isSyncSent = true;
    session.sendSync(this.#syncTarget);
  }

  onSynced(session: SourceSession, through: number): void {
    if (this.#session !== session || !this.#isSyncSent || through !== this.#syncTarget) return;
    this.#inLine(async () => {
      if (this.#session !== session || !this.#standing.isRequired) return;
      await this.#standing.rejoin();
      this.#isInSync = this.#session === session;
      this.#isLossTold = false;
      this.#watch.progress();
      this.#tell();
    });
  }

  onProgress(session: SourceSession): void {
    if (this.#session === session) this.#watch.progress();
  }

  onNotice(session: SourceSession, code: string, text: string): void {
    if (this.#session !== session) return;
    this.#notice = `${code}: ${text}`;
    this.#onEvent(`the mirror says ${this.#notice}`, "mirrorstate");
  }

  /** The mirror ends the connection and says why. A history in it decides more than the words. */
  onRefused(session: SourceSession, { code, text, history }: BodyOf<"refuse">): void {
    if (this.#session !== session) return;
    const relation = history.length > 0 ? compareHistories(this.#volume.persisted.history, history) : null;
    this.#inLine(async () => {
      if (relation?.kind === "older") return this.#fence(relation.next);
      if (relation?.kind === "diverged") {
        const reason = `${text}; ${relation.reason}`;
        return this.#refuseFatally("diverged", "ERR_DIVERGED", reason);
      }
      this.#giveUp("degraded", `the mirror refuses: ${code}: ${text}`, false);
    });
  }

  onClosed(session: SourceSession, reason: string, fault: MirrorvolError | null): void {
    if (this.#session !== session) return;
    const { sentBytes, receivedBytes } = session.wire;
    this.#wire.sentBytes += sentBytes;
    this.#wire.receivedBytes += receivedBytes;
    this.#session = null;
    this.#isInSync = false;
    this.#watch.progress();
    this.#noteTrouble(fault === null ? `connection lost: ${reason}` : `${fault.code}: ${fault.message}`);
    if (!this.#isClosed && !this.#isFenced) this.#dialer.dialLater();
  }

  // ------------------------------------------------------------------------------------------ loss

  #isConfirming(): boolean {
    return this.#session?.isForwarding ?? false;
  }

  /** mirrorTimeoutMs without a connection, or without a confirmation of what waits. */
  #lost(): void {
    const reason = this.#notice || (this.#trouble?.text ?? "no confirmation from the mirror");
    if (this.#session !== null) this.#session.close(`lost: ${reason}`);
    if (!this.#isLossTold) {
      this.#isLossTold = true;
      this.#onEvent(
        `the mirror is lost (${reason}), onMirrorLoss is "${this.#options.target.onMirrorLoss}"`,
        "mirrorlost",
      );
    }
    if (this.#options.target.onMirrorLoss === "continue") this.#inLine(() => this.#continueAlone());
  }

  async #continueAlone(): Promise<void> {
    const standing = this.#standing;
    if (this.#isClosed || this.#isFenced || !standing.isRequired || this.#trouble?.isFatal) return;
    // Whoever comes back in this very moment finds the new state, not a half of it.
    this.#session?.close("going on alone");
    if (standing.isOpen) await standing.goAlone();
    else {
      const record = await standing.branch();
      this.#onEvent(`goes on alone as ${describeGeneration(record)}`, "mirrorstate");
    }
    this.#relieve();
    this.#tell();
  }

  // ------------------------------------------------------------------------------------------ the end

  async #fence(by: GenerationRecord): Promise<void> {
    this.#isFenced = true;
    this.#stop();
    const ahead = this.#volume.log.tail.sequence - by.startSequence;
    const fork =
      ahead > 0
        ? `; entries ${by.startSequence + 1} to ${by.startSequence + ahead} are a fork, kept in the log`
        : "";
    this.#onEvent(`fenced by ${describeGeneration(by)}${fork}`, "fenced");
    this.#trouble = { state: "degraded", text: `fenced by ${describeGeneration(by)}`, isFatal: true };
    this.#standing.refuse(fenced(this.#volume.name, by));
    await fence(this.#volume, by);
  }

  #stayFenced(by: GenerationRecord): void {
    this.#isFenced = true;
    this.#trouble = { state: "degraded", text: `fenced by ${describeGeneration(by)}`, isFatal: true };
    this.#standing.refuse(fenced(this.#volume.name, by));
  }

  /** Serving clients who were served goes on as for a lost mirror; nobody else is served. */
  #refuseFatally(state: Trouble["state"], code: `ERR_${string}`, reason: string): void {
    const error = new MirrorvolError(code, `volume "${this.#volume.name}": ${reason}`);
    if (!this.#standing.isOpen) this.#standing.refuse(error);
    this.#giveUp(state, `${code}: ${reason}`, true);
  }

  #giveUp(state: Trouble["state"], text: string, isFatal: boolean): void {
    const isNews = this.#trouble?.text !== text;
    this.#trouble = { state, text, isFatal };
    this.#isInSync = false;
    this.#session?.close(text);
    this.#dialer.slowDown();
    if (!isNews) return;
    this.#toldState = state;
    this.#onEvent(`mirror ${state}: ${text}`, state === "diverged" ? "diverged" : "mirrorstate");
  }

  /** Keeps what was found out by talking to the mirror; otherwise remembers why there is no session. */
  #noteTrouble(text: string): void {
    if (this.#trouble?.isFatal !== true) this.#trouble = { state: "degraded", text, isFatal: false };
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
      this.#trouble = { state: "degraded", text, isFatal: false };
      this.#session?.close("internal error");
      this.#onEvent(text, "mirrorstate");
    });
    return this.#line;
  }

  // ------------------------------------------------------------------------------------------ for people

  #state(): MirrorRelationState {
    if (this.#trouble !== null) return this.#trouble.state;
    if (this.#isInSync) return "in sync";
    return this.#session === null ? "degraded" : "catching up";
  }

  #detail(): string {
    const parts = [this.#trouble?.text ?? this.#session?.detail ?? "connecting"];
    if (this.#notice !== "") parts.push(this.#notice);
    if (this.#standing.isAlone && !this.#isInSync)
      parts.push(`alone since ${this.#volume.persisted.aloneSince}`);
    else if (!this.#isInSync && !this.#isFenced) parts.push("waiting for the mirror");
    return parts.join("; ");
  }

  #tell(): void {
    const state = this.#state();
    if (state === this.#toldState) return;
    this.#toldState = state;
    this.#onEvent(`mirror ${state}: ${this.#detail()}`, "mirrorstate");
  }
}
