// The handshake after the greeting (fixed newstyle), as steps: a message of the client -> the bytes to answer
// with, and how to go on. It does no I/O and keeps only what the client's flags and options have said.
//
// A client may send options until it chooses an export (EXPORT_NAME, GO) or gives up (ABORT). What we do not
// know is answered with "unsupported", its data skipped, as the protocol demands; STARTTLS and
// STRUCTURED_REPLY are among that. EXPORT_NAME cannot carry an error, so there a wrong name ends the
// connection. Errors never name exports that the client did not name.
import { type BlockDevice, type ExportDirectory, type FoundExport, findExport } from "./export.ts";
import { type NbdLimits, PREFERRED_BLOCK_BYTES } from "./limits.ts";
import {
  encodeExportNameReply,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoText,
  encodeOptionReply,
  encodeServerEntry,
  HANDSHAKE_FLAG,
  INFO,
  OPTION,
  REPLY,
  STRING_BYTES_MAX,
  TRANSMISSION_FLAG,
} from "./wire.ts";

export type Outcome =
  | { readonly kind: "continue" }
  | { readonly kind: "abort" }
  | { readonly kind: "chosen"; readonly found: FoundExport }
  | { readonly kind: "violation"; readonly reason: string };

export interface Step {
  readonly answer: readonly Uint8Array[];
  readonly outcome: Outcome;
}

const MINIMUM_BLOCK_BYTES = 1;
const CONTINUE: Outcome = { kind: "continue" };

export class Negotiation {
  readonly #exports: ExportDirectory;
  readonly #limits: NbdLimits;
  #noZeroes = false;
  #optionCount = 0;

  constructor(exports: ExportDirectory, limits: NbdLimits) {
    this.#exports = exports;
    this.#limits = limits;
  }

  clientFlags(flags: number): Step {
    const known = HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes;
    if ((flags & ~known) !== 0) return violation(`unknown client flags 0x${(flags >>> 0).toString(16)}`);
    this.#noZeroes = (flags & HANDSHAKE_FLAG.noZeroes) !== 0;
    return { answer: [], outcome: CONTINUE };
  }

  option(option: number, data: Uint8Array): Step {
    this.#optionCount += 1;
    if (this.#optionCount > this.#limits.optionCountMax) {
      return violation(`more than ${this.#limits.optionCountMax} options`);
    }
    switch (option) {
      case OPTION.exportName:
        return this.#exportName(data);
      case OPTION.abort:
        return { answer: [encodeOptionReply(option, REPLY.ack)], outcome: { kind: "abort" } };
      case OPTION.list:
        return data.length === 0 ? this.#list() : refuse(option, REPLY.errorInvalid, "LIST has no data");
      case OPTION.info:
      case OPTION.go:
        return this.#infoOrGo(option, data);
      default:
        return refuse(option, REPLY.errorUnsupported, "this server does not know the option");
    }
  }

  #exportName(data: Uint8Array): Step {
    const name = decodeName(data);
    const found = name === null ? null : findExport(this.#exports, name);
    if (found === null) return violation("EXPORT_NAME with a name that is not exported");
    const flags = transmissionFlags(found.device);
    const answer = encodeExportNameReply(found.device.bytes, flags, this.#noZeroes);
    return { answer: [answer], outcome: { kind: "chosen", found } };
  }

  #list(): Step {
    const entries = this.#exports.list().map((name) => {
      const entry = encodeServerEntry(name, this.#describe(name) ?? "");
      return encodeOptionReply(OPTION.list, REPLY.server, entry);
    });
    return { answer: [...entries, encodeOptionReply(OPTION.list, REPLY.ack)], outcome: CONTINUE };
  }

  #infoOrGo(option: number, data: Uint8Array): Step {
    const query = decodeInfoQuery(data);
    if (query === null) return refuse(option, REPLY.errorInvalid, "the option's data is malformed");
    const found = findExport(this.#exports, query.name);
    if (found === null) return refuse(option, REPLY.errorUnknown, "there is no such export");
    const infos = this.#infos(found, query.wanted);
    return {
      answer: [
        ...infos.map((info) => encodeOptionReply(option, REPLY.info, info)),
        encodeOptionReply(option, REPLY.ack),
      ],
      outcome: option === OPTION.go ? { kind: "chosen", found } : CONTINUE,
    };
  }

  #infos({ name, device }: FoundExport, wanted: ReadonlySet<number>): Uint8Array[] {
    const infos = [encodeInfoExport(device.bytes, transmissionFlags(device))];
    const description = this.#describe(name);
    if (wanted.has(INFO.name)) infos.push(encodeInfoText(INFO.name, name));
    if (wanted.has(INFO.description) && description !== null) {
      infos.push(encodeInfoText(INFO.description, description));
    }
    if (wanted.has(INFO.blockSize)) {
      const payloadMax = this.#limits.payloadBytesMax;
      infos.push(encodeInfoBlockSize(MINIMUM_BLOCK_BYTES, PREFERRED_BLOCK_BYTES, payloadMax));
    }
    return infos;
  }

  #describe(name: string): string | null {
    return this.#exports.describe?.(name) ?? null;
  }
}

/**
 * Several connections may share an export: a write is answered when it is durable, so a flush on one
 * connection covers the completed writes of all.
 */
function transmissionFlags(device: BlockDevice): number {
  const flags = TRANSMISSION_FLAG;
  const always = flags.hasFlags | flags.sendFlush | flags.sendFua | flags.canMultiConn;
  const changing = flags.sendTrim | flags.sendWriteZeroes;
  return always | (device.readOnly ? flags.readOnly : changing);
}

function violation(reason: string): Step {
  return { answer: [], outcome: { kind: "violation", reason } };
}

function refuse(option: number, type: number, message: string): Step {
  return {
    answer: [encodeOptionReply(option, type, new TextEncoder().encode(message))],
    outcome: CONTINUE,
  };
}

/** name length 32, name, count 16, count times an information type of 16; nothing before or after. */
function decodeInfoQuery(data: Uint8Array): { name: string; wanted: Set<number> } | null {
  if (data.length < 6) return null;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const nameBytes = view.getUint32(0);
  if (nameBytes > data.length - 6) return null;
  const name = decodeName(data.subarray(4, 4 + nameBytes));
  const count = view.getUint16(4 + nameBytes);
  if (name === null || data.length !== 6 + nameBytes + 2 * count) return null;
  const wanted = new Set<number>();
  for (let index = 0; index < count; index++) wanted.add(view.getUint16(6 + nameBytes + 2 * index));
  return { name, wanted };
}

function decodeName(data: Uint8Array): string | null {
  if (data.length > STRING_BYTES_MAX) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return null;
  }
}
