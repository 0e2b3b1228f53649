// A source's side of one connection: handshake, comparison, and what was decided, until the link ends.
//
//   challenge -> proof -> comparing -> forwarding
//                         comparing -> adopting -> comparing
//                         comparing -> imaging  -> comparing
//                         forwarding -> imaging                a root hash differed
//
// The session does what `decide` says, once its host (source.ts) has said that it may, and has told the clients.

import { MirrorvolError } from "../kernel/errors.ts";
import { bytesEqual } from "../volume/words.ts";
import { CpSender } from "./cp_sender.ts";
import { type Decision, decide, isBlank } from "./decide.ts";
import { EntryTaker } from "./entry_taker.ts";
import { wireFault } from "./fields.ts";
import { Forwarder } from "./forwarder.ts";
import { isHistory, newestOf } from "./history.ts";
import { ImageServer } from "./image_server.ts";
import { Link } from "./link.ts";
import type { BodyOf, Message, MessageName, MirrorState } from "./messages.ts";
import { describeSide, retentionFor } from "./mirror_state.ts";
import type { AppendedEntry, Generation, ReplicatedVolume } from "./port.ts";
import type { SourceSessionOptions } from "./session_host.ts";
import { SourceHandshake } from "./source_handshake.ts";

type Phase = "challenge" | "proof" | "state" | "comparing" | "adopting" | "imaging" | "forwarding" | "closed";

const ALWAYS: readonly MessageName[] = ["refuse", "notice"];
const ALLOWED: Record<Phase, readonly MessageName[]> = {
  challenge: ["challenge"],
  proof: ["proof"],
  state: ["mirrorState"],
  // What a mirror had sent before it learned that an image follows may still arrive.
  comparing: ["chain", "blocksRequest", "ack", "synced", "cpAck"],
  adopting: ["adopted"],
  imaging: ["childrenRequest", "blocksRequest", "imageDone", "ack", "synced", "cpAck"],
  forwarding: ["ack", "synced", "cpAck", "blocksRequest"],
  closed: [],
};

export class SourceSession {
  readonly #options: SourceSessionOptions;
  readonly #volume: ReplicatedVolume;
  readonly #link: Link;
  readonly #images: ImageServer;
  readonly #handshake: SourceHandshake;
  readonly #chains = new Map<number, bigint | null>();
  #phase: Phase = "challenge";
  #remote: MirrorState | null = null;
  #round = 0;
  #isRepair = false;
  #forwarder: Forwarder | null = null;
  #cps: CpSender | null = null;
  #taker: EntryTaker | null = null;

