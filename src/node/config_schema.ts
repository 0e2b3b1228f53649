// The shape of the configuration file: which keys there are and what each takes. What one key means for
// another (parity and member count, a path used twice) is checked in config_rules.ts.
//
// Objects are strict and made without a prototype, so that "constructor" or "__proto__" is an unknown key
// like any other. A missing key is filled with its default here, and nowhere else.
import * as v from "valibot";
import { BLOCK_BYTES } from "../../assembly/format.ts";
import {
  DEFAULT_CP_INTERVAL_MS,
  DEFAULT_LOG_BYTES,
  DEFAULT_MIRROR_TIMEOUT_MS,
  DEFAULT_WRITE_TIMEOUT_MS,
} from "./defaults.ts";
import { parseDuration, parseHostPort, parseSize, parseSocket } from "./units.ts";

const VOLUME_BYTES_MAX = 64 * 1024 ** 4;

/** What is wrong with the value at a key path. */
export interface ConfigFault {
  readonly keys: readonly (string | number)[];
  readonly expected: string;
}

/** A value that `read` understands (it returns null otherwise). */
function reader<T>(expected: string, read: (value: unknown) => T | null) {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, T>(({ dataset, addIssue, NEVER }) => {
      const result = read(dataset.value);
      if (result !== null) return result;
      addIssue({ message: `expected ${expected}, got ${show(dataset.value)}` });
      return NEVER;
    }),
  );
}

function strict<T extends v.ObjectEntries>(entries: T) {
  return v.strictObject(Object.assign(Object.create(null), entries) as T);
}

const readString = (value: unknown) => (typeof value === "string" && value.trim() !== "" ? value : null);
const readPath = (value: unknown) => (readString(value)?.includes("\0") === false ? (value as string) : null);
const readAddress = (value: unknown) =>
  typeof value === "string" && parseHostPort(value) !== null ? value : null;
const readNbd = (value: unknown) =>
  typeof value === "string" && parseSocket(value) !== null ? value : readAddress(value);
const readWhole = (least: number, most: number) => (value: unknown) =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most
    ? (value as number)
    : null;
const readOneOf =
  <T extends string>(...words: readonly T[]) =>
  (value: unknown) =>
    words.find((word) => word === value) ?? null;

function readBlocks(value: unknown): number | null {
  const bytes = parseSize(value);
  return bytes !== null && bytes > 0 && bytes % BLOCK_BYTES === 0 && bytes <= VOLUME_BYTES_MAX ? bytes : null;
}

function readPositiveDuration(value: unknown): number | null {
  const ms = parseDuration(value);
  return ms !== null && ms > 0 && ms <= 0x7fffffff ? ms : null;
}

function readUrl(value: unknown): string | null {
  if (typeof value !== "string" || !URL.canParse(value)) return null;
  const url = new URL(value);
  const isPlain = url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  return url.protocol === "ws:" && url.hostname !== "" && isPlain ? value : null;
}

const path = reader("a path", readPath);
const address = reader('an address such as "127.0.0.1:8750"', readAddress);
const size = reader('a size in whole 4 KiB blocks, such as "256MiB" or 1048576', readBlocks);
const duration = reader('a duration such as "10s", "500ms" or 10000 (milliseconds)', readPositiveDuration);
const paths = v.pipe(
  v.array(path, (issue) => `expected a list of paths, got ${issue.received}`),
  v.minLength(1, "expected at least one path"),
);
const name = reader(
  "a name of 1 to 64 letters, digits, dots, dashes and underscores that starts with a letter or digit",
  (value) => (typeof value === "string" && isName(value) ? value : null),
);

export function isName(value: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value);
}

export const mirrorSchema = strict({
  url: reader('the address of the mirror\'s node, such as "ws://10.0.0.2:8750"', readUrl),
  volume: v.optional(name),
  mode: v.optional(reader('"sync", "semi-sync" or "async"', readOneOf("sync", "semi-sync", "async")), "sync"),
  onMirrorLoss: v.optional(reader('"stop" or "continue"', readOneOf("stop", "continue")), "stop"),
  mirrorTimeoutMs: v.optional(duration, DEFAULT_MIRROR_TIMEOUT_MS),
});

export const volumeSchema = strict({
  size,
  members: paths,
  parity: v.optional(reader("a whole number from 0 to 3", readWhole(0, 3))),
  dataUnits: v.optional(reader("a whole number from 1 to 15", readWhole(1, 15))),
  memberSize: v.optional(size),
  log: paths,
  logSize: v.optional(size, DEFAULT_LOG_BYTES),
  cpInterval: v.optional(duration, DEFAULT_CP_INTERVAL_MS),
  cpDirtySize: v.optional(size),
  writeTimeout: v.optional(duration, DEFAULT_WRITE_TIMEOUT_MS),
  role: v.optional(reader('"source" or "mirror"', readOneOf("source", "mirror")), "source"),
  mirror: v.optional(mirrorSchema),
});

export const nodeSchema = strict({
  name: v.optional(name),
  listen: v.optional(address),
  nbd: v.optional(reader('an address such as "127.0.0.1:10809", or "unix:/path"', readNbd)),
  nbdUnauthenticated: v.optional(
    reader("true or false", (value) => (typeof value === "boolean" ? value : null)),
    false,
  ),
  http: v.optional(address),
  admin: v.optional(path),
  secretFile: v.optional(path),
  volumes: reader("an object with a volume for each name", (value) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null,
  ),
});

export type NodeShape = v.InferOutput<typeof nodeSchema>;
export type VolumeShape = v.InferOutput<typeof volumeSchema>;
export type MirrorShape = v.InferOutput<typeof mirrorSchema>;

/** The value in its shape, or null with the faults added. */
export function readShape<T extends v.GenericSchema>(
  schema: T,
  value: unknown,
  prefix: readonly string[],
  faults: ConfigFault[],
): v.InferOutput<T> | null {
  if (Array.isArray(value)) faults.push({ keys: prefix, expected: "expected an object, got a list" });
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  for (const issue of result.issues) {
    const keys = [...prefix, ...(issue.path ?? []).map((item) => item.key as string | number)];
    faults.push({ keys, expected: describe(issue) });
  }
  return null;
}

function describe(issue: v.BaseIssue<unknown>): string {
  if (issue.type !== "strict_object") return issue.message;
  if (issue.expected === "never") return "there is no such key";
  if (issue.received === "undefined" && issue.path !== undefined) return "this key is missing";
  return `expected an object, got ${issue.received}`;
}

function show(value: unknown): string {
  const text = textOf(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}

/** What is nested deeply enough can be read, but not be written again. */
function textOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return "something nested too deeply";
  }
}
