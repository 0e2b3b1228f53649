// How requests reach the admin API: always by a Unix domain socket on this machine (the configuration names
// it, so that the commands need nothing but the file), and by TCP when "http" says so.
//
// Who may ask:
//   socket   whoever may open it: its mode is 0600, so the user that runs the node and root
//   TCP      with a secret: Authorization: Bearer TOKEN, where TOKEN = hex(HMAC-SHA-256(secret,
//            "mirrorvol admin")); the secret itself is never sent. Without one (only on loopback): anybody on
//            this machine, but no web page: a foreign Host (DNS rebinding), an Origin, or a change without
//            "content-type: application/json" (a form) is refused
import { createHmac, timingSafeEqual } from "node:crypto";
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, isIP } from "node:net";
import { MirrorvolError } from "../kernel/errors.ts";
import { type AdminReply, type AdminTarget, answerAdmin, refusalOf } from "./admin_api.ts";
import { parseHostPort } from "./units.ts";

const BODY_BYTES_MAX = 64 * 1024;
const CONNECTIONS_MAX = 32;
const CLOSE_MS = 2_000;
const TOKEN_TEXT = "mirrorvol admin";

export interface AdminListener {
  /** "host:port" with the real port, or the path of the socket. */
  readonly address: string;
  close(): Promise<void>;
}

/** What a client over TCP sends as its bearer token. */
export function adminToken(secret: Uint8Array): string {
  return createHmac("sha256", secret).update(TOKEN_TEXT).digest("hex");
}

/** On this machine. A socket that a dead node left is replaced; a live one is ERR_ADDRESS_IN_USE. */
export async function serveAdminSocket(target: AdminTarget, path: string): Promise<AdminListener> {
  const server = makeServer(target, () => {});
  try {
    await listen(server, { path });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EADDRINUSE") throw cannotListen("admin", path, cause);
    await removeStaleSocket(path, cause);
    await listen(server, { path });
  }
  chmodSync(path, 0o600);
  return { address: path, close: () => close(server) };
}

export async function serveAdminTcp(
  target: AdminTarget,
  address: string,
  secret: Uint8Array | null,
): Promise<AdminListener> {
  const server = makeServer(target, (request) => {
    if (secret === null) refuseWebPages(request);
    else checkToken(request, adminToken(secret));
  });
  try {
    await listen(server, parseHostPort(address)!);
  } catch (cause) {
    throw cannotListen("http", address, cause);
  }
  const { address: host, family, port } = server.address() as AddressInfo;
  const bracketed = String(family).endsWith("6") ? `[${host}]` : host;
  return { address: `${bracketed}:${port}`, close: () => close(server) };
}

function makeServer(target: AdminTarget, authorize: (request: IncomingMessage) => void): Server {
  const server = createServer((request, response) => {
    handle(target, request, authorize).then(
      (reply) => send(response, reply),
      (error: unknown) => send(response, refusalOf(error)),
    );
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.on("clientError", (_error, socket) => socket.destroy());
  return server;
}

async function handle(
  target: AdminTarget,
  request: IncomingMessage,
  authorize: (request: IncomingMessage) => void,
): Promise<AdminReply> {
  authorize(request);
  const body = await readBody(request);
  const path = (request.url ?? "/").split("?", 1)[0]!;
  return answerAdmin(target, { method: request.method ?? "GET", path, body });
}

function checkToken(request: IncomingMessage, token: string): void {
  const given = Buffer.from(request.headers.authorization ?? "");
  const wanted = Buffer.from(`Bearer ${token}`);
  if (given.length === wanted.length && timingSafeEqual(given, wanted)) return;
  throw new MirrorvolError("ERR_UNAUTHORIZED", "the bearer token is missing or wrong");
}

function refuseWebPages(request: IncomingMessage): void {
  const host = /^(\[.*\]|[^:]*)/.exec(request.headers.host ?? "")![0].replace(/^\[|\]$/g, "");
  const isForeign = host !== "localhost" && isIP(host) === 0;
  const isForm = request.method === "POST" && request.headers["content-type"] !== "application/json";
  if (!isForeign && !isForm && request.headers.origin === undefined) return;
  const wanted = "expected content-type application/json, no origin, and localhost or an address as host";
  throw new MirrorvolError("ERR_FORBIDDEN", `this may come from a web page: ${wanted}`);
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX)
      throw new MirrorvolError("ERR_USAGE", `a body has at most ${BODY_BYTES_MAX} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function send(response: ServerResponse, { status, body }: AdminReply): void {
  response.setHeader("content-type", "application/json");
  response.setHeader("cache-control", "no-store");
  // What was refused may have a body that nobody read.
  if (status >= 400) response.setHeader("connection", "close");
  response.statusCode = status;
  response.end(`${JSON.stringify(body, plainBigint)}\n`);
}

/** Chains and ids have 64 bits; JSON's readers have 53. */
function plainBigint(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString(16).padStart(16, "0") : value;
}

function listen(server: Server, at: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(at, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Lets answers under way go out for a moment; idle connections are closed at once. */
function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}

async function removeStaleSocket(path: string, cause: unknown): Promise<void> {
  const fail = (reason: string) => new MirrorvolError("ERR_ADDRESS_IN_USE", `admin: ${reason}`, { cause });
  if (!lstatSync(path).isSocket()) throw fail(`${path} is there and is no socket`);
  if (await isAnswered(path)) throw fail(`a node listens at ${path} already`);
  unlinkSync(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function cannotListen(key: string, address: string, cause: unknown): MirrorvolError {
  const { code } = cause as NodeJS.ErrnoException;
  const errorCode = code === "EADDRINUSE" ? "ERR_ADDRESS_IN_USE" : "ERR_LISTEN";
  const reason = code ?? String(cause);
  return new MirrorvolError(errorCode, `${key}: cannot listen at ${address}: ${reason}`, { cause });
}
