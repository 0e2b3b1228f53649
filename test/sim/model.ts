// What a volume must hold. Every sector of 512 bytes is a register, and every write has a value of its own, so that
// a read says exactly which write it saw.
//
// For each register the model keeps the writes that it may hold. From the first moment on, rules take some away:
//
//   - a write was acknowledged: what had ended before it began is gone;
//   - a read saw a write: what had ended before the read began and was not seen is gone, and so is what had ended
//     before the seen write began. So what was read stays, and what was in doubt and was not seen never comes back.
//
// A write has *ended* when its client heard of it: acknowledged, or an error that leaves it in doubt; also when the
// machine that it was sent to has crashed. One that its client cancelled has not.
//
// Beside what the source holds, the model keeps what the mirror may hold instead. A write is *safe* when it was
// acknowledged while the mirror confirmed it; only safe writes and what was read from a pair in sync take anything
// away there, but for reads of what its client had not wanted on the mirror. A promotion starts a model of its own
// from it (`promoted`), and the source's goes on by itself: two sides that both serve are two histories.

export const SECTOR_BYTES = 512;
const SECTOR_WORDS = SECTOR_BYTES / 4;

export interface Write {
  /** Above 0; 0 is what a new volume holds. */
  readonly id: number;
  /** Zeros, as a trim leaves them. */
  readonly isZero: boolean;
  /** Its client did not ask for the mirror: who reads it may read what a failover loses. */
  readonly isWeak: boolean;
  readonly beganUs: number;
  endedUs: number;
}

/** A read that has begun. */
export interface Read {
  readonly first: number;
  readonly beganUs: number;
  readonly before: readonly (readonly Write[])[];
}

interface Register {
  own: readonly Write[];
  mirror: readonly Write[];
  /** Every write there ever was, the first state included. */
  readonly ever: Write[];
}

const NEVER = Number.POSITIVE_INFINITY;
const FIRST: Write = { id: 0, isZero: true, isWeak: false, beganUs: -2, endedUs: -1 };

export class Model {
  readonly sectors: number;
  readonly #registers: Register[];
  /** Something was acknowledged that the mirror may lack. */
  #hasUnsafe = false;

  constructor(sectors: number, registers?: Register[]) {
    this.sectors = sectors;
    const first = [FIRST];
    this.#registers =
      registers ?? Array.from({ length: sectors }, () => ({ own: first, mirror: first, ever: [FIRST] }));
  }

  begin(
    first: number,
    count: number,
    what: Pick<Write, "id"> & Partial<Pick<Write, "isZero" | "isWeak">>,
    nowUs: number,
  ): Write {
    const write: Write = { isZero: false, isWeak: false, ...what, beganUs: nowUs, endedUs: NEVER };
    for (let sector = first; sector < first + count; sector++) {
      const register = this.#registers[sector]!;
      const isSame = register.own === register.mirror;
      register.ever.push(write);
      register.own = [...register.own, write];
      register.mirror = isSame ? register.own : [...register.mirror, write];
    }
    return write;
  }

  /** The client was told that it is done. */
  acknowledge(write: Write, first: number, count: number, nowUs: number, isSafe: boolean): void {
    write.endedUs = nowUs;
    if (!isSafe) this.#hasUnsafe = true;
    const isLeft = (each: Write) => each === write || each.endedUs >= write.beganUs;
    for (let sector = first; sector < first + count; sector++) {
      this.#keep(this.#registers[sector]!, isLeft, isSafe);
    }
  }

  /** It is not known whether it was done, but nobody is at it any more. */
  doubt(write: Write, nowUs: number): void {
    write.endedUs = Math.min(write.endedUs, nowUs);
  }

  /** The mirror has confirmed everything there is. */
  everythingIsSafe(): void {
    if (!this.#hasUnsafe) return;
    this.#hasUnsafe = false;
    for (const register of this.#registers) register.mirror = register.own;
  }

  /** To be called when a read begins: what it may still see, whatever is acknowledged before it ends. */
  beginRead(first: number, count: number, nowUs: number): Read {
    const before = this.#registers.slice(first, first + count).map(({ own }) => own);
    return { first, beganUs: nowUs, before };
  }

  /** Null: the bytes are right. Otherwise what is wrong. */
  observe(read: Read, bytes: Uint8Array, isSafe: boolean): string | null {
    for (let i = 0; i < read.before.length; i++) {
      const sector = bytes.subarray(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES);
      const wrong = this.#observeSector(read, i, sector, isSafe);
      if (wrong !== null) return wrong;
    }
    return null;
  }

  /**
   * What the mirror's volume must hold, from its promotion on. After a forced one that may be any write there ever
   * was; what is read from then on stays all the same.
   */
  promoted(isForced: boolean): Model {
    const registers = this.#registers.map(({ mirror, ever }) => {
      const own = isForced ? [...ever] : mirror;
      return { own, mirror: own, ever: [...ever] };
    });
    const model = new Model(this.sectors, registers);
    model.#hasUnsafe = true;
    return model;
  }

  #observeSector({ first, beganUs, before }: Read, index: number, bytes: Uint8Array, isSafe: boolean) {
    const sector = first + index;
    const id = writeIn(sector, bytes);
    const register = this.#registers[sector]!;
    if (id === null) return `sector ${sector} holds what nobody wrote there: ${preview(bytes)}`;
    const isSeen = (write: Write) => (id === 0 ? write.isZero : write.id === id);
    const seen = register.own.filter(isSeen);
    // It was overwritten while it was read: perhaps what was seen is gone, and says nothing about what is left.
    if (before[index]!.some((write) => isSeen(write) && !register.own.includes(write))) return null;
    if (seen.length === 0) {
      const may = register.own.map((write) => `${write.id}${write.isZero ? " (zeros)" : ""}`);
      return `sector ${sector} holds write ${id}; it may hold ${may.join(", ")}`;
    }
    if (register.own.length === 1 && register.mirror === register.own) return null;
    const earliestUs = Math.min(...seen.map((write) => write.beganUs));
    const isLeft = (each: Write) => isSeen(each) || (each.endedUs >= beganUs && each.endedUs >= earliestUs);
    this.#keep(register, isLeft, isSafe && !seen.some(({ isWeak }) => isWeak));
    return null;
  }

  #keep(register: Register, isLeft: (write: Write) => boolean, isSafe: boolean): void {
    const isSame = register.own === register.mirror;
    register.own = register.own.filter(isLeft);
    if (!isSafe) return;
    register.mirror = isSame ? register.own : register.mirror.filter(isLeft);
  }
}

/** Bytes that tell write and sector. */
export function fill(bytes: Uint8Array, firstSector: number, id: number): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let i = 0; i < words.length; i++) {
    const within = i % SECTOR_WORDS;
    const sector = firstSector + (i - within) / SECTOR_WORDS;
    words[i] = within === 0 ? id : within === 1 ? sector : mix(id, sector, within);
  }
}

/** The write that filled the sector, 0 for zeros, null for anything else. */
function writeIn(sector: number, bytes: Uint8Array): number | null {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, SECTOR_WORDS);
  const id = words[0]!;
  if (id === 0) return words.every((word) => word === 0) ? 0 : null;
  if (words[1] !== sector) return null;
  for (let i = 2; i < SECTOR_WORDS; i++) if (words[i] !== mix(id, sector, i)) return null;
  return id;
}

function mix(id: number, sector: number, at: number): number {
  return (Math.imul(id, 0x9e3779b1) ^ Math.imul(sector + 1, 0x85ebca6b) ^ at) >>> 0;
}

function preview(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(0, 16)).toString("hex");
}
