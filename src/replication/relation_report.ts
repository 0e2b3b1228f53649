// What people and programs are told about the relationship with a mirror: its state, why it is so, and each
// change once.

export type MirrorRelationState = "in sync" | "catching up" | "degraded" | "diverged";

/** `name` is for programs. */
export type RelationEvent = "mirrorstate" | "mirrorlost" | "fenced" | "diverged";
export type OnRelationEvent = (text: string, name: RelationEvent) => void;

/** Why there is no session. */
export interface Trouble {
  readonly state: "degraded" | "diverged";
  readonly text: string;
  /** Found out by talking to the mirror: clients who are not served yet must not be served without it. */
  readonly isFatal: boolean;
}

export class RelationReport {
  readonly #onEvent: OnRelationEvent;
  #trouble: Trouble | null = null;
  /** What the mirror said last about why it is slow. */
  #notice = "";
  #isLossTold = false;
  #told: MirrorRelationState = "degraded";

  constructor(onEvent: OnRelationEvent) {
    this.#onEvent = onEvent;
  }

  get trouble(): Trouble | null {
    return this.#trouble;
  }

  /** Why nothing is confirmed. */
  get reason(): string {
    return this.#notice || (this.#trouble?.text ?? "no confirmation from the mirror");
  }

  stateOf(hasSession: boolean, isInSync: boolean): MirrorRelationState {
    if (this.#trouble !== null) return this.#trouble.state;
    if (isInSync) return "in sync";
    return hasSession ? "catching up" : "degraded";
  }

  detailOf(doing: string, standing: string): string {
    return [this.#trouble?.text ?? doing, this.#notice, standing].filter((part) => part !== "").join("; ");
  }

  /** A session goes on with what was decided. */
  clearTrouble(): void {
    this.#trouble = null;
  }

  /** The connection failed. What was found out by talking is kept. */
  noteFailure(text: string): void {
    if (this.#trouble?.isFatal !== true) this.#trouble = { state: "degraded", text, isFatal: false };
  }

  /** It is of no use to try again soon. */
  giveUp(trouble: Trouble): void {
    const isNews = this.#trouble?.text !== trouble.text;
    this.#trouble = trouble;
    if (!isNews) return;
    this.#told = trouble.state;
    const name = trouble.state === "diverged" ? "diverged" : "mirrorstate";
    this.#onEvent(`mirror ${trouble.state}: ${trouble.text}`, name);
  }

  fence(text: string, fork: string): void {
    this.#trouble = { state: "degraded", text, isFatal: true };
    this.#onEvent(text + fork, "fenced");
  }

  notice(text: string): void {
    this.#notice = text;
    this.#onEvent(`the mirror says ${text}`, "mirrorstate");
  }

  clearNotice(): void {
    this.#notice = "";
  }

  lost(policy: string): void {
    if (this.#isLossTold) return;
    this.#isLossTold = true;
    this.#onEvent(`the mirror is lost (${this.reason}), onMirrorLoss is "${policy}"`, "mirrorlost");
  }

  note(text: string): void {
    this.#onEvent(text, "mirrorstate");
  }

  /** Tells the state if it is another one than was told last. */
  tell(state: MirrorRelationState, detail: string): void {
    if (state === "in sync") this.#isLossTold = false;
    if (state === this.#told) return;
    this.#told = state;
    this.#onEvent(`mirror ${state}: ${detail}`, "mirrorstate");
  }
}
