// The RPO ledger: what was acknowledged without the mirror, in entries and bytes, since position P.
//
//   not alone   entries that the mirror has not confirmed are remembered one by one; they are in the ring, so
//               they are few
//   alone       two sums and the sums at P are enough
//
// Seals carry nothing of a client and do not count. After a restart the sums come from the log, as far as it
// still holds what follows P.

import { ENTRY_HEADER_BYTES, ENTRY_KIND, ENTRY_KIND_SEAL } from "../../assembly/format.ts";
import type { AppendedEntry, ReplicatedLog } from "./port.ts";

export interface LedgerCount {
  readonly entries: number;
  readonly bytes: number;
}

interface Mark extends LedgerCount {
  /** The sums include this entry. */
  readonly sequence: number;
}

const ZERO: LedgerCount = { entries: 0, bytes: 0 };

export class Ledger {
  #entries = 0;
  #bytes = 0;
  #unconfirmed: Mark[] = [];
  #confirmed: LedgerCount = ZERO;
  /** The sums at P, while alone. */
  #base: LedgerCount | null = null;

  get count(): LedgerCount {
    if (this.#base === null) return ZERO;
    return { entries: this.#entries - this.#base.entries, bytes: this.#bytes - this.#base.bytes };
  }

  onAppended({ sequence, view }: AppendedEntry): void {
    if (view[ENTRY_KIND] === ENTRY_KIND_SEAL) return;
    this.#entries += 1;
    this.#bytes += view.length - ENTRY_HEADER_BYTES;
    if (this.#base !== null) return;
    this.#unconfirmed.push({ sequence, entries: this.#entries, bytes: this.#bytes });
  }

  /** The mirror has everything up to here. */
  onConfirmed(sequence: number): void {
    let done = 0;
    while (done < this.#unconfirmed.length && this.#unconfirmed[done]!.sequence <= sequence) done++;
    if (done === 0) return;
    this.#confirmed = this.#unconfirmed[done - 1]!;
    this.#unconfirmed.splice(0, done);
  }

  /** From what the mirror is known to have on, everything is written alone. */
  begin(): void {
    this.#base ??= this.#confirmed;
    this.#unconfirmed = [];
  }

  end(): void {
    this.#base = null;
    this.#confirmed = { entries: this.#entries, bytes: this.#bytes };
  }

  /** After a restart: counts what was written alone before it. */
  async restore(log: ReplicatedLog, aloneSince: number): Promise<void> {
    this.begin();
    const { sequence: last } = log.tail;
    if (aloneSince >= last || (await log.chainAt(aloneSince)) === null) return;
    for await (const { kind, payload, sequence } of log.entries(aloneSince + 1)) {
      if (sequence > last) return;
      if (kind === ENTRY_KIND_SEAL) continue;
      this.#entries += 1;
      this.#bytes += payload.length;
    }
  }
}
