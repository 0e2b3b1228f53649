// Does the parity of a row fit its data? For scrubs and tests; it says nothing about which unit is wrong.
//
// Each parity unit that was read is computed from the others, as if it were lost too, and compared. With u
// units unreadable, that needs u < m: at u = m any content fits, beyond that nothing can be said for it.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { countOf, type RowLayout } from "./geometry.ts";
import type { Members } from "./members.ts";
import { RowWindow, WindowRow } from "./row_window.ts";

export interface RowCheck {
  /** Nothing that could be read contradicts the rest, and at most m units could not be read. */
  readonly parityOk: boolean;
  /** How many units could not be read, those of missing members included. */
  readonly unreadable: number;
}

export interface RowCheckParts {
  readonly kernel: Kernel;
  readonly members: Members;
  readonly layout: RowLayout;
  readonly stripe: number;
  readonly memory: Uint8Array;
  readonly dataOffset: number;
}

export async function checkRow(parts: RowCheckParts): Promise<RowCheck> {
  const { kernel, members, layout, memory, dataOffset } = parts;
  const row = new WindowRow(parts.stripe);
  const window = new RowWindow(layout, [row], memory, dataOffset);
  row.wanted = (1 << layout.unitCount) - 1;
  await window.read(members);
  const lost = row.missing | row.unreadable;
  const unreadable = countOf(lost);
  if (unreadable >= layout.m) return { parityOk: unreadable === layout.m, unreadable };
  for (let unit = layout.k; unit < layout.unitCount; unit++) {
    const bit = 1 << unit;
    if (lost & bit) continue;
    const computed = window.restore(kernel, row, lost | bit)[unit]!;
    const stored = window.addressOf(row, unit);
    if (!isSame(window.blockAt(computed), window.blockAt(stored))) return { parityOk: false, unreadable };
  }
  return { parityOk: true, unreadable };
}

function isSame(left: Uint8Array, right: Uint8Array): boolean {
  for (let index = 0; index < BLOCK_BYTES; index++) {
    if (left[index] !== right[index]) return false;
  }
  return true;
}
