// mirrorvol's kernels: parity, reconstruction, digests, and the encoding of a log entry.

import { ENTRY_HEADER_BYTES, ENTRY_PAYLOAD_BYTES } from "../../assembly/format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { type Case, MEMORY_BYTES, PLACES, type Place } from "./measure.ts";
import { fillNoise, type Matrix, sizeName } from "./sizes.ts";

const WHO = "mirrorvol";
/** Units a power of two apart would share their sets in the first-level cache. */
const DISPLACEMENT_BYTES = 192;

export class OurKernels {
  readonly #kernel: Kernel;
  readonly #room: Uint8Array;
  readonly #base: number;
  readonly #out = new Uint32Array(4096);

  static async create(): Promise<OurKernels> {
    return new OurKernels(await Kernel.create({ memoryBytes: MEMORY_BYTES + 64 * 1024 ** 2 }));
  }

  private constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#room = kernel.arena.allocate(MEMORY_BYTES + 32 * 1024 ** 2);
    this.#base = kernel.offsetOf(this.#room);
    fillNoise(this.#room);
  }

  parity({ sizes, dataUnits }: Matrix): Case[] {
    const cases: Case[] = [];
    for (const bytes of sizes) {
      for (const k of dataUnits) {
        for (const place of PLACES) cases.push(...this.#parityOf(bytes, k, place));
      }
    }
    return cases;
  }

  #parityOf(bytes: number, k: number, place: Place): Case[] {
    const kernel = this.#kernel;
    const params = { size: sizeName(bytes), k, place };
    return [1, 2, 3].flatMap((m) => {
      const next = this.#stripes(bytes, k + m, place);
      const lost = lostUnits(k, m);
      const common = { who: WHO, params: { ...params, m }, bytes: k * bytes };
      const encode = () => kernel.encodeParity(next(), k, m, bytes);
      const recover = () => kernel.reconstruct(next(), k, m, lost, bytes);
      return [
        { ...common, what: "encode", run: encode },
        ...(m <= k ? [{ ...common, what: "reconstruct", run: recover }] : []),
      ];
    });
  }

  /** Gives the unit table of the next stripe: always the same one where it is to be warm. */
  #stripes(bytes: number, units: number, place: Place): () => Uint32Array {
    const stripeBytes = units * (bytes + DISPLACEMENT_BYTES);
    const count = place === "warm" ? 1 : Math.max(2, Math.floor(MEMORY_BYTES / stripeBytes));
    const tables = Array.from({ length: count }, (_, stripe) => {
      const from = this.#base + stripe * stripeBytes;
      return Uint32Array.from({ length: units }, (_, unit) => from + unit * (bytes + DISPLACEMENT_BYTES));
    });
    let at = 0;
    return () => tables[at++ % count]!;
  }

  digests({ sizes }: Matrix): Case[] {
    return sizes.flatMap((bytes) => PLACES.flatMap((place) => this.#digestsOf(bytes, place)));
  }

  #digestsOf(bytes: number, place: Place): Case[] {
    const kernel = this.#kernel;
    const out = this.#out;
    const next = this.#offsets(bytes, place);
    const common = { who: WHO, params: { size: sizeName(bytes), place }, bytes };
    const cases: Case[] = [
      { ...common, what: "xxh3-64", run: () => kernel.checksum64At(next(), bytes, out) },
      { ...common, what: "entry", run: this.#entryEncoder(bytes, next) },
    ];
    if (bytes % 4096 === 0) {
      const blocks = bytes / 4096;
      cases.push({
        ...common,
        what: "xxh3-128 of blocks",
        run: () => kernel.hashBlocksAt(next(), blocks, out),
      });
    }
    if (place === "memory") return cases;
    const outside = this.#room.slice(0, bytes);
    const fromOutside = { size: sizeName(bytes), place: "outside the arena" };
    return [
      ...cases,
      { ...common, params: fromOutside, what: "xxh3-64", run: () => kernel.checksum64(outside, out) },
    ];
  }

  /** Header, copy of the payload, both checksums; always to the same place, as into a ring that is warm. */
  #entryEncoder(bytes: number, next: () => number): () => void {
    const kernel = this.#kernel;
    const target = this.#base + MEMORY_BYTES + 4096 + ENTRY_HEADER_BYTES;
    return () => {
      kernel.view.setUint32(target + ENTRY_PAYLOAD_BYTES, bytes, true);
      kernel.encodeEntryAt(target, next(), bytes);
    };
  }

  #offsets(bytes: number, place: Place): () => number {
    const count = place === "warm" ? 1 : Math.floor(MEMORY_BYTES / bytes);
    let at = 0;
    return () => this.#base + (at++ % count) * bytes;
  }
}

/** m data units apart from each other. */
function lostUnits(k: number, m: number): number {
  let mask = 0;
  for (let i = 0; i < m; i++) mask |= 1 << Math.floor((i * k) / m);
  return mask;
}