  constructor(options: SourceSessionOptions) {
    const { world, kernel, connection, volume, timeoutMs } = options;
    this.#options = options;
    this.#volume = volume;
    this.#link = new Link({
      connection,
      kernel,
      clock: world.clock,
      timeoutMs,
      onMessage: (message, generation) => this.#step(message, generation),
      onEntries: (bytes) => this.#onEntries(bytes),
      onClosed: (reason, fault) => this.#onClosed(reason, fault),
    });
    this.#images = new ImageServer(volume, this.#link, options.underWay);
    this.#images.onProgress = () => options.host.onProgress();
    this.#handshake = new SourceHandshake({ ...options, link: this.#link });
    this.#handshake.begin();
  }

  get isForwarding(): boolean {
    return this.#phase === "forwarding";
  }

  get isLive(): boolean {
    return this.#forwarder?.isLive ?? false;
  }

  /** The mirror has a consistency point to make. */
  get isCpOwed(): boolean {
    return this.#cps?.isOwed ?? false;
  }

  /** The image round that runs or ran last; 0 if none. */
  get round(): number {
    return this.#round;
  }

  /** For people. */
  get detail(): string {
    if (this.#phase === "imaging") return `image round ${this.#round}`;
    return this.#phase === "forwarding" ? "sending entries" : this.#phase;
  }

  get wire(): { sentBytes: number; receivedBytes: number } {
    return this.#link.wire;
  }

  close(reason: string): void {
    this.#link.close(reason);
  }

  onAppended(entry: AppendedEntry): void {
    this.#forwarder?.onAppended(entry);
  }

  /** A consistency point began here, or has its root hash. */
  onCpProgress(): void {
    this.#cps?.step();
  }

  onCpCommitted(cp: number, root: Uint8Array): void {
    const remote = this.#remote;
    if (this.#cps === null || remote === null) return;
    if (remote.cp === cp && !bytesEqual(remote.root, root))
      return this.#repair(cp, "the mirror made it before");
    this.#run(() => this.#images.pin());
    this.#cps.step();
    this.#cps.committed();
  }

  /** Asks the mirror to record that it is in sync. */
  sendSync(through: number): void {
    this.#link.send("sync", { through });
  }

  // ------------------------------------------------------------------------------------------ messages

  #step(message: Message, generation: Generation): void {
    if (!ALLOWED[this.#phase].includes(message.name) && !ALWAYS.includes(message.name)) {
      throw wireFault(`${message.name} while the source's session is "${this.#phase}"`);
    }
    if (this.#phase === "forwarding" && message.name !== "refuse") this.#checkGeneration(generation);
    this.#handle(message);
  }

  /** The mirror follows our history before it takes entries; another one is for the handshake to judge. */
  #checkGeneration(theirs: Generation): void {
    const ours = newestOf(this.#volume.persisted.history);
    if (theirs.number === ours.number && theirs.id === ours.id) return;
    throw new MirrorvolError(
      "ERR_GENERATION",
      `generation ${theirs.number} in a message, ours is ${ours.number}`,
    );
  }

  #handle(message: Message): void {
    const { host } = this.#options;
    switch (message.name) {
      case "challenge":
        return this.#onChallenge(message.body);
      case "proof":
        return this.#onProof(message.body.proof);
      case "mirrorState":
        return this.#onMirrorState(message.body);
      case "chain":
        return this.#onChain(message.body);
      case "adopted":
        return this.#run(() => this.#onAdopted(message.body.through));
      case "childrenRequest":
        return this.#images.onChildrenRequest(message.body);
      case "blocksRequest":
        return this.#images.onBlocksRequest(message.body);
      case "imageDone":
        return this.#run(() => this.#onImageDone(message.body));
      case "refuse":
        return this.#onRefused(message.body);
      case "notice":
        return host.onNotice(this, message.body.code, message.body.text);
      default:
        if (this.#phase === "forwarding") this.#handleForwarding(message);
    }
  }

  #handleForwarding(message: Message): void {
    const { host } = this.#options;
    if (message.name === "ack") this.#onAck(message.body);
    else if (message.name === "synced") host.onSynced(this, message.body.through);
    else if (message.name === "cpAck") this.#onCpAck(message.body);
  }

  #onChallenge(challenge: BodyOf<"challenge">): void {
    this.#handshake.onChallenge(challenge);
    this.#phase = "proof";
  }

  #onProof(given: Uint8Array): void {
    this.#handshake.onProof(given);
    this.#useOurGeneration();
    const { aloneSince } = this.#volume.persisted;
    this.#link.send("sourceState", { ...describeSide(this.#volume), aloneSince });
    this.#phase = "state";
  }

  /** Only who has proved itself is believed that there is a newer generation. */
  #onRefused(refusal: BodyOf<"refuse">): void {
    const history = this.#handshake.isProved && isHistory(refusal.history) ? refusal.history : [];
    this.#options.host.onRefused(this, { ...refusal, history });
  }

  #onMirrorState(remote: MirrorState): void {
    if (!isHistory(remote.history)) throw wireFault("the mirror's history has gaps");
    this.#remote = remote;
    this.#phase = "comparing";
    this.#run(() => this.#compare());
  }

  #onChain({ sequence, chain }: BodyOf<"chain">): void {
    this.#chains.set(sequence, chain);
    this.#run(() => this.#compare());
  }

  async #compare(): Promise<void> {
    const remote = this.#remote!;
    const { memory } = this.#options;
    if (isBlank(remote)) memory.forgetDivergence();
    if (memory.divergence !== null) return this.#act({ kind: "diverged", reason: memory.divergence });
    // Nothing that the mirror may need is let go while this is decided.
    this.#volume.setLogRetention(retentionFor(remote));
    const local = {
      ...describeSide(this.#volume),
      hasServed: this.#options.hasServed(),
      chainAtTheirTail: await this.#options.underWay.add(this.#volume.log.chainAt(remote.tail.sequence)),
    };
    const decision = decide(local, remote, this.#chains);
    if (decision.kind === "ask") return this.#link.send("chainRequest", { sequence: decision.sequence });
    await this.#act(decision);
  }

  async #act(decision: Decision): Promise<void> {
    const remote = this.#remote!;
    const mayGoOn = await this.#options.host.onDecision(this, decision, remote);
    if (!mayGoOn || this.#isClosed()) return;
    if (decision.kind === "forward") this.#forward(remote);
    else if (decision.kind === "adopt") this.#adopt(decision.through);
    else if (decision.kind === "image") await this.#beginRound();
  }

  // ----------------------------------------------------------------------------------------- forwarding

  #forward(remote: MirrorState): void {
    const volume = this.#volume;
    const { history, aloneSince } = volume.persisted;
    this.#useOurGeneration();
    const { wantsReceived } = this.#options;
    this.#link.send("forward", { after: remote.tail, inSync: aloneSince === null, wantsReceived, history });
    const due = remote.seals.filter(({ cp }) => cp > remote.cp);
    const made = volume.sealed.filter(({ cp }) => cp <= remote.cp);
    const ahead = made.map(({ cp, seal }) => ({ cp, sequence: seal.sequence }));
    const cps = new CpSender({ volume, link: this.#link, memory: this.#options.memory, due, ahead });
    const forwarder = new Forwarder({
      volume,
      link: this.#link,
      ring: this.#options.ring,
      underWay: this.#options.underWay,
      from: remote.tail.sequence,
      onSeal: (cp, sequence) => cps.sealSent(cp, sequence),
      onLive: () => this.#options.host.onLive(this),
      onFailed: (error) => this.#link.close(`entries cannot be sent: ${String(error)}`),
    });
    this.#cps = cps;
    this.#forwarder = forwarder;
    this.#phase = "forwarding";
    // Blocks that the mirror's log lacks come from here.
    this.#run(() => this.#images.pin());
    cps.step();
    forwarder.start();
  }

  #onAck({ received, durable }: BodyOf<"ack">): void {
    const sent = this.#forwarder!.sentThrough;
    const isPossible = durable <= received && received <= sent;
    if (!isPossible) throw wireFault(`an acknowledgement of ${received}, ${durable} of ${sent} entries`);
    this.#options.host.onAck(this, received, durable);
  }

  #onCpAck(ack: BodyOf<"cpAck">): void {
    const verdict = this.#cps!.onAck(ack);
    this.#options.host.onProgress();
    if (verdict.kind === "repair") return this.#repair(verdict.cp, verdict.reason);
    this.#options.memory.repairs = 0;
    this.#images.acknowledged(verdict.cp);
  }

  /** A consistency point came out differently over there: compare image with image, once. */
  #repair(cp: number, reason: string): void {
    const { memory } = this.#options;
    this.#endForwarding();
    this.#phase = "comparing";
    this.#isRepair = true;
    const text = `consistency point ${cp} differs on the mirror (${reason})`;
    if (memory.repairs > 0) this.#diverge(`${text}, although the one before was repaired`);
    else this.#run(() => this.#act({ kind: "image", reason: text }));
  }

  #diverge(reason: string): void {
    this.#options.memory.divergence = reason;
    this.#run(() => this.#act({ kind: "diverged", reason }));
  }

  #endForwarding(): void {
    this.#forwarder?.stop();
    this.#forwarder = null;
    this.#cps = null;
  }

  // ------------------------------------------------------------------------------ adopting, image rounds

  #adopt(through: number): void {
    const volume = this.#volume;
    const onExhausted = () => this.#link.close("no room in the log for the mirror's entries");
    this.#taker = new EntryTaker({ volume, kernel: this.#options.kernel, link: this.#link, onExhausted });
    volume.onSpace = () => this.#taker?.retrySoon();
    this.#phase = "adopting";
    this.#link.send("adopt", { after: volume.log.tail, through });
  }

  #onEntries(bytes: Uint8Array): void {
    if (this.#phase !== "adopting") throw wireFault(`log entries while the session is "${this.#phase}"`);
    this.#taker!.take(bytes);
    this.#options.host.onProgress();
  }

  async #onAdopted(through: number): Promise<void> {
    const { log } = this.#volume;
    this.#endAdopting();
    this.#phase = "comparing";
    if (log.tail.sequence !== through)
      throw wireFault(`adopted through ${through}, ours ends at ${log.tail.sequence}`);
    await log.whenDurable(through);
    if (!this.#isClosed()) await this.#compare();
  }

  #endAdopting(): void {
    if (this.#taker === null) return;
    this.#volume.onSpace = null;
    this.#taker.close();
    this.#taker = null;
  }

  async #beginRound(): Promise<void> {
    this.#round += 1;
    this.#phase = "imaging";
    this.#useOurGeneration();
    const { cp, seal, rootHash } = await this.#images.beginRound();
    this.#volume.setLogRetention(seal.sequence);
    if (this.#isClosed()) return;
    const { history } = this.#volume.persisted;
    this.#link.send("image", { round: this.#round, cp, seal, root: rootHash, history });
    this.#remote = { ...this.#remote!, cp, root: rootHash, tail: seal, history, seals: [] };
  }

  async #onImageDone({ cp, outcome, text }: BodyOf<"imageDone">): Promise<void> {
    const remote = this.#remote!;
    if (cp !== remote.cp) throw wireFault(`image ${cp} is done, ${remote.cp} was sent`);
    this.#images.endRound();
    if (outcome === "failed")
      throw new MirrorvolError("ERR_IMAGE_FAILED", `the mirror could not take image ${cp}: ${text}`);
    this.#phase = "comparing";
    this.#images.acknowledged(cp);
    if (outcome === "mismatch") return this.#diverge(`image ${cp} has another root hash on the mirror`);
    // Only what was done counts: it may be interrupted any number of times.
    this.#options.memory.repairs += this.#isRepair ? 1 : 0;
    this.#isRepair = false;
    this.#remote = { ...remote, boundTo: this.#volume.volumeId, sourceDurableThrough: remote.tail.sequence };
    await this.#compare();
  }

  // --------------------------------------------------------------------------------------------- the end

  #useOurGeneration(): void {
    const { number, id } = newestOf(this.#volume.persisted.history);
    this.#link.generation = { number, id };
  }

  #run(work: () => Promise<unknown>): void {
    void work().catch((error: unknown) => {
      if (this.#isClosed()) return;
      const isOurs = error instanceof MirrorvolError;
      this.#link.refuse(isOurs ? error : new MirrorvolError("ERR_INTERNAL", String(error), { cause: error }));
    });
  }

  #isClosed(): boolean {
    return this.#phase === "closed" || this.#link.isClosed;
  }

  #onClosed(reason: string, fault: MirrorvolError | null): void {
    this.#phase = "closed";
    this.#endForwarding();
    this.#endAdopting();
    this.#images.close();
    this.#options.host.onClosed(this, reason, fault);
  }
}
