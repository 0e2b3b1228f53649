// Each bad value is refused with the path of its key; nothing that a file can hold makes the reader crash.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { MirrorvolError } from "../../src/kernel/errors.ts";
import { loadConfig, parseConfig } from "../../src/node/config.ts";
import { mirrorSchema, nodeSchema, volumeSchema } from "../../src/node/config_schema.ts";
import { formatBytes, formatSize, parseDuration, parseSize } from "../../src/node/units.ts";
import { assert, suite } from "../support/harness.ts";

const EXAMPLE = {
  name: "gateway-a",
  listen: "127.0.0.1:8750",
  nbd: "127.0.0.1:10809",
  http: "127.0.0.1:8760",
  volumes: {
    orders: {
      size: "256MiB",
      members: ["/ssd0/orders", "/ssd1/orders", "/ssd2/orders"],
      parity: 1,
      log: ["/ssd0/orders.log", "/ssd1/orders.log"],
      logSize: "32MiB",
      role: "source",
      mirror: { url: "ws://10.0.0.2:8750", mode: "sync", onMirrorLoss: "continue" },
    },
  },
};

type Json = Record<string, unknown>;

/** The example with the value at the key path replaced; undefined removes the key. */
function changed(path: string, value: unknown): Json {
  const copy = structuredClone(EXAMPLE) as Json;
  const keys = path.split(".");
  const parent = keys.slice(0, -1).reduce((object, key) => object[key] as Json, copy);
  parent[keys.at(-1)!] = value;
  return copy;
}

function parse(value: unknown) {
  return parseConfig(JSON.stringify(value), "/etc/mirrorvol/gateway-a.json");
}

function refusal(text: string): string {
  try {
    parseConfig(text, "/etc/mirrorvol/gateway-a.json");
  } catch (error) {
    assert.instance(error, MirrorvolError);
    assert.is((error as MirrorvolError).code, "ERR_CONFIG");
    return (error as MirrorvolError).message;
  }
  throw new Error(`this configuration was accepted: ${text}`);
}

const test = suite("node config");

test("reads the example of the design", () => {
  const config = parse(EXAMPLE);
  assert.is(config.name, "gateway-a");
  assert.is(config.listen, "127.0.0.1:8750");
  assert.is(config.admin, "/etc/mirrorvol/gateway-a.json.sock");
  const { volume, role, mirror } = config.volumes.get("orders")!;
  assert.is(volume.sizeBytes, 256 * 1024 ** 2);
  assert.is(volume.logBytes, 32 * 1024 ** 2);
  assert.is(volume.parity, 1);
  assert.is(role, "source");
  const { url } = EXAMPLE.volumes.orders.mirror;
  const expected = { url, volume: "orders", mode: "sync", onMirrorLoss: "continue", mirrorTimeoutMs: 5_000 };
  assert.equal(mirror, expected);
});

test("fills the documented defaults", () => {
  const config = parse({ volumes: { v: { size: 4096, members: ["m0", "m1", "m2"], log: ["../l"] } } });
  const { volume, role, mirror } = config.volumes.get("v")!;
  assert.is(config.name, "gateway-a", "the name of the file");
  assert.is(config.http, null);
  assert.equal(volume.members, ["/etc/mirrorvol/m0", "/etc/mirrorvol/m1", "/etc/mirrorvol/m2"]);
  assert.equal(volume.log, ["/etc/l"]);
  assert.is(volume.parity, 1);
  assert.is(volume.logBytes, 64 * 1024 ** 2);
  assert.is(volume.cpIntervalMs, 10_000);
  assert.is(role, "source");
  assert.is(mirror, null);
  const alone = parse({ volumes: { v: { size: 4096, members: ["m0"], log: ["l"] } } });
  assert.is(alone.volumes.get("v")!.volume.parity, 0, "one member carries no parity");
});

