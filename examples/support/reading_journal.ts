// An append-only journal of readings on a block device: pages of 4096 bytes, page p in block p mod the number
// of blocks, so the newest readings push out the oldest.
//
//   page     magic u32, count u32, page number u64, then up to 170 readings
//   reading  time f64 (ms), value f64, sensor u32, number u32               24 bytes, little endian
//
// A page is filled bit by bit: appending writes it again with more readings in it. A write of one block is
// atomic in a mirrored volume, even when the power fails, and the volume checks every block it reads; so the
// format needs neither checksums nor commit marks. The end is the highest page number that is there.
import type { Volume } from "../../src/index.ts";

const PAGE_BYTES = 4096;
const HEADER_BYTES = 16;
const READING_BYTES = 24;
const READINGS_PER_PAGE = Math.floor((PAGE_BYTES - HEADER_BYTES) / READING_BYTES);
const MAGIC = 0x314d4c54; // "TLM1"
const PAGES_PER_READ = 64;

export interface Reading {
  /** Dense, from 1. */
  readonly number: number;
  readonly sensor: number;
  readonly timeMs: number;
  readonly value: number;
}

export class ReadingJournal {
  readonly #volume: Volume;
  readonly #pageCount: number;
  /** The page that is being filled. */
  #page: DataView = newPage(0);

  /** Finds the end of what is there. */
  static async open(volume: Volume): Promise<ReadingJournal> {
    const journal = new ReadingJournal(volume);
    for await (const page of journal.#pages()) {
      if (numberOf(page) >= numberOf(journal.#page)) journal.#page = page;
    }
    return journal;
  }

  private constructor(volume: Volume) {
    this.#volume = volume;
    this.#pageCount = volume.bytes / PAGE_BYTES;
  }

  /** Resolves when all of them are as durable as the volume's mode says. */
  async append(readings: readonly Reading[]): Promise<void> {
    let rest = readings;
    while (rest.length > 0) {
      if (countOf(this.#page) === READINGS_PER_PAGE) this.#page = newPage(numberOf(this.#page) + 1);
      const fitting = rest.slice(0, READINGS_PER_PAGE - countOf(this.#page));
      for (const reading of fitting) putReading(this.#page, reading);
      await this.#writePage();
      rest = rest.slice(fitting.length);
    }
  }

  /** All that are there, oldest first. */
  async readAll(): Promise<Reading[]> {
    const pages: DataView[] = [];
    for await (const page of this.#pages()) pages.push(page);
    pages.sort((a, b) => numberOf(a) - numberOf(b));
    return pages.flatMap((page) =>
      Array.from({ length: countOf(page) }, (_, index) => readingAt(page, index)),
    );
  }

  #writePage(): Promise<void> {
    const offset = (numberOf(this.#page) % this.#pageCount) * PAGE_BYTES;
    return this.#volume.write(offset, new Uint8Array(this.#page.buffer, this.#page.byteOffset, PAGE_BYTES));
  }

  async *#pages(): AsyncIterable<DataView> {
    const step = PAGES_PER_READ * PAGE_BYTES;
    for (let offset = 0; offset < this.#volume.bytes; offset += step) {
      const data = await this.#volume.read(offset, Math.min(step, this.#volume.bytes - offset));
      for (let at = 0; at < data.length; at += PAGE_BYTES) {
        const page = new DataView(data.slice(at, at + PAGE_BYTES).buffer);
        if (page.getUint32(0, true) === MAGIC) yield page;
      }
    }
  }
}

function newPage(number: number): DataView {
  const page = new DataView(new ArrayBuffer(PAGE_BYTES));
  page.setUint32(0, MAGIC, true);
  page.setBigUint64(8, BigInt(number), true);
  return page;
}

function countOf(page: DataView): number {
  return page.getUint32(4, true);
}

function numberOf(page: DataView): number {
  return Number(page.getBigUint64(8, true));
}

function putReading(page: DataView, { timeMs, value, sensor, number }: Reading): void {
  const count = countOf(page);
  const at = HEADER_BYTES + count * READING_BYTES;
  page.setFloat64(at, timeMs, true);
  page.setFloat64(at + 8, value, true);
  page.setUint32(at + 16, sensor, true);
  page.setUint32(at + 20, number, true);
  page.setUint32(4, count + 1, true);
}

function readingAt(page: DataView, index: number): Reading {
  const at = HEADER_BYTES + index * READING_BYTES;
  return {
    number: page.getUint32(at + 20, true),
    sensor: page.getUint32(at + 16, true),
    timeMs: page.getFloat64(at, true),
    value: page.getFloat64(at + 8, true),
  };
}
