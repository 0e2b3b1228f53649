// The one error class of the project. `code` is stable and part of the API; the message is for people.

export class MirrorvolError extends Error {
  readonly code: string;

  constructor(code: `ERR_${string}`, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "MirrorvolError";
    this.code = code;
  }
}

/** For what the programmer promised. It stays on in production: stop rather than corrupt. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new MirrorvolError("ERR_ASSERTION", message);
}
