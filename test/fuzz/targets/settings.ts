// What people and scripts write: sizes, durations, addresses, the configuration, command lines, admin requests.
//
// Oracles: a size is what exact arithmetic makes of the text; an address is one that the system's own parser takes
// apart in the same way; a configuration that is accepted has every key of the JSON behind it, and means the
// same when it is written anew; a command line that is accepted means the same in its canonical form.

import { isIP } from "node:net";
import { type Command, parseCommandLine } from "../../../src/cli/arguments.ts";
import { MirrorvolError } from "../../../src/kernel/errors.ts";
import { type AdminTarget, answerAdmin } from "../../../src/node/admin_api.ts";
import { parseConfig } from "../../../src/node/config.ts";
import { isLoopback, parseDuration, parseHostPort, parseSize, parseSocket } from "../../../src/node/units.ts";
import {
  ACCEPTED,
  bytesOfText,
  expect,
  refusalCode,
  type Target,
  textOfBytes,
  type Verdict,
} from "../target.ts";

const FACTORS: Record<string, bigint> = {
  "": 1n,
  KiB: 2n ** 10n,
  MiB: 2n ** 20n,
  GiB: 2n ** 30n,
  TiB: 2n ** 40n,
};
const DURATIONS: Record<string, bigint> = { "": 1n, ms: 1n, s: 1000n, min: 60_000n, h: 3_600_000n };

/** What the notation says, or null: split by hand, computed exactly. */
function quantityOf(text: string, factors: Record<string, bigint>): number | null {
  let digits = 0;
  while (digits < text.length && "0123456789".includes(text[digits]!)) digits += 1;
  const factor = Object.hasOwn(factors, text.slice(digits)) ? factors[text.slice(digits)] : undefined;
  if (digits === 0 || factor === undefined) return null;
  const value = BigInt(text.slice(0, digits)) * factor;
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : null;
}

/** What an address means to the system: a host that is a name or an address, and a port. */
function checkAddress(text: string): void {
  const parsed = parseHostPort(text);
  if (parsed === null) return;
  const { host, port } = parsed;
  const isBracketed = text.startsWith("[");
  expect(text === (isBracketed ? `[${host}]` : host) + text.slice(text.lastIndexOf(":")), "pieces are lost");
  expect(Number.isInteger(port) && port <= 65_535, `port ${port}`);
  if (isBracketed) expect(isIP(host) === 6, `[${host}] is no IPv6 address`);
  // Numbers and dots are an address or nothing: a resolver may read "127.1" or "010.0.0.1" in its own way.
  if (/^[\d.]+$/.test(host)) expect(isIP(host) === 4, `${host} is no IPv4 address`);
  if (isLoopback(host)) expect(host === "localhost" || isIP(host) !== 0, `${host} may resolve to anything`);
}

export const unitsTarget: Target = {
  name: "units",
  bytesMax: 64,
  share: 3000,
  seeds: () =>
    [
      "256MiB",
      "2TiB",
      "4096",
      "10s",
      "500ms",
      "2min",
      "127.0.0.1:8750",
      "[::1]:0",
      "a-b.c:65535",
      "unix:/x",
    ].map(bytesOfText),
  words: ["KiB", "TiB", "min", "h", "127.", "0x", "e3", "localhost:1", "[", "]", "::", " ", "\n", "٣"].map(
    bytesOfText,
  ),
  check: (input) => {
    const text = textOfBytes(input);
    const size = parseSize(text);
    const duration = parseDuration(text);
    expect(size === quantityOf(text, FACTORS), `size ${size} of "${text}"`);
    expect(duration === quantityOf(text, DURATIONS), `duration ${duration} of "${text}"`);
    checkAddress(text);
    const socket = parseSocket(text);
    expect(socket === null || `unix:${socket}` === text, "a socket's path is changed");
    const isAny = size !== null || duration !== null || parseHostPort(text) !== null || socket !== null;
    return isAny ? ACCEPTED : "nothing";
  },
};

