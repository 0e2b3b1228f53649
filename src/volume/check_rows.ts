// What lies on the members, segment by segment, run by run, unit by unit:
//
//   - the runs of a segment follow each other without a gap, each with its summary, down to the first stripe;
//   - every described block, living or dead, fits the hash in its summary; padding is zero; parity fits the data;
//   - what the summaries say of the blocks that live is what the maps say: kind, level, owner, hash.
//
// A damaged unit is a fault even where parity makes up for it. On a missing member only blocks that live and that
// the others cannot restore are.
import { BLOCK_BYTES, RECORD_KIND_CONTAINER, RECORD_KIND_DATA } from "../../assembly/format.ts";
import type { Finding, Findings } from "../log/findings.ts";
import { pvbnOf, RowLayout } from "../raid/geometry.ts";
import type { UnitFault } from "../raid/row_audit.ts";
import { ANY_SHAPE, shapeOf } from "./census.ts";
import type { MapCheck } from "./check_maps.ts";
import { readSummary } from "./cleaner.ts";
import type { Store } from "./store.ts";
import { decodeSummaryHeader, type RunHeader, type RunRecord } from "./summary.ts";
import { bytesOf, hashEquals, toHex } from "./words.ts";

interface Run {
  readonly layout: RowLayout;
  readonly header: RunHeader;
  readonly records: readonly RunRecord[];
  /** By record: 1 when it lives. */
  readonly living: Uint8Array;
}

/** A finding whose block of the volume is looked up when all are known. */
interface DataFinding {
  readonly vvbn: number;
  readonly finding: Finding;
}

const DATA_FINDINGS_MAX = 1000;
const KIND_NAMES = ["block", "data block", "block-map node", "free-list node", "container-map node"];

export class RowsCheck {
  rows = 0;
  readonly #store: Store;
  readonly #maps: MapCheck;
  readonly #findings: Findings;
  readonly #damagedData: DataFinding[] = [];
  readonly #onRows: (rows: number) => void;
  #areSummariesComplete = true;

  constructor(store: Store, maps: MapCheck, findings: Findings, onRows: (rows: number) => void) {
    this.#store = store;
    this.#maps = maps;
    this.#findings = findings;
    this.#onRows = onRows;
  }

  async run(): Promise<void> {
    const { table } = this.#store;
    for (let segment = 0; segment < table.count; segment++) {
      if (table.get(segment).used) await this.#checkSegment(segment);
    }
    await this.#nameData();
    const isKnown = this.#areSummariesComplete && this.#maps.isComplete;
    if (isKnown && this.#findings.faultCount === 0 && !this.#maps.digest.isZero)
      this.#fault("run summaries", "the hashes of the living blocks as the maps have them", "others");
  }

  async #checkSegment(segment: number): Promise<void> {
    const { written, geometry } = this.#store.table.get(segment);
    const layout = new RowLayout(geometry);
    const base = segment * this.#store.superblock.segmentStripes;
    for (let end = written; end > 0; ) {
      const run = await this.#readRun(layout, base + end - 1);
      if (run === null) return this.#checkUndescribed(layout, base, end);
      const { firstStripe, rows } = run.header;
      await this.#checkRun(run);
      this.rows += rows;
      this.#onRows(this.rows);
      end = firstStripe - base;
    }
  }

  async #readRun(layout: RowLayout, lastStripe: number): Promise<Run | null> {
    try {
      const { header, records } = await readSummary(this.#store, layout, lastStripe);
      return { layout, header, records, living: new Uint8Array(records.length) };
    } catch (error) {
      this.#areSummariesComplete = false;
      const found = error instanceof Error ? error.message : String(error);
      this.#fault(`summary of the run that ends at stripe ${lastStripe}`, "one that is valid", found);
      return null;
    }
  }

