// Bytes of a client -> messages, however the stream cuts them. The parser knows the shape of messages and
// nothing of their meaning; it never looks ahead of what it was asked for.
//
//   clientFlags --> option --> option ... --> (enterTransmission) --> request --> request ...
//                                                                        \-> payload -/
//
// The owner feeds a chunk and pulls messages until there is none. It may stop pulling at any message, which
// is how backpressure works: retain() then keeps the rest of the chunk, whose memory belongs to the stream
// and is valid only during its callback.
//
// Invariants:
//   - a message is returned once, when its last byte is there;
//   - after the request of a write, the owner says where its payload goes (takePayload, skipPayload) before
//     it pulls again; each payload byte is copied once;
//   - after a violation the place in the stream is lost: nothing more is returned, and what is fed is dropped,
//     as after stop().
//
// Example: a 4 KiB write that arrives as 20 + 8 + 4096 bytes gives null, then {request}, and after
// takePayload(buffer) first null, then {payload}.
import { assert } from "../kernel/errors.ts";
import {
  CLIENT_FLAGS_BYTES,
  COMMAND,
  decodeRequest,
  hasMagic,
  OPTION_HEADER_BYTES,
  OPTION_MAGIC,
  REQUEST_HEADER_BYTES,
  REQUEST_MAGIC,
  type Request,
} from "./wire.ts";

export type Message =
  | { readonly kind: "clientFlags"; readonly flags: number }
  | { readonly kind: "option"; readonly option: number; readonly data: Uint8Array }
  | { readonly kind: "request"; readonly request: Request }
  | { readonly kind: "payload" }
  | { readonly kind: "violation"; readonly reason: string };

type State =
  | "clientFlags"
  | "optionHeader"
  | "optionData"
  | "requestHeader"
  | "payloadWanted"
  | "payload"
  | "stopped";

const NOTHING = new Uint8Array(0);

export class Parser {
  readonly #optionBytesMax: number;
  readonly #header = new Uint8Array(REQUEST_HEADER_BYTES);
  readonly #headerView = new DataView(this.#header.buffer);
  #state: State = "clientFlags";
  #option = 0;
  /** The unread part of what was fed. */
  #input: Uint8Array = NOTHING;
  #isInputOurs = true;
  /** Where the bytes of the present message go; null when they are skipped. */
  #target: Uint8Array | null;
  #wantedBytes = CLIENT_FLAGS_BYTES;
  #gotBytes = 0;

  constructor(optionBytesMax: number) {
    this.#optionBytesMax = optionBytesMax;
    this.#target = this.#header;
  }

  /** Bytes that were fed and not yet looked at. */
  get unreadBytes(): number {
    return this.#input.length;
  }

  feed(chunk: Uint8Array): void {
    if (this.#state === "stopped") return;
    if (this.#input.length === 0) {
      this.#input = chunk;
      this.#isInputOurs = false;
      return;
    }
    const joined = new Uint8Array(this.#input.length + chunk.length);
    joined.set(this.#input);
    joined.set(chunk, this.#input.length);
    this.#input = joined;
    this.#isInputOurs = true;
  }

  /** Keeps what is unread beyond the stream's callback. */
  retain(): void {
    if (!this.#isInputOurs) this.#input = this.#input.slice();
    this.#isInputOurs = true;
  }

  /** Null: more bytes are needed. */
  next(): Message | null {
    assert(this.#state !== "payloadWanted", "the payload of a write has a place before the next message");
    while (this.#state !== "stopped" && this.#gather()) {
      const message = this.#complete();
      if (message !== null) return message;
    }
    return null;
  }

  /** Options end here; what follows are requests. */
  enterTransmission(): void {
    this.#expect("requestHeader", REQUEST_HEADER_BYTES, this.#header);
  }

  /** Nothing is wanted any more. */
  stop(): void {
    this.#state = "stopped";
    this.#input = NOTHING;
  }

  takePayload(target: Uint8Array): void {
    this.#expect("payload", target.length, target);
  }

  skipPayload(length: number): void {
    this.#expect("payload", length, null);
  }

  #expect(state: State, wantedBytes: number, target: Uint8Array | null): void {
    this.#state = state;
    this.#target = target;
    this.#wantedBytes = wantedBytes;
    this.#gotBytes = 0;
  }

  /** Moves bytes to the target; true when it has all it wants. */
  #gather(): boolean {
    const count = Math.min(this.#wantedBytes - this.#gotBytes, this.#input.length);
    if (count > 0) {
      this.#target?.set(this.#input.subarray(0, count), this.#gotBytes);
      this.#gotBytes += count;
      this.#input = count === this.#input.length ? NOTHING : this.#input.subarray(count);
    }
    return this.#gotBytes === this.#wantedBytes;
  }

  #complete(): Message | null {
    switch (this.#state) {
      case "clientFlags":
        this.#expect("optionHeader", OPTION_HEADER_BYTES, this.#header);
        return { kind: "clientFlags", flags: this.#headerView.getUint32(0) };
      case "optionHeader":
        return this.#completeOptionHeader();
      case "optionData": {
        const data = this.#target!;
        this.#expect("optionHeader", OPTION_HEADER_BYTES, this.#header);
        return { kind: "option", option: this.#option, data };
      }
      case "requestHeader":
        return this.#completeRequestHeader();
      default:
        this.enterTransmission();
        return { kind: "payload" };
    }
  }

  #completeOptionHeader(): Message | null {
    const view = this.#headerView;
    if (!hasMagic(view, 0, OPTION_MAGIC)) return this.#violation("an option without its magic");
    const length = view.getUint32(12);
    this.#option = view.getUint32(8);
    if (length > this.#optionBytesMax) {
      return this.#violation(`an option of ${length} bytes; ${this.#optionBytesMax} are allowed`);
    }
    this.#expect("optionData", length, new Uint8Array(length));
    return null;
  }

  #completeRequestHeader(): Message {
    const view = this.#headerView;
    const magic = view.getUint32(0);
    if (magic !== REQUEST_MAGIC) return this.#violation(`a request with magic 0x${magic.toString(16)}`);
    const request = decodeRequest(view);
    if (request.command === COMMAND.write) this.#state = "payloadWanted";
    else this.enterTransmission();
    return { kind: "request", request };
  }

  #violation(reason: string): Message {
    this.stop();
    return { kind: "violation", reason };
  }
}