const CONFIG = {
  name: "gateway-a",
  listen: "127.0.0.1:8750",
  nbd: "127.0.0.1:10809",
  http: "127.0.0.1:8760",
  admin: "run/sock",
  nbdUnauthenticated: false,
  secretFile: "/etc/secret",
  volumes: {
    orders: {
      size: "256MiB",
      members: ["/ssd0/orders", "/ssd1/orders", "/ssd2/orders"],
      parity: 1,
      dataUnits: 2,
      memberSize: "1GiB",
      log: ["/ssd0/orders.log", "/ssd1/orders.log"],
      logSize: "32MiB",
      cpInterval: "5s",
      cpDirtySize: "8MiB",
      writeTimeout: "60s",
      role: "source",
      mirror: {
        url: "ws://10.0.0.2:8750",
        volume: "a-orders",
        mode: "sync",
        onMirrorLoss: "continue",
        mirrorTimeoutMs: 2000,
      },
    },
    other: { size: 4194304, members: ["m"], log: ["l"], role: "mirror" },
  },
};

const FILE = "/x/node.json";
/** Deeper than a recursive reader or writer can follow. */
const NESTED = `${"[".repeat(12_000)}${"]".repeat(12_000)}`;

/** Every value of the JSON that is text or a number must be found in what the configuration says, somewhere. */
function checkConfig(text: string): void {
  const config = parseConfig(text, FILE);
  const value = JSON.parse(text) as typeof CONFIG;
  const again = parseConfig(JSON.stringify(value), FILE);
  expect(show(again) === show(config), "written anew it means something else");
  expect([...config.volumes.keys()].join() === Object.keys(value.volumes).join(), "other volumes");
  for (const [name, { volume, mirror }] of config.volumes) {
    const raw = value.volumes[name as "orders"];
    expect(volume.members.length === raw.members.length, "a member is lost");
    expect(volume.log.length === raw.log.length, "a log copy is lost");
    expect(volume.sizeBytes === quantityOf(String(raw.size), FACTORS), `size ${volume.sizeBytes}`);
    expect((mirror === null) === (raw.mirror === undefined), "a mirror is lost");
    if (mirror === null) continue;
    const { username, password, hostname } = new URL(mirror.url);
    expect(username + password === "" && hostname !== "", `url ${mirror.url}`);
  }
  for (const key of ["listen", "http"] as const) if (config[key] !== null) checkAddress(config[key]);
}

function show(config: object): string {
  return JSON.stringify(config, (_key, value) => (value instanceof Map ? [...value] : value));
}

export const configTarget: Target = {
  name: "config",
  bytesMax: 64 * 1024,
  share: 1000,
  seeds: () =>
    [
      JSON.stringify(CONFIG),
      JSON.stringify({ volumes: { v: { size: 4096 * 64, members: ["a", "b"], log: ["c"] } } }),
      `{"name":${NESTED},"volumes":{"v":{"members":[${NESTED}]}}}`,
    ].map(bytesOfText),
  words: [
    ...[
      '"',
      "\\u0061",
      "\\",
      ",",
      ":",
      "{}",
      "[]",
      "[",
      "{",
      "null",
      "true",
      "1e9",
      "-0",
      "0.5",
      '"a":',
      "\ufeff",
    ],
    ...[
      '"__proto__":{}',
      '"constructor"',
      '"size":',
      '"members":["a"]',
      '"parity":0',
      '"role":"mirror"',
      "TiB",
    ],
    ...[
      "ws://u:p@h",
      "ws://[::1]",
      "/p?q#f",
      "unix:/",
      "0.0.0.0:1",
      "[::]:1",
      "..",
      "/ssd0/orders",
      ".0",
      "\u0000",
    ],
  ].map(bytesOfText),
  check: (input) => {
    try {
      checkConfig(textOfBytes(input));
      return ACCEPTED;
    } catch (error) {
      return refusalCode(error, "ERR_CONFIG");
    }
  },
};