const orders = "volumes.orders";
const BAD: [path: string, value: unknown, named: string][] = [
  ["nmae", "x", "nmae: there is no such key"],
  ["constructor", {}, "constructor: there is no such key"],
  ["name", "a/b", "name: expected a name"],
  ["listen", "127.0.0.1", "listen: expected an address"],
  ["listen", "127.0.0.1:65536", "listen: expected an address"],
  ["listen", 8750, "listen: expected an address"],
  ["listen", "0.0.0.0:8750", "listen: 0.0.0.0:8750 can be reached from other machines: set secretFile"],
  ["http", "10.0.0.1:80", "http: 10.0.0.1:80 can be reached from other machines: set secretFile"],
  ["http", "127.0.0.1:8750", "http: 127.0.0.1:8750 is already used by listen"],
  ["nbd", "0.0.0.0:10809", "nbd: 0.0.0.0:10809 can be reached from other machines"],
  ["nbd", "unix:", "nbd: expected an address"],
  ["nbd", `unix:/${"x".repeat(120)}`, "nbd: the socket"],
  ["nbdUnauthenticated", "yes", "nbdUnauthenticated: expected true or false"],
  ["admin", `/${"x".repeat(120)}`, "admin: the socket"],
  ["secretFile", 5, "secretFile: expected a path"],
  ["volumes", [], "volumes: expected an object"],
  ["volumes", undefined, "volumes: this key is missing"],
  ["volumes", {}, "volumes: expected at least one volume"],
  ["volumes", { "a b": EXAMPLE.volumes.orders }, 'volumes["a b"]: a volume\'s name is'],
  [orders, 5, "volumes.orders: expected an object"],
  [`${orders}.size`, undefined, "volumes.orders.size: this key is missing"],
  [`${orders}.size`, "256MB", "volumes.orders.size: expected a size"],
  [`${orders}.size`, 4097, "volumes.orders.size: expected a size"],
  [`${orders}.size`, 0, "volumes.orders.size: expected a size"],
  [`${orders}.size`, "99999999TiB", "volumes.orders.size: expected a size"],
  [`${orders}.members`, [], "volumes.orders.members: expected at least one path"],
  [`${orders}.members`, "/a", "volumes.orders.members: expected a list of paths"],
  [`${orders}.members`, ["/a", 5], "volumes.orders.members[1]: expected a path"],
  [`${orders}.members`, ["/a", "/b/../a"], "volumes.orders.members[1]: /a is already used by"],
  [
    `${orders}.members`,
    Array.from({ length: 25 }, (_, i) => `/m${i}`),
    "volumes.orders.members: expected at most",
  ],
  [`${orders}.log`, ["/ssd0/orders"], "volumes.orders.log[0]: /ssd0/orders is already used by"],
  [`${orders}.log`, ["/x", "/x"], "volumes.orders.log[1]: /x is already used by volumes.orders.log[0]"],
  [`${orders}.log`, ["/x", "/x.3"], "volumes.orders.log[1]: /x.3 is already used by volumes.orders.log[0]"],
  [`${orders}.logSize`, "65GiB", "volumes.orders.logSize: expected at most 64GiB"],
  [`${orders}.parity`, 4, "volumes.orders.parity: expected a whole number from 0 to 3"],
  [`${orders}.parity`, 3, "volumes.orders.parity: 3 members carry a parity of at most 2"],
  [
    `${orders}.dataUnits`,
    3,
    "volumes.orders.dataUnits: 3 data units and a parity of 1 need 4 members, got 3",
  ],
  [`${orders}.dataUnits`, 0, "volumes.orders.dataUnits: expected a whole number"],
  [`${orders}.memberSize`, "1kB", "volumes.orders.memberSize: expected a size"],
  [`${orders}.memberSize`, "64KiB", 'volumes.orders.memberSize: volume "orders": the members are too small'],
  [`${orders}.log`, ["/a", "/b", "/c", "/d", "/e"], "volumes.orders.log: expected at most 4 copies"],
  [`${orders}.logSize`, "64KiB", "volumes.orders.logSize: expected at least 8MiB"],
  [`${orders}.cpInterval`, "soon", "volumes.orders.cpInterval: expected a duration"],
  [`${orders}.cpInterval`, 0, "volumes.orders.cpInterval: expected a duration"],
  [`${orders}.writeTimeout`, "5s", "volumes.orders.writeTimeout: expected more than mirror.mirrorTimeoutMs"],
  [`${orders}.role`, "primary", 'volumes.orders.role: expected "source" or "mirror"'],
  [`${orders}.role`, "mirror", 'volumes.orders.mirror: a volume with "role": "mirror" has none'],
  [`${orders}.mirror.url`, "http://10.0.0.2", "volumes.orders.mirror.url: expected the address"],
  [`${orders}.mirror.url`, undefined, "volumes.orders.mirror.url: this key is missing"],
  [`${orders}.mirror.mode`, "fast", 'volumes.orders.mirror.mode: expected "sync", "semi-sync" or "async"'],
  [
    `${orders}.mirror.onMirrorLoss`,
    "ignore",
    'volumes.orders.mirror.onMirrorLoss: expected "stop" or "continue"',
  ],
  [`${orders}.mirror.timeout`, 5, "volumes.orders.mirror.timeout: there is no such key"],
  [`${orders}.mirror.mirrorTimeoutMs`, -1, "volumes.orders.mirror.mirrorTimeoutMs: expected a duration"],
];

for (const [path, value, named] of BAD) {
  test(`refuses ${path} = ${JSON.stringify(value)?.slice(0, 60)}`, () => {
    const message = refusal(JSON.stringify(changed(path, value)));
    assert.ok(message.startsWith("gateway-a.json: "), message);
    assert.ok(message.includes(named), `${message}\ndoes not say: ${named}`);
  });
}

const root = new URL(import.meta.url.endsWith(".ts") ? "../../" : "../../../", import.meta.url);

