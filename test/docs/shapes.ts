// The notation of docs/FORMAT.md for the bodies of messages, as in `after: position, seals: list seal`: makes a
// sample value of a body, and its bytes, from the document alone.

/** A value for the code to encode, and the bytes that the document promises for it. */
export interface Sample {
  readonly value: unknown;
  readonly bytes: number[];
}

export class Shapes {
  readonly #records: ReadonlyMap<string, string>;
  /** So that no two fields have the same value, and swapped ones are noticed. */
  #next = 0;

  constructor(records: ReadonlyMap<string, string>) {
    this.#records = records;
  }

  /** The fields of a named record. */
  fieldsOf(name: string): string {
    const fields = this.#records.get(name);
    if (fields === undefined) throw new Error(`docs/FORMAT.md does not say what "${name}" is`);
    return fields;
  }

  sampleOf(fields: string): Sample {
    const value: Record<string, unknown> = {};
    const bytes: number[] = [];
    for (const [name, type] of this.#expand(fields)) {
      const field = this.#sampleOfType(type);
      value[name] = field.value;
      bytes.push(...field.bytes);
    }
    return { value, bytes };
  }

  #expand(fields: string): [name: string, type: string][] {
    if (fields === "") return [];
    return fields.split(", ").flatMap((field) => {
      if (field.startsWith("...")) return this.#expand(this.fieldsOf(field.slice(3)));
      const [name, type] = field.split(": ");
      return [[name!, type!] as [string, string]];
    });
  }

  #sampleOfType(type: string): Sample {
    const [word, ...more] = type.split(" ");
    const rest = more.join(" ");
    switch (word) {
      case "u8":
        return numeric(1, (this.#next += 1) % 16);
      case "u32":
        return numeric(4, 60 + ((this.#next += 1) % 60));
      case "u64": {
        const value = 0xfedc_ba98_0000_0000n + BigInt((this.#next += 1));
        return { value, bytes: littleEndian(8, value) };
      }
      case "count":
        return numeric(8, 2 ** 40 + (this.#next += 1));
      case "flag":
        return { value: true, bytes: [1] };
      case "role":
        return { value: "mirror", bytes: [1] };
      case "outcome":
        return { value: "failed", bytes: [2] };
      case "bytes":
      case "rest":
        return filled(Number(rest), (this.#next += 1));
      case "text":
        return textual(`text ${(this.#next += 1)}`);
      case "optional": {
        const inner = this.#sampleOfType(rest);
        return { value: inner.value, bytes: [1, ...inner.bytes] };
      }
      case "list": {
        const items = [this.#sampleOfType(rest), this.#sampleOfType(rest)];
        const bytes = [...littleEndian(4, 2n), ...items.flatMap((item) => item.bytes)];
        return { value: items.map((item) => item.value), bytes };
      }
      default:
        return this.sampleOf(this.fieldsOf(type));
    }
  }
}

function numeric(size: number, value: number): Sample {
  return { value, bytes: littleEndian(size, BigInt(value)) };
}

function littleEndian(size: number, value: bigint): number[] {
  return Array.from({ length: size }, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn));
}

function filled(length: number, fill: number): Sample {
  const value = new Uint8Array(length).fill(fill);
  return { value, bytes: [...value] };
}

function textual(value: string): Sample {
  const bytes = [...new TextEncoder().encode(value)];
  return { value, bytes: [...littleEndian(2, BigInt(bytes.length)), ...bytes] };
}
