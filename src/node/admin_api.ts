// The admin API of a running node, apart from how requests arrive (admin_server.ts).
//
//   GET  /status                                        the node and its volumes
//   POST /volumes/NAME/promote            {"force"?}    mirror -> source; answers when the volume is served
//   POST /volumes/NAME/consistency-point                answers with its number when it is committed
//
// Bodies and answers are JSON. A failure is {"error": {"code", "message"}} with the HTTP status of its kind.
import { MirrorvolError } from "../kernel/errors.ts";

/** What the API does to a node. */
export interface AdminTarget {
  status(): object;
  promote(volume: string, options: { readonly force: boolean }): Promise<object>;
  consistencyPoint(volume: string): Promise<number>;
}

export interface AdminRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** The whole body; empty for none. */
  readonly body: string;
}

export interface AdminReply {
  readonly status: number;
  readonly body: object;
}

const STATUS_OF_CODE: Record<string, number> = {
  ERR_USAGE: 400,
  ERR_UNAUTHORIZED: 401,
  ERR_FORBIDDEN: 403,
  ERR_NO_ROUTE: 404,
  ERR_NO_VOLUME: 404,
  ERR_METHOD: 405,
};

/** Never rejects. */
export async function answerAdmin(target: AdminTarget, request: AdminRequest): Promise<AdminReply> {
  try {
    return { status: 200, body: await route(target, request) };
  } catch (error) {
    return refusalOf(error);
  }
}

export function refusalOf(error: unknown): AdminReply {
  const code = error instanceof MirrorvolError ? error.code : "ERR_INTERNAL";
  const fallback = error instanceof MirrorvolError ? 409 : 500;
  return { status: STATUS_OF_CODE[code] ?? fallback, body: { error: { code, message: messageOf(error) } } };
}

/** With the causes, which say what the system said. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  const isTold = !(cause instanceof Error) || error.message.includes(cause.message);
  return isTold ? error.message : `${error.message}: ${messageOf(cause)}`;
}

async function route(target: AdminTarget, { method, path, body }: AdminRequest): Promise<object> {
  if (path === "/status") {
    expectMethod(method, "GET");
    return target.status();
  }
  const match = /^\/volumes\/([^/]+)\/(promote|consistency-point)$/.exec(path);
  if (match === null) throw new MirrorvolError("ERR_NO_ROUTE", `there is nothing at ${path}`);
  expectMethod(method, "POST");
  const volume = decodeName(match[1]!);
  const options = readBody(body);
  if (match[2] === "promote") return target.promote(volume, { force: readForce(options) });
  expectKeys(options, []);
  return { cp: await target.consistencyPoint(volume) };
}

function expectMethod(method: string, expected: string): void {
  if (method !== expected) throw new MirrorvolError("ERR_METHOD", `expected ${expected}, got ${method}`);
}

function decodeName(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch (cause) {
    throw new MirrorvolError("ERR_USAGE", `${encoded} is no volume name`, { cause });
  }
}

function readBody(body: string): Record<string, unknown> {
  if (body === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (cause) {
    throw new MirrorvolError("ERR_USAGE", "the body is not JSON", { cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new MirrorvolError("ERR_USAGE", "the body is not a JSON object");
}

function readForce(options: Record<string, unknown>): boolean {
  expectKeys(options, ["force"]);
  const { force = false } = options;
  if (typeof force !== "boolean") throw new MirrorvolError("ERR_USAGE", "force is true or false");
  return force;
}

function expectKeys(options: Record<string, unknown>, known: readonly string[]): void {
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new MirrorvolError("ERR_USAGE", `the body has an unknown key: ${unknown}`);
}
