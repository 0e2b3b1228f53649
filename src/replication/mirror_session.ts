// A mirror's side of one connection, from HELLO to the end. The source decides what is done; the mirror checks
// that it may be done.
//
//   hello -> proof -> state -> idle <-> forwarding
//                              idle <-> adopting     the source takes entries that only we have
//                              idle <-> imaging      an image round
//
// Invariants:
//   - before the proof nothing of a volume is said or changed; before `idle` nothing is changed;
//   - a message that does not belong to the phase ends the session;
//   - while something takes time, the link is held, except where its answers are needed (imaging);
//   - an entry is acknowledged when the log says that it is durable, once for each group commit;
//   - `close` resolves when nothing of the session touches the volume any more.

import type { Connection } from "../io/transport.ts";
import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { CpReceiver, cpBounds } from "./cp_receiver.ts";
import { streamEntries } from "./entry_stream.ts";
import { EntryTaker, LOG_IS_FULL } from "./entry_taker.ts";
import { wireFault } from "./fields.ts";
import { compareHistories, describeGeneration, newestOf } from "./history.ts";
import { Link } from "./link.ts";
import type { BodyOf, Message, MessageName } from "./messages.ts";
import { admit, checkHistory, MirrorHandshake } from "./mirror_handshake.ts";
import { appliedSequence, describeMirror, sizeBlocksOf } from "./mirror_state.ts";
import { checkOverwrite } from "./overwrite.ts";
import type { Generation, GenerationRecord, ReplicatedVolume } from "./port.ts";
import { LinkImage, RemoteReader } from "./remote_image.ts";

export interface SessionOptions {
  readonly world: World;
  readonly kernel: Kernel;
  readonly connection: Connection;
  readonly secret: Uint8Array | null;
  readonly find: (name: string) => ReplicatedVolume | undefined;
  /** The source has proved itself and says who it is. Resolves when no other session has the volume. */
  readonly attach: (session: MirrorSession) => Promise<void>;
  readonly onClosed: (session: MirrorSession, reason: string, fault: MirrorvolError | null) => void;
}

type Phase = "hello" | "proof" | "state" | "idle" | "adopting" | "forwarding" | "imaging" | "closed";

