// The admin API over both of its ways in, with a target that only records what it is asked.
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type IncomingHttpHeaders, request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MirrorvolError } from "../../src/kernel/errors.ts";
import type { AdminTarget } from "../../src/node/admin_api.ts";
import { adminToken, serveAdminSocket, serveAdminTcp } from "../../src/node/admin_server.ts";
import { assert, suite } from "../support/harness.ts";

const SECRET = new TextEncoder().encode("0123456789abcdef0123456789abcdef");
const JSON_TYPE = { "content-type": "application/json" };

class RecordingTarget implements AdminTarget {
  readonly calls: unknown[] = [];

  status(): object {
    return { name: "n", id: 0x1234567890abcdefn };
  }

  async promote(volume: string, options: { readonly force: boolean }): Promise<object> {
    this.calls.push(["promote", volume, options.force]);
    if (volume === "none") throw new MirrorvolError("ERR_NO_VOLUME", 'there is no volume "none"');
    if (volume === "busy") throw new MirrorvolError("ERR_PROMOTE_CONNECTED", "the source is connected");
    return { volume };
  }

  async consistencyPoint(volume: string): Promise<number> {
    this.calls.push(["consistency-point", volume]);
    if (volume === "broken") throw new TypeError("a bug");
    return 7;
  }
}

interface Asked {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: { error?: { code: string; message: string } } & Record<string, unknown>;
}

function ask(
  at: string,
  method: string,
  path: string,
  options: { headers?: object; body?: string } = {},
): Promise<Asked> {
  const [host, port] = at.split(":");
  const target = at.startsWith("/") ? { socketPath: at } : { host, port };
  const headers = options.headers as Record<string, string> | undefined;
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...target, method, path, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("end", () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: JSON.parse(text) }),
      );
    });
    outgoing.on("error", reject);
    outgoing.end(options.body);
  });
}

const test = suite("node admin", { folder: "", path: "" });

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), "mirrorvol-admin-"));
  context.path = join(context.folder, "sock");
});
test.after.each((context) => rmSync(context.folder, { recursive: true }));

test("answers by the socket, which only its user may open", async ({ path }) => {
  const target = new RecordingTarget();
  const listener = await serveAdminSocket(target, path);
  assert.is(statSync(path).mode & 0o777, 0o600);
  assert.equal((await ask(path, "GET", "/status?x=1")).body, { name: "n", id: "1234567890abcdef" });
  assert.equal((await ask(path, "POST", "/volumes/a/promote", { body: '{"force":true}' })).body, {
    volume: "a",
  });
  assert.equal((await ask(path, "POST", "/volumes/a%2Eb/promote")).body, { volume: "a.b" });
  assert.equal((await ask(path, "POST", "/volumes/a/consistency-point")).body, { cp: 7 });
  assert.equal(target.calls, [
    ["promote", "a", true],
    ["promote", "a.b", false],
    ["consistency-point", "a"],
  ]);
  await listener.close();
  assert.not(existsSync(path), "the socket is removed");
});

test("refuses with the status of the kind, a code and a message", async ({ path }) => {
  const target = new RecordingTarget();
  const listener = await serveAdminSocket(target, path);
  const cases: [method: string, path: string, body: string, status: number, code: string][] = [
    ["POST", "/status", "", 405, "ERR_METHOD"],
    ["GET", "/volumes/a/promote", "", 405, "ERR_METHOD"],
    ["GET", "/", "", 404, "ERR_NO_ROUTE"],
    ["POST", "/volumes/a/destroy", "", 404, "ERR_NO_ROUTE"],
    ["POST", "/volumes/none/promote", "", 404, "ERR_NO_VOLUME"],
    ["POST", "/volumes/busy/promote", "", 409, "ERR_PROMOTE_CONNECTED"],
    ["POST", "/volumes/broken/consistency-point", "", 500, "ERR_INTERNAL"],
    ["POST", "/volumes/a/promote", "{", 400, "ERR_USAGE"],
    ["POST", "/volumes/a/promote", "[]", 400, "ERR_USAGE"],
    ["POST", "/volumes/a/promote", '{"force":1}', 400, "ERR_USAGE"],
    ["POST", "/volumes/a/promote", '{"forse":true}', 400, "ERR_USAGE"],
    ["POST", "/volumes/a/consistency-point", '{"force":true}', 400, "ERR_USAGE"],
    ["POST", "/volumes/%zz/promote", "", 400, "ERR_USAGE"],
    ["POST", "/volumes/a/promote", `"${"x".repeat(100_000)}"`, 400, "ERR_USAGE"],
  ];
  for (const [method, where, body, status, code] of cases) {
    const reply = await ask(path, method, where, { body });
    assert.is(reply.status, status, `${method} ${where} ${body.slice(0, 20)}`);
    assert.is(reply.body.error!.code, code);
    assert.ok(reply.body.error!.message.length > 0);
  }
  const forced = target.calls.filter((call) => (call as unknown[])[2] === true);
  assert.equal(forced, [], "nothing was forced by a body that was refused");
  await listener.close();
});