  /** Without a summary only the parity can be compared; what the maps say of its blocks they have proved already. */
  async #checkUndescribed(layout: RowLayout, base: number, rows: number): Promise<void> {
    for (let stripe = base; stripe < base + rows; stripe++) {
      for (const slot of layout.slots) this.#maps.places.give(stripe, slot);
    }
    const faults = await this.#store.raid.auditRows(base, rows, () => true);
    for (const fault of faults)
      this.#findings.fault(this.#findingOf(fault, `a unit of stripe ${fault.stripe}`));
    this.rows += rows;
    this.#onRows(this.rows);
  }

  async #checkRun(run: Run): Promise<void> {
    const { layout, header, records } = run;
    for (const [index, record] of records.entries()) {
      const stripe = header.firstStripe + Math.floor(index / layout.k);
      const slot = layout.slotOfUnit(stripe, index % layout.k);
      if (!this.#maps.places.give(stripe, slot)) continue;
      run.living[index] = 1;
      await this.#checkRecord(pvbnOf(stripe, slot), record);
    }
    this.#expectAllDescribed(run);
    const isGenuine = (stripe: number, unit: number, block: Uint8Array) =>
      this.#isGenuine(run, stripe, unit, block);
    const faults = await this.#store.raid.auditRows(header.firstStripe, header.rows, isGenuine);
    for (const fault of faults) this.#report(run, fault);
  }

  /** What a summary says of a place where something lives must be what the maps say. */
  async #checkRecord(pvbn: number, record: RunRecord): Promise<void> {
    const { kind, level, id, hash } = record;
    const container = this.#maps.containers.get(pvbn);
    const structure = `run summary, record of pvbn ${pvbn}`;
    if (container !== undefined || kind === RECORD_KIND_CONTAINER) {
      const isSame =
        container !== undefined &&
        kind === RECORD_KIND_CONTAINER &&
        container.level === level &&
        container.index === id &&
        hashEquals(container.hash, 0, hash, 0);
      if (!isSame) this.#fault(structure, "what the container map says", describeRecord(record));
      return;
    }
    const { containers, image } = this.#store;
    const place = await containers.lookup(image.containerRoot, id).catch(() => pvbn);
    const shape = this.#maps.references.shapeOf(id);
    if (place !== pvbn || (shape >= 0 && shape !== ANY_SHAPE && shape !== shapeOf(kind, level)))
      this.#fault(structure, "what the maps say", describeRecord(record));
    else if (shape !== ANY_SHAPE) this.#maps.digest.subtract(id, hash, 0);
  }

  #expectAllDescribed({ layout, header }: Run): void {
    const { firstStripe, rows } = header;
    for (let stripe = firstStripe; stripe < firstStripe + rows; stripe++) {
      for (const slot of layout.slots) {
        if (this.#maps.places.give(stripe, slot))
          this.#fault(
            `run summary of stripe ${firstStripe}`,
            `a record of pvbn ${pvbnOf(stripe, slot)}`,
            "none",
          );
      }
    }
  }

  #isGenuine(run: Run, stripe: number, unit: number, block: Uint8Array): boolean {
    const { kernel, superblock } = this.#store;
    const { header, records } = run;
    const index = indexOf(run, stripe, unit);
    const record = records[index];
    if (record !== undefined) {
      kernel.hashBlock(block, HASH);
      return hashEquals(HASH, 0, record.hash, 0);
    }
    const part = partAt(run, index);
    if (part < 0) return kernel.isZero(block);
    const found = decodeSummaryHeader(kernel, superblock.volumeId, block);
    return found !== null && found.part === part && found.firstStripe === header.firstStripe;
  }

  #report(run: Run, fault: UnitFault): void {
    const index = indexOf(run, fault.stripe, fault.unit);
    const isData = fault.unit < run.layout.k;
    const record = isData ? run.records[index] : undefined;
    const isLiving = record !== undefined && run.living[index] === 1;
    // What nobody needs is no loss when its member is lost.
    if (fault.kind === "missing" && !isLiving) return;
    const finding = this.#findingOf(fault, describeUnit(run, fault), record);
    const isNameable = record?.kind === RECORD_KIND_DATA && isLiving;
    if (isNameable && this.#damagedData.length < DATA_FINDINGS_MAX)
      this.#damagedData.push({ vvbn: record.id, finding });
    else this.#findings.fault(finding);
  }

  #findingOf(fault: UnitFault, structure: string, record?: RunRecord): Finding {
    const { disks, superblock } = this.#store;
    const { stripe, slot, kind, foundHash, expectedHash, isRestorable } = fault;
    const what = foundHash === null ? kind : `hash ${hex(foundHash)}`;
    const wanted = record?.hash ?? expectedHash;
    return {
      path: disks[slot]?.path ?? superblock.members[slot]!.path,
      offset: superblock.dataOffset + stripe * BLOCK_BYTES,
      structure,
      expected: wanted === null ? "what was written" : `hash ${hex(wanted)}`,
      found: isRestorable ? what : `${what}, and the other units of its stripe do not restore it`,
    };
  }

  /** People know blocks of the volume. */
  async #nameData(): Promise<void> {
    if (this.#damagedData.length === 0) return;
    const lbas = await this.#maps.lbasOf(new Set(this.#damagedData.map(({ vvbn }) => vvbn)));
    for (const { vvbn, finding } of this.#damagedData) {
      const lba = lbas.get(vvbn);
      const structure = lba === undefined ? finding.structure : `${finding.structure}, block ${lba}`;
      this.#findings.fault({ ...finding, structure });
    }
  }

  #fault(structure: string, expected: string, found: string): void {
    this.#findings.fault({ path: null, offset: null, structure, expected, found });
  }
}

const HASH = new Uint32Array(4);

/** The number of a data unit within its run. */
function indexOf({ header, layout }: Run, stripe: number, unit: number): number {
  return (stripe - header.firstStripe) * layout.k + unit;
}

/** Which part of the summary a unit behind the records is; negative for padding. */
function partAt({ header, layout }: Run, index: number): number {
  return index - (header.rows * layout.k - header.parts);
}

function describeUnit(run: Run, { stripe, unit }: UnitFault): string {
  const { layout, header, records, living } = run;
  if (unit >= layout.k) return `parity ${"PQR"[unit - layout.k]} of stripe ${stripe}`;
  const index = indexOf(run, stripe, unit);
  const record = records[index];
  if (record !== undefined) return `${living[index] === 1 ? "" : "dead "}${describeRecord(record)}`;
  const part = partAt(run, index);
  const where = `the run at stripe ${header.firstStripe}`;
  return part < 0 ? `padding of ${where}` : `part ${part} of the summary of ${where}`;
}

function describeRecord({ kind, level, id }: RunRecord): string {
  const name = KIND_NAMES[kind] ?? `block of kind ${kind}`;
  if (kind === RECORD_KIND_CONTAINER) return `${name} ${id} of level ${level}`;
  return kind === RECORD_KIND_DATA ? `${name}, vvbn ${id}` : `${name} of level ${level}, vvbn ${id}`;
}

function hex(hash: Uint32Array): string {
  return toHex(bytesOf(hash));
}