/** The command as one would write it who wants to be understood; words that look like options go last. */
function argumentsOf(command: Command): string[] {
  if (command.name === "version") return ["--version"];
  if (command.name === "help") return command.of === null ? ["help"] : ["help", command.of];
  if (command.name === "inspect") {
    const { kind, paths, isJson, withData } = command;
    return ["inspect", ...(isJson ? ["--json"] : []), ...(withData ? ["--data"] : []), "--", kind, ...paths];
  }
  const config = `--config=${command.config}`;
  switch (command.name) {
    case "create":
      return ["create", config, "--", ...command.volumes];
    case "promote":
      return ["promote", config, ...(command.force ? ["--force"] : []), "--", command.volume];
    case "status":
      return ["status", config, ...(command.isJson ? ["--json"] : [])];
    default:
      return ["serve", config];
  }
}

/** Words are divided by line feeds. */
export const argumentsTarget: Target = {
  name: "arguments",
  bytesMax: 400,
  share: 2000,
  seeds: () =>
    [
      "create\na\n--config=c.json\nb",
      "status\n--json\n--config\nc",
      "promote\n--force\nv\n--config\nc",
      "inspect\nmap\np\nq\n--json\n--data",
      "help\nserve",
      "serve\n-h",
      "--version",
    ].map(bytesOfText),
  words: [
    "\n--\n",
    "\n",
    "--no-json",
    "--config=",
    "--config",
    "-",
    "=",
    "__proto__",
    "-hx",
    "inspect\n",
    "\u0000",
  ].map(bytesOfText),
  check: (input) => {
    const words = textOfBytes(input).split("\n");
    try {
      const command = parseCommandLine(words);
      const canonical = argumentsOf(command);
      expect(show(parseCommandLine(canonical)) === show(command), `${canonical} means something else`);
      const said = "config" in command && command.config !== "" ? [command.config] : [];
      const named = "volumes" in command ? command.volumes : "paths" in command ? command.paths : [];
      for (const word of [...said, ...named]) {
        expect(
          words.some((given) => given.endsWith(word)),
          `nobody said "${word}"`,
        );
      }
      return ACCEPTED;
    } catch (error) {
      return refusalCode(error, "ERR_USAGE");
    }
  },
};

const VOLUMES = ["a", "a.b"];

/** Method, path and body are divided by the first two line feeds. */
export const adminTarget: Target = {
  name: "admin-api",
  bytesMax: 2000,
  share: 2000,
  seeds: () =>
    [
      "GET\n/status\n",
      'POST\n/volumes/a/promote\n{"force":true}',
      "POST\n/volumes/a%2Eb/promote\n{}",
      "POST\n/volumes/a/consistency-point\n",
    ].map(bytesOfText),
  words: [
    '{"force":false}',
    '"force":',
    "%2e",
    "%",
    "%00",
    "/../",
    "?",
    "[]",
    "1",
    '"__proto__":1,',
    "/volumes/",
  ].map(bytesOfText),
  check: async (input) => {
    const [method = "", path = "", ...rest] = textOfBytes(input).split("\n");
    const body = rest.join("\n");
    const calls: string[] = [];
    const call = (what: string, volume: string) => {
      calls.push(what);
      if (!VOLUMES.includes(volume)) throw new MirrorvolError("ERR_NO_VOLUME", "no such volume");
    };
    const target: AdminTarget = {
      status: () => ({ name: "n" }),
      promote: async (volume, { force }) => {
        call(`promote ${force}`, volume);
        return { volume };
      },
      consistencyPoint: async (volume) => {
        call("cp", volume);
        return 1;
      },
    };
    const reply = await answerAdmin(target, { method, path, body });
    return judgeAdmin(reply, calls, { method, body });
  },
};

function judgeAdmin(
  reply: { readonly status: number; readonly body: object },
  calls: readonly string[],
  { method, body }: { readonly method: string; readonly body: string },
): Verdict {
  JSON.stringify(reply.body);
  expect(calls.length <= 1, "one request did two things");
  expect(calls.length === 0 || method === "POST", `${method} changed something`);
  if (calls[0] === "promote true") {
    expect((JSON.parse(body) as { force: unknown }).force === true, "forced without a word");
  }
  if (reply.status === 200) return ACCEPTED;
  const { error } = reply.body as { error: { code: string; message: string } };
  expect(reply.status >= 400 && reply.status < 500, `status ${reply.status}: ${error.message}`);
  expect(/^ERR_[A-Z_]+$/.test(error.code) && error.message !== "", "a refusal without a reason");
  return error.code;
}