test("replaces the socket of a dead node, and nothing else", async ({ path }) => {
  const target = new RecordingTarget();
  const first = await serveAdminSocket(target, path);
  const refusal = await serveAdminSocket(target, path).catch((error) => error);
  assert.is(refusal.code, "ERR_ADDRESS_IN_USE");
  assert.is((await ask(path, "GET", "/status")).status, 200, "the living one is left alone");
  await first.close();
  writeFileSync(path, "precious");
  assert.is((await serveAdminSocket(target, path).catch((error) => error)).code, "ERR_ADDRESS_IN_USE");
  assert.is(statSync(path).size, 8, "a file that is no socket is left alone");
  rmSync(path);
  await leaveStaleSocket(path);
  const second = await serveAdminSocket(target, path);
  assert.is((await ask(path, "GET", "/status")).status, 200);
  await second.close();
});

/** As a killed process leaves it: there, but nobody listens. */
async function leaveStaleSocket(path: string): Promise<void> {
  const other = `${path}.live`;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ path: other }, resolve));
  const { linkSync } = await import("node:fs");
  linkSync(other, path);
  await new Promise((resolve) => server.close(resolve));
}

test("wants the token over TCP when there is a secret", async () => {
  const listener = await serveAdminTcp(new RecordingTarget(), "127.0.0.1:0", SECRET);
  const token = adminToken(SECRET);
  assert.match(token, /^[0-9a-f]{64}$/);
  const wrong = [{}, { authorization: "Bearer" }, { authorization: `Bearer ${token.replace(/.$/, "x")}` }];
  for (const headers of [...wrong, { authorization: new TextDecoder().decode(SECRET) }]) {
    const reply = await ask(listener.address, "GET", "/status", { headers });
    assert.is(reply.status, 401);
    assert.is(reply.body.error!.code, "ERR_UNAUTHORIZED");
  }
  const headers = { authorization: `Bearer ${token}` };
  assert.is((await ask(listener.address, "GET", "/status", { headers })).status, 200);
  assert.is((await ask(listener.address, "POST", "/volumes/a/promote", { headers, body: "{}" })).status, 200);
  await listener.close();
});

test("without a secret answers this machine, but no web page", async () => {
  const target = new RecordingTarget();
  const listener = await serveAdminTcp(target, "127.0.0.1:0", null);
  const post = (headers: object) =>
    ask(listener.address, "POST", "/volumes/a/promote", { headers, body: "{}" });
  assert.is((await ask(listener.address, "GET", "/status")).status, 200);
  assert.is(
    (await ask(listener.address, "GET", "/status", { headers: { host: "evil.example" } })).status,
    403,
  );
  assert.is((await post({ "content-type": "text/plain" })).status, 403);
  assert.is((await post({ ...JSON_TYPE, origin: "http://evil.example" })).status, 403);
  assert.is((await post({ ...JSON_TYPE, host: "evil.example:80" })).status, 403);
  assert.equal(target.calls, []);
  assert.is((await post({ ...JSON_TYPE, host: "localhost:80" })).status, 200);
  assert.is((await post(JSON_TYPE)).status, 200);
  await listener.close();
});

test("says what it cannot listen at", async () => {
  const listener = await serveAdminTcp(new RecordingTarget(), "127.0.0.1:0", null);
  const refusal = await serveAdminTcp(new RecordingTarget(), listener.address, null).catch((error) => error);
  assert.is(refusal.code, "ERR_ADDRESS_IN_USE");
  assert.match(refusal.message, `http: cannot listen at ${listener.address}`);
  await listener.close();
  const nowhere = await serveAdminSocket(new RecordingTarget(), "/nowhere/at/all.sock").catch(
    (error) => error,
  );
  assert.is(nowhere.code, "ERR_LISTEN");
  assert.match(nowhere.message, "admin: cannot listen at /nowhere/at/all.sock");
});

test.run();