test("accepts every configuration that the documents show, and they name every key", () => {
  let count = 0;
  for (const name of ["README.md", "docs/CONFIGURATION.md"]) {
    const text = readFileSync(new URL(name, root), "utf8");
    for (const [, json] of text.matchAll(/```json\n(\{.*?\n\})\n```/gs)) {
      parseConfig(json!, "/etc/mirrorvol/node.json");
      count++;
    }
  }
  assert.is(count, 3);
  const reference = readFileSync(new URL("docs/CONFIGURATION.md", root), "utf8");
  for (const key of [nodeSchema, volumeSchema, mirrorSchema].flatMap(({ entries }) => Object.keys(entries))) {
    assert.ok(reference.includes(`| \`${key}\` | `), `docs/CONFIGURATION.md has no row for ${key}`);
  }
});

test("tells all faults at once", () => {
  const bad = changed(`${orders}.size`, "x");
  const message = refusal(JSON.stringify({ ...bad, listen: "x", nmae: "y" }));
  for (const key of ["listen:", "nmae:", "volumes.orders.size:"]) assert.ok(message.includes(key), message);
});

test("refuses a key that is there twice", () => {
  const text = '{"volumes": {"a": {"size": 4096, "log": ["{\\"size\\":"], "size": 8192}}}';
  assert.match(refusal(text), "volumes.a.size: this key is there twice");
  assert.match(refusal('{"volumes": {"a": {}, "\\u0061": {}}}'), "volumes.a: this key is there twice");
});

test("refuses what is not JSON, and JSON that is no object", () => {
  assert.match(refusal("{"), "this is not JSON");
  for (const text of ["5", "[]", "null", '"x"']) assert.match(refusal(text), "expected an object");
});

test("refuses a mirror that nobody can reach", () => {
  const { size, members, log } = EXAMPLE.volumes.orders;
  const text = JSON.stringify({ volumes: { v: { size, members, log, role: "mirror" } } });
  assert.match(refusal(text), 'listen: this key is missing: the source of "v" connects to it');
});

test("refuses two volumes that go to the same one", () => {
  const other = { ...EXAMPLE.volumes.orders, members: ["/a", "/b"], log: ["/c"] };
  const both = {
    orders: EXAMPLE.volumes.orders,
    other: { ...other, mirror: { ...other.mirror, volume: "orders" } },
  };
  assert.match(refusal(JSON.stringify({ volumes: both })), 'volumes.other.mirror: "orders" goes to');
});

test("reads the secret without the white space around it, and refuses a short one", () => {
  const folder = mkdtempSync(join(tmpdir(), "mirrorvol-config-"));
  const file = join(folder, "node.json");
  const write = (secret: string) => writeFileSync(join(folder, "secret"), secret);
  writeFileSync(file, JSON.stringify({ ...EXAMPLE, secretFile: "secret", listen: "0.0.0.0:8750" }));
  try {
    assert.throws(() => loadConfig(file), /secretFile: .*secret: cannot be read: ENOENT/);
    write("  too short  \n\n\n\n\n\n\n\n\n");
    assert.throws(() => loadConfig(file), /secretFile: .*: expected at least 16 bytes, got 9/);
    write("0123456789abcdef\n");
    assert.is(new TextDecoder().decode(loadConfig(file).secret!), "0123456789abcdef");
    assert.throws(() => loadConfig(join(folder, "none.json")), /the configuration cannot be read: ENOENT/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("reads sizes and durations, and nothing that only looks like one", () => {
  assert.is(parseSize("2TiB"), 2 * 1024 ** 4);
  assert.is(parseDuration("2min"), 120_000);
  for (const text of ["", "1e3", "-1", "1.5MiB", "1 MiB", "MiB", "1mib", "0x10", null, {}, [4096]]) {
    assert.is(parseSize(text), null, String(text));
  }
  assert.is(formatSize(32 * 1024 ** 2), "32MiB");
  assert.is(formatBytes(1536), "1.5 KiB");
  fc.assert(fc.property(fc.nat(2 ** 45), (bytes) => parseSize(formatSize(bytes)) === bytes));
});

test("never does anything but accept or refuse with ERR_CONFIG", () => {
  const keys = fc.constantFrom(
    "size",
    "members",
    "log",
    "mirror",
    "url",
    "__proto__",
    "toString",
    "volumes",
    "role",
  );
  const value = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: "small" },
      fc.jsonValue({ maxDepth: 2 }),
      fc.dictionary(fc.oneof(keys, fc.string()), tie("tree")),
      fc.array(tie("tree"), { maxLength: 3 }),
    ),
  })).tree;
  const places = [
    "name",
    "listen",
    "nbd",
    "http",
    "volumes",
    orders,
    `${orders}.members`,
    `${orders}.mirror`,
  ];
  const check = (text: string) => {
    try {
      parseConfig(text, "/x/node.json");
    } catch (error) {
      if (!(error instanceof MirrorvolError) || error.code !== "ERR_CONFIG") throw error;
    }
  };
  const mutate = (place: string, tree: unknown) => check(JSON.stringify(changed(place, tree)));
  fc.assert(fc.property(fc.constantFrom(...places), value, mutate), { numRuns: 500 });
  fc.assert(fc.property(fc.string(), check), { numRuns: 300 });
});

test.run();
