// How a source stands towards its clients while its mirror comes and goes: whether the gate is open, whether
// writes wait for the mirror, and since when it goes on alone.
//
// Invariants:
//   - "alone since P" is durable before the first write is acknowledged without the mirror;
//   - it is forgotten only after the mirror has recorded that it is in sync, and writes wait for it again;
//   - a source that goes on alone after a restart, without having asked its mirror, starts a new generation:
//     whatever the mirror does meanwhile, the two can be told apart;
//   - a gate that refuses stays so until `refuse` is taken back by what the mirror says;
//   - a volume that was demoted is not opened. That may happen behind our back: the one that was promoted
//     connects to our mirror service.

import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import { extendHistory, newGenerationId } from "../volume/superblock.ts";
import { Ledger, type LedgerCount } from "./ledger.ts";
import type { AppendedEntry, GenerationRecord, ReplicatedVolume } from "./port.ts";

export class Standing {
  readonly #world: World;
  readonly #volume: ReplicatedVolume;
  readonly #ledger = new Ledger();
  #isOpen = false;
  #isRefusing = false;
  #isAlone: boolean;
  #isRequired = true;
  #received = 0;
  #durable = 0;

  constructor(world: World, volume: ReplicatedVolume) {
    this.#world = world;
    this.#volume = volume;
    this.#isAlone = volume.persisted.aloneSince !== null;
    volume.setGate("waiting");
    this.#tellVolume();
  }

  /** Clients are served. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** "Alone since" is durable. */
  get isAlone(): boolean {
    return this.#isAlone;
  }

  /** It is a source no longer. */
  get isDemoted(): boolean {
    return this.#volume.persisted.role !== "source";
  }

  /** Writes wait for the mirror. */
  get isRequired(): boolean {
    return this.#isRequired;
  }

  /** What the mirror is known to have made durable. */
  get mirrorDurable(): number {
    return this.#durable;
  }

  get ledger(): LedgerCount {
    return this.#ledger.count;
  }

  async restoreLedger(): Promise<void> {
    const { aloneSince } = this.#volume.persisted;
    if (aloneSince !== null) await this.#ledger.restore(this.#volume.log, aloneSince);
  }

  onAppended(entry: AppendedEntry): void {
    this.#ledger.onAppended(entry);
  }

  setMirror(received: number, durable: number): void {
    this.#received = received;
    this.#durable = durable;
    this.#ledger.onConfirmed(durable);
    this.#tellVolume();
  }

  require(isRequired: boolean): void {
    this.#isRequired = isRequired;
    this.#tellVolume();
  }

  open(): void {
    if (this.isDemoted) return;
    this.#isOpen = true;
    this.#isRefusing = false;
    this.#volume.setGate("open");
  }

  refuse(error: MirrorvolError): void {
    this.#isOpen = false;
    this.#isRefusing = true;
    this.#volume.setGate({ refused: error });
  }

  /** The reason to refuse is gone; clients wait again. */
  unrefuse(): void {
    if (!this.#isRefusing) return;
    this.#isRefusing = false;
    this.#volume.setGate("waiting");
  }

  /** Goes on without the mirror, whose position is known or was known when clients were served last. */
  async goAlone(): Promise<void> {
    this.#assertSource();
    if (!this.#isAlone) {
      const known = this.#durable > 0 ? this.#durable : this.#volume.log.tail.sequence;
      const since = Math.min(known, this.#volume.log.tail.sequence);
      await this.#volume.persist({ aloneSince: since });
    }
    this.#beAlone();
  }

  /** Goes on without having asked the mirror: a new generation, from the end of our log on. */
  async branch(): Promise<GenerationRecord> {
    this.#assertSource();
    const { log, persisted } = this.#volume;
    const { requiredThrough } = log.recovery;
    const { sequence, chain } = log.tail;
    if (requiredThrough > sequence) {
      const lost = `entries ${sequence + 1} to ${requiredThrough} were durable and are lost here`;
      const text = `${lost}: only the mirror may have them`;
      throw new MirrorvolError("ERR_SOURCE_LOST_ENTRIES", text);
    }
    await log.whenDurable(sequence);
    const newest = persisted.history[persisted.history.length - 1]!;
    const id = newGenerationId(this.#world.random);
    const record = { number: newest.number + 1, id, startSequence: sequence, startChain: chain };
    const aloneSince = persisted.aloneSince ?? sequence;
    await this.#volume.persist({ history: extendHistory(persisted.history, record), aloneSince });
    this.#beAlone();
    return record;
  }

  /** The mirror has everything and has recorded it, and writes wait for it. */
  async rejoin(): Promise<void> {
    this.#assertSource();
    const { aloneSince, inSync, everInSync } = this.#volume.persisted;
    if (aloneSince !== null || !inSync || !everInSync) {
      await this.#volume.persist({ aloneSince: null, inSync: true, everInSync: true });
    }
    this.#isAlone = false;
    this.#ledger.end();
    this.open();
  }

  #assertSource(): void {
    if (!this.isDemoted) return;
    throw new MirrorvolError("ERR_DEMOTED", `volume "${this.#volume.name}" is a source no longer`);
  }

  #beAlone(): void {
    this.#isAlone = true;
    this.#ledger.begin();
    this.require(false);
    this.open();
  }

  #tellVolume(): void {
    const { received, durable } = { received: this.#received, durable: this.#durable };
    this.#volume.setRemote({ required: this.#isRequired, received, durable });
  }
}
