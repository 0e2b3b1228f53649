// Auditing rows: every unit as it lies on its member, against what its owner knows of it. Where a row check says
// that something in a row is wrong, an audit says which unit it is.
//
//   1. every unit of the row is read, raw;
//   2. each data unit is shown to the owner, who knows its hash: those that are not genuine are lost, as are those
//      that could not be read;
//   3. lost data is computed from the other units, trying every set of units that could be wrong as well
//      (erasures.ts), until the owner takes what comes out for genuine;
//   4. from data that is whole, all parity is computed anew and compared, unit by unit.
//
// Nothing is written, and nothing is told to the owner of the volume: a check changes nothing.
//
// The memory of a window is that of row_window.ts, with m more blocks at its end for the parity of step 4.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { erasureSets } from "./erasures.ts";
import type { RowLayout } from "./geometry.ts";
import type { Members } from "./members.ts";
import { RowWindow, WindowRow, windowBlocks } from "./row_window.ts";

/** A unit that is not what it should be. Of a member that is missing: only data that cannot be computed. */
export interface UnitFault {
  readonly stripe: number;
  readonly unit: number;
  readonly slot: number;
  readonly kind: "corrupt" | "unreadable" | "missing";
  /** The row's other units give back what should be there. */
  readonly isRestorable: boolean;
  /** What lies there, and what should, where that is known: their hashes, four words each. */
  readonly foundHash: Uint32Array | null;
  readonly expectedHash: Uint32Array | null;
}

export interface RowAuditParts {
  readonly kernel: Kernel;
  readonly members: Members;
  readonly layout: RowLayout;
  readonly dataOffset: number;
  /** Whether this is what the data unit holds; the block lies in the kernel's memory. */
  readonly isGenuine: (stripe: number, unit: number, block: Uint8Array) => boolean;
}

const WINDOW_BYTES_MAX = 1024 * 1024;

export async function auditRows(
  parts: RowAuditParts,
  firstStripe: number,
  rows: number,
): Promise<UnitFault[]> {
  const { arena } = parts.kernel;
  const { layout } = parts;
  const step = Math.max(1, Math.floor(WINDOW_BYTES_MAX / BLOCK_BYTES / layout.unitCount));
  const memory = await arena.lease((windowBlocks(layout, Math.min(step, rows)) + layout.m) * BLOCK_BYTES);
  const faults: UnitFault[] = [];
  try {
    for (let done = 0; done < rows; done += step) {
      const count = Math.min(step, rows - done);
      await new WindowAudit(parts, memory, firstStripe + done, count).run(faults);
    }
  } finally {
    arena.free(memory);
  }
  return faults;
}

class WindowAudit {
  readonly #parts: RowAuditParts;
  readonly #window: RowWindow<WindowRow>;
  /** Where parity is computed, one block for each unit. */
  readonly #parity: readonly number[];

  constructor(parts: RowAuditParts, memory: Uint8Array, firstStripe: number, count: number) {
    const { layout, dataOffset } = parts;
    const rows = Array.from({ length: count }, (_, i) => new WindowRow(firstStripe + i));
    for (const row of rows) row.wanted = (1 << layout.unitCount) - 1;
    this.#parts = parts;
    this.#window = new RowWindow(layout, rows, memory, dataOffset);
    const behind = memory.byteOffset + windowBlocks(layout, count) * BLOCK_BYTES;
    this.#parity = Array.from({ length: layout.m }, (_, i) => behind + i * BLOCK_BYTES);
  }

  async run(faults: UnitFault[]): Promise<void> {
    await this.#window.read(this.#parts.members);
    for (const row of this.#window.rows) this.#auditRow(row, faults);
  }

  #auditRow(row: WindowRow, faults: UnitFault[]): void {
    const { k, unitCount } = this.#parts.layout;
    const corrupt = this.#corruptData(row);
    const data = this.#wholeData(row, corrupt);
    for (let unit = 0; unit < k; unit++) {
      const bit = 1 << unit;
      if (row.missing & bit && data !== null) continue;
      if ((row.missing | row.unreadable | corrupt) & bit) faults.push(this.#fault(row, unit, data));
    }
    if (data === null) return;
    this.#encodeParity(data);
    for (let unit = k; unit < unitCount; unit++) {
      const isWrong = row.unreadable & (1 << unit) || (row.have & (1 << unit) && !this.#isParity(row, unit));
      if (isWrong) faults.push(this.#fault(row, unit, data));
    }
  }

  #corruptData(row: WindowRow): number {
    let corrupt = 0;
    for (let unit = 0; unit < this.#parts.layout.k; unit++) {
      if (row.have & (1 << unit) && !this.#isGenuine(row, unit, this.#window.addressOf(row, unit))) {
        corrupt |= 1 << unit;
      }
    }
    return corrupt;
  }

  /** The addresses of the data units, lost ones computed; null when that is not possible. */
  #wholeData(row: WindowRow, corrupt: number): readonly number[] | null {
    const { kernel, layout } = this.#parts;
    const { k, m, unitCount } = layout;
    const asRead = Array.from({ length: k }, (_, unit) => this.#window.addressOf(row, unit));
    const lost = row.missing | row.unreadable | corrupt;
    const isLost = (unit: number) => (lost & (1 << unit)) !== 0;
    if (!asRead.some((_, unit) => isLost(unit))) return asRead;
    for (const set of erasureSets(lost, unitCount, m)) {
      const restored = this.#window.restore(kernel, row, set);
      const data = asRead.map((address, unit) => (isLost(unit) ? restored[unit]! : address));
      if (data.every((address, unit) => !isLost(unit) || this.#isGenuine(row, unit, address))) return data;
    }
    return null;
  }

  #encodeParity(data: readonly number[]): void {
    const { kernel, layout } = this.#parts;
    if (layout.m === 0) return;
    kernel.encodeParity([...data, ...this.#parity], layout.k, layout.m, BLOCK_BYTES);
  }

  #isParity(row: WindowRow, unit: number): boolean {
    const { buffer } = this.#parts.kernel.memory;
    const words = BLOCK_BYTES / 4;
    const stored = new Uint32Array(buffer, this.#window.addressOf(row, unit), words);
    const computed = new Uint32Array(buffer, this.#parity[unit - this.#parts.layout.k]!, words);
    for (let word = 0; word < words; word++) if (stored[word] !== computed[word]) return false;
    return true;
  }

  #isGenuine(row: WindowRow, unit: number, address: number): boolean {
    return this.#parts.isGenuine(row.stripe, unit, this.#window.blockAt(address));
  }

  #fault(row: WindowRow, unit: number, data: readonly number[] | null): UnitFault {
    const { layout } = this.#parts;
    const bit = 1 << unit;
    const kind = row.missing & bit ? "missing" : row.unreadable & bit ? "unreadable" : "corrupt";
    const expected = data === null ? null : (data[unit] ?? this.#parity[unit - layout.k]!);
    return {
      stripe: row.stripe,
      unit,
      slot: layout.slotOfUnit(row.stripe, unit),
      kind,
      isRestorable: data !== null,
      foundHash: kind === "corrupt" ? this.#hashAt(this.#window.addressOf(row, unit)) : null,
      expectedHash: expected === null ? null : this.#hashAt(expected),
    };
  }

  #hashAt(address: number): Uint32Array {
    const hash = new Uint32Array(4);
    this.#parts.kernel.hashBlock(this.#window.blockAt(address), hash);
    return hash;
  }
}