/** What may come in which phase; entries only while forwarding. */
const ALLOWED: Record<Phase, readonly MessageName[]> = {
  hello: ["hello"],
  proof: ["proof"],
  state: ["sourceState"],
  idle: ["chainRequest", "adopt", "forward", "image"],
  adopting: [],
  forwarding: ["sync", "image", "blocks", "cpBegin", "cpBlocks", "cpTrims", "cpEnd", "cpOwn", "cpCommitted"],
  imaging: ["children", "blocks"],
  closed: [],
};
/** Before a source has said who it is. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;

export class MirrorSession {
  readonly #options: SessionOptions;
  readonly #link: Link;
  readonly #handshake: MirrorHandshake;
  readonly #reader: RemoteReader;
  readonly #abort = new AbortController();
  #phase: Phase = "hello";
  #volume: ReplicatedVolume | null = null;
  #sourceId = new Uint8Array(0);
  #receiver: CpReceiver | null = null;
  #taker: EntryTaker | null = null;
  #wantsReceived = false;
  /** Up to where the source has what we have; Infinity: it has all of it. */
  #sourceTail = 0;
  #isSynced = false;
  /** Ends when the last request to record that we are in sync has. */
  #recording = Promise.resolve();
  /** What runs and uses the volume. */
  readonly #work = new Set<Promise<void>>();
  #settled: Promise<void> | null = null;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { world, kernel, connection } = options;
    this.#link = new Link({
      connection,
      kernel,
      clock: world.clock,
      timeoutMs: HANDSHAKE_TIMEOUT_MS,
      onMessage: (message, generation) => this.#step(message, generation),
      onEntries: (bytes) => this.#onEntries(bytes),
      onClosed: (reason, fault) => this.#onClosed(reason, fault),
    });
    this.#handshake = new MirrorHandshake(world, this.#link, options.secret);
    this.#reader = new RemoteReader(this.#link);
  }

  get volumeName(): string {
    return this.#handshake.volumeName;
  }

  get sourceId(): Uint8Array {
    return this.#sourceId;
  }

  get remote(): string {
    return this.#link.remote;
  }

  get isClosed(): boolean {
    return this.#isClosed();
  }

  /** For people. */
  get detail(): string {
    return this.#phase === "imaging" ? "taking over an image" : this.#phase;
  }

  get state(): "in sync" | "catching up" {
    return this.#isSynced && this.#phase === "forwarding" ? "in sync" : "catching up";
  }

  /** Ends the session with a reason that the source is told. */
  async refuse(error: MirrorvolError): Promise<void> {
    this.#link.refuse(error);
    await this.#settle(error.message);
  }

  async close(reason: string): Promise<void> {
    this.#link.close(reason);
    await this.#settle(reason);
  }

  // ---------------------------------------------------------------------------------------- the handshake

  #step(message: Message, generation: Generation): void {
    if (message.name === "refuse") {
      return this.#link.close(`the source refuses: ${message.body.code}: ${message.body.text}`);
    }
    if (!ALLOWED[this.#phase].includes(message.name)) {
      throw wireFault(`${message.name} while the mirror's session is "${this.#phase}"`);
    }
    if (this.#volume !== null) this.#checkGeneration(this.#volume, generation);
    if (!this.#isClosed()) this.#handle(message);
  }

  /** Until we follow the source's history, the histories themselves are compared. */
  #checkGeneration(volume: ReplicatedVolume, theirs: Generation): void {
    const ours = newestOf(volume.persisted.history);
    if (this.#phase !== "forwarding" || (theirs.number === ours.number && theirs.id === ours.id)) return;
    const refused = `generation ${theirs.number} (${theirs.id.toString(16)}) is refused`;
    const text = `${refused}, here is ${describeGeneration(ours)}`;
    this.#link.refuse(new MirrorvolError("ERR_GENERATION", text), volume.persisted.history);
  }

  #handle(message: Message): void {
    switch (message.name) {
      case "hello":
        this.#handshake.onHello(message.body);
        this.#phase = "proof";
        return;
      case "proof":
        this.#handshake.onProof(message.body.proof);
        this.#phase = "state";
        return;
      case "sourceState":
        return this.#hold(() => this.#admit(message.body));
      case "chainRequest":
        return this.#hold(() => this.#sendChain(message.body.sequence));
      case "adopt":
        return this.#hold(() => this.#sendEntries(message.body));
      case "forward":
        return this.#hold(() => this.#beginForwarding(message.body));
      case "sync":
        return this.#run(() => (this.#recording = this.#recordSync(message.body.through)));
      case "image":
        return this.#run(() => this.#adoptImage(message.body));
      case "children":
        return this.#reader.onChildren(message.body);
      case "blocks":
        return this.#reader.onBlocks(message.body);
      case "cpCommitted":
        return this.#volume!.setLogRetention(message.body.sequence);
      default:
        return this.#handleCp(message);
    }
  }

  #handleCp(message: Message): void {
    const receiver = this.#receiver!;
    if (message.name === "cpBegin") receiver.onBegin(message.body);
    else if (message.name === "cpTrims") receiver.onTrims(message.body);
    else if (message.name === "cpBlocks") receiver.onBlocks(message.body);
    else if (message.name === "cpEnd") receiver.onEnd(message.body);
    else if (message.name === "cpOwn") receiver.onOwn(message.body);
  }

  async #admit(source: BodyOf<"sourceState">): Promise<void> {
    const name = this.volumeName;
    const volume = this.#options.find(name);
    if (volume === undefined) throw new MirrorvolError("ERR_NO_SUCH_VOLUME", `no volume "${name}" here`);
    if ((await admit(volume, source, this.#link)) === null) return;
    this.#sourceId = Uint8Array.from(source.volumeId);
    await this.#options.attach(this);
    if (!this.#isClosed()) await this.#takeOver(volume, source);
  }

  async #takeOver(volume: ReplicatedVolume, source: BodyOf<"sourceState">): Promise<void> {
    this.#volume = volume;
    this.#sourceTail = source.tail.sequence;
    const ours = newestOf(volume.persisted.history);
    this.#link.generation = { number: ours.number, id: ours.id };
    // It was told, and must be known to a promotion, whatever comes of this session.
    if (source.aloneSince !== null && volume.persisted.inSync) await volume.persist({ inSync: false });
    // What the source has not committed stays in our log: it may need it back.
    volume.setLogRetention(source.cp >= volume.cp ? await appliedSequence(volume) : 0);
    const state = await describeMirror(volume);
    if (this.#isClosed()) return;
    this.#phase = "idle";
    this.#link.send("mirrorState", state);
  }

  // --------------------------------------------------------------------------------------------- the work

  async #sendChain(sequence: number): Promise<void> {
    const chain = await this.#volume!.log.chainAt(sequence);
    this.#link.send("chain", { sequence, chain });
  }

  async #sendEntries({ after, through }: BodyOf<"adopt">): Promise<void> {
    const { log } = this.#volume!;
    const chain = await log.chainAt(after.sequence);
    if (chain !== after.chain || through > log.durable) {
      throw new MirrorvolError(
        "ERR_POSITION",
        `no entries ${after.sequence + 1} to ${through} on that chain here`,
      );
    }
    this.#phase = "adopting";
    await streamEntries({ link: this.#link, log, from: after.sequence + 1, through, onSent: () => {} });
    this.#phase = "idle";
    this.#sourceTail = through;
    this.#link.send("adopted", { through });
  }

  async #beginForwarding({ after, inSync, wantsReceived, history }: BodyOf<"forward">): Promise<void> {
    const volume = this.#volume!;
    const { sequence, chain } = volume.log.tail;
    if (after.sequence !== sequence || after.chain !== chain) {
      throw new MirrorvolError(
        "ERR_POSITION",
        `forwarding after ${after.sequence}, the mirror is at ${sequence}`,
      );
    }
    checkHistory(volume, history);
    await this.#record(volume, history, inSync ? volume.persisted.inSync : false);
    if (this.#isClosed()) return;
    this.#sourceTail = Number.POSITIVE_INFINITY;
    this.#wantsReceived = wantsReceived;
    this.#receiver = new CpReceiver({
      volume,
      bounds: cpBounds(sizeBlocksOf(volume), volume.log.halfPayloadBytes),
      fetch: (cp, lbas) => this.#reader.blocks(cp, lbas),
      report: (ack) => this.#link.send("cpAck", ack),
    });
    const onExhausted = () => this.#link.send("notice", LOG_IS_FULL);
    this.#taker = new EntryTaker({ volume, kernel: this.#options.kernel, link: this.#link, onExhausted });
    volume.onDurable = () => this.#taker?.ackSoon();
    volume.onSpace = () => this.#taker?.retrySoon();
    this.#phase = "forwarding";
    this.#taker.ackSoon();
  }

  /** Binds to the source and follows its history, durably. */
  async #record(
    volume: ReplicatedVolume,
    history: readonly GenerationRecord[],
    inSync: boolean,
  ): Promise<void> {
    const { persisted } = volume;
    // A fenced volume stays one until it follows the newer history.
    const isBehind = newestOf(history).number < (persisted.fencedBy?.number ?? 0);
    const fencedBy = isBehind ? persisted.fencedBy : null;
    const isRecorded =
      persisted.boundTo !== null &&
      persisted.fencedBy === fencedBy &&
      persisted.inSync === inSync &&
      compareHistories(persisted.history, history).kind === "equal";
    if (!isRecorded) {
      await volume.persist({ boundTo: this.#sourceId, fencedBy, history: [...history], inSync });
    }
    const { number, id } = newestOf(history);
    this.#link.generation = { number, id };
  }

  #onEntries(bytes: Uint8Array): void {
    if (this.#phase !== "forwarding") throw wireFault(`log entries while the session is "${this.#phase}"`);
    this.#taker!.take(bytes);
    if (this.#wantsReceived) this.#taker!.ackSoon();
  }

  /** The link is not held: the record waits for a consistency point, and that may wait for blocks of the source. */
  async #recordSync(through: number): Promise<void> {
    const volume = this.#volume!;
    await volume.log.whenDurable(Math.min(through, volume.log.tail.sequence));
    if (through > volume.log.durable)
      throw wireFault(`in sync through ${through}, the mirror has ${volume.log.durable}`);
    const { inSync, everInSync } = volume.persisted;
    if (this.#phase !== "forwarding") return;
    if (!inSync || !everInSync) await volume.persist({ inSync: true, everInSync: true });
    if (this.#phase !== "forwarding") return;
    this.#isSynced = true;
    this.#link.send("synced", { through });
  }

  async #adoptImage(announced: BodyOf<"image">): Promise<void> {
    const volume = this.#volume!;
    const { cp } = announced;
    this.#phase = "imaging";
    this.#isSynced = false;
    await this.#endForwarding();
    await this.#recording;
    const isBlank = volume.persisted.boundTo === null && volume.log.tail.sequence === 0;
    if (!isBlank) await checkOverwrite(volume, this.#sourceTail, announced);
    this.#sourceTail = Number.POSITIVE_INFINITY;
    // Bound from now on; a volume that has nothing yet takes over the history at once, others with the image.
    await this.#record(volume, isBlank ? announced.history : volume.persisted.history, false);
    const image = new LinkImage(this.#reader, announced, sizeBlocksOf(volume));
    const done = await this.#tryImage(volume, image, announced.history);
    if (this.#isClosed()) return;
    const { number, id } = newestOf(volume.persisted.history);
    this.#link.generation = { number, id };
    if (done.outcome === "committed") volume.setLogRetention(announced.seal.sequence);
    this.#phase = "idle";
    this.#link.send("imageDone", { cp, ...done });
  }

  async #tryImage(volume: ReplicatedVolume, image: LinkImage, history: readonly GenerationRecord[]) {
    try {
      return { outcome: await volume.adoptImage(image, history, this.#abort.signal), text: "" };
    } catch (error) {
      return { outcome: "failed" as const, text: String(error) };
    }
  }

  async #endForwarding(): Promise<void> {
    const volume = this.#volume;
    if (volume !== null && this.#taker !== null) volume.onDurable = volume.onSpace = null;
    this.#taker?.close();
    this.#taker = null;
    const receiver = this.#receiver;
    this.#receiver = null;
    await receiver?.stop();
  }

  // --------------------------------------------------------------------------------------------- the end

  /** Runs something that takes time; the next message waits for it. */
  #hold(work: () => Promise<void>): void {
    this.#link.hold();
    this.#run(async () => {
      await work();
      this.#link.proceed();
    });
  }

  #run(work: () => Promise<void>): void {
    const running = work().catch((error: unknown) => {
      if (this.#isClosed()) return;
      const isOurs = error instanceof MirrorvolError;
      this.#link.refuse(isOurs ? error : new MirrorvolError("ERR_INTERNAL", String(error), { cause: error }));
    });
    this.#work.add(running);
    void running.finally(() => this.#work.delete(running));
  }

  #isClosed(): boolean {
    return this.#phase === "closed" || this.#link.isClosed;
  }

  #onClosed(reason: string, fault: MirrorvolError | null): void {
    const done = () => this.#options.onClosed(this, reason, fault);
    void this.#settle(reason).then(done, done);
  }

  /** Resolves when nothing runs any more, whoever asks. */
  #settle(reason: string): Promise<void> {
    this.#settled ??= this.#endAll(reason);
    return this.#settled;
  }

  async #endAll(reason: string): Promise<void> {
    this.#phase = "closed";
    this.#abort.abort(new MirrorvolError("ERR_LINK_CLOSED", reason));
    this.#reader.close(reason);
    await this.#endForwarding();
    while (this.#work.size > 0) await Promise.all(this.#work);
  }
}
