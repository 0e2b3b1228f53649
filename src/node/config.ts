// The configuration of a node: one JSON file (docs/CONFIGURATION.md has every key).
//
// It is read in three steps, and the first that finds a fault reports all that it found, each with its key
// path and what was expected: the text (config_json.ts), the shape (config_schema.ts), what the keys mean for
// one another (config_rules.ts). Paths are relative to the file's own folder. Only the secret is read from
// elsewhere; nothing here looks at members or logs.
import { readFileSync, statSync } from "node:fs";
import { basename, dirname, extname, resolve } from "node:path";
import { MirrorvolError } from "../kernel/errors.ts";
import type { VolumeConfig } from "../volume/config.ts";
import type { Role, WriteMode } from "../volume/volume.ts";
import { formatKeyPath, parseStrictJson } from "./config_json.ts";
import { checkRules } from "./config_rules.ts";
import {
  type ConfigFault,
  isName,
  nodeSchema,
  readShape,
  type VolumeShape,
  volumeSchema,
} from "./config_schema.ts";
import { SECRET_BYTES_MIN } from "./defaults.ts";
import { parseSocket } from "./units.ts";

const FILE_BYTES_MAX = 1024 ** 2;

export interface MirrorTarget {
  /** Of the mirror's node: "ws://host:port". */
  readonly url: string;
  /** The volume's name over there. */
  readonly volume: string;
  readonly mode: WriteMode;
  readonly onMirrorLoss: "stop" | "continue";
  readonly mirrorTimeoutMs: number;
}

export interface VolumeEntry {
  readonly volume: VolumeConfig;
  /** What `create` makes it; afterwards the superblocks know better. */
  readonly role: Role;
  readonly mirror: MirrorTarget | null;
  /** How long a write may wait before its client gets an error. */
  readonly writeTimeoutMs: number;
}

export interface NodeConfig {
  /** Absolute path of the file. */
  readonly file: string;
  readonly name: string;
  /** For mirrored volumes' sources, "host:port". */
  readonly listen: string | null;
  /** "host:port" or "unix:/absolute/path". */
  readonly nbd: string | null;
  readonly nbdUnauthenticated: boolean;
  /** The admin API over TCP, "host:port". */
  readonly http: string | null;
  /** The admin API on this machine: path of a Unix domain socket. */
  readonly admin: string;
  readonly secretFile: string | null;
  readonly secret: Uint8Array | null;
  readonly volumes: ReadonlyMap<string, VolumeEntry>;
}

/** Reads the file and the secret it names. Throws ERR_CONFIG, which names the key. */
export function loadConfig(path: string): NodeConfig {
  const file = resolve(path);
  const config = parseConfig(readText(file), file);
  if (config.secretFile === null) return config;
  return { ...config, secret: readSecret(config.secretFile, file) };
}

/** The same from a text, without the secret. `file` names it in messages and is what paths are relative to. */
export function parseConfig(text: string, file: string): NodeConfig {
  const value = parseStrictJson(text, basename(file));
  const faults: ConfigFault[] = [];
  const shape = readShape(nodeSchema, value, [], faults);
  const volumes = readVolumes(value, dirname(file), faults);
  refuse(faults, file);
  const at = (path: string) => resolve(dirname(file), path);
  const { name, listen, nbd, nbdUnauthenticated, http, admin, secretFile } = shape!;
  const socket = nbd === undefined ? null : parseSocket(nbd);
  const config: NodeConfig = {
    file,
    name: name ?? nameOfFile(file),
    listen: listen ?? null,
    nbd: socket === null ? (nbd ?? null) : `unix:${at(socket)}`,
    nbdUnauthenticated,
    http: http ?? null,
    admin: admin === undefined ? `${file}.sock` : at(admin),
    secretFile: secretFile === undefined ? null : at(secretFile),
    secret: null,
    volumes,
  };
  checkRules(config, faults);
  refuse(faults, file);
  return config;
}

/** Of whatever is there: the faults of the volumes are told together with those of the node. */
function readVolumes(value: unknown, folder: string, faults: ConfigFault[]): Map<string, VolumeEntry> {
  const volumes = new Map<string, VolumeEntry>();
  const raw = (value as { volumes?: unknown } | null)?.volumes;
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) return volumes;
  for (const [name, entry] of Object.entries(raw)) {
    const keys = ["volumes", name];
    if (!isName(name)) faults.push({ keys, expected: "a volume's name is 1 to 64 of A-Z a-z 0-9 . _ -" });
    const shape = readShape(volumeSchema, entry, keys, faults);
    if (shape !== null) volumes.set(name, completeVolume(name, shape, folder));
  }
  if (Object.keys(raw).length === 0)
    faults.push({ keys: ["volumes"], expected: "expected at least one volume" });
  return volumes;
}

function completeVolume(name: string, shape: VolumeShape, folder: string): VolumeEntry {
  const at = (path: string) => resolve(folder, path);
  const { mirror } = shape;
  return {
    volume: {
      name,
      sizeBytes: shape.size,
      members: shape.members.map(at),
      parity: shape.parity ?? Math.min(1, shape.members.length - 1),
      ...(shape.dataUnits === undefined ? {} : { dataUnits: shape.dataUnits }),
      ...(shape.memberSize === undefined ? {} : { memberBytes: shape.memberSize }),
      log: shape.log.map(at),
      logBytes: shape.logSize,
      cpIntervalMs: shape.cpInterval,
      ...(shape.cpDirtySize === undefined ? {} : { cpDirtyBytes: shape.cpDirtySize }),
    },
    role: shape.role,
    mirror: mirror === undefined ? null : { ...mirror, volume: mirror.volume ?? name },
    writeTimeoutMs: shape.writeTimeout,
  };
}

/** A name that is valid, from any file name: "gateway a.json" becomes "gateway-a". */
function nameOfFile(file: string): string {
  const stem = basename(file, extname(file)).replace(/[^A-Za-z0-9._-]+/g, "-");
  const name = stem.replace(/^[^A-Za-z0-9]+/, "").slice(0, 64);
  return isName(name) ? name : "node";
}

function refuse(faults: readonly ConfigFault[], file: string): void {
  if (faults.length === 0) return;
  const lines = faults.map(({ keys, expected }) => {
    const path = formatKeyPath(keys);
    return path === "" ? expected : `${path}: ${expected}`;
  });
  const text = [...new Set(lines)].join("\n  ");
  throw new MirrorvolError("ERR_CONFIG", `${basename(file)}: ${text}`);
}

function readText(file: string): string {
  try {
    const { size } = statSync(file);
    if (size <= FILE_BYTES_MAX) return readFileSync(file, "utf8");
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new MirrorvolError("ERR_CONFIG", `${file}: the configuration cannot be read: ${reason}`, { cause });
  }
  throw new MirrorvolError("ERR_CONFIG", `${file}: more than ${FILE_BYTES_MAX} bytes is no configuration`);
}

/** The file's content without the white space around it (editors end files with a newline). */
function readSecret(path: string, file: string): Uint8Array {
  const fail = (reason: string, cause?: unknown) =>
    new MirrorvolError("ERR_CONFIG", `${basename(file)}: secretFile: ${path}: ${reason}`, { cause });
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (cause) {
    throw fail(`cannot be read: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, cause);
  }
  const secret = new TextEncoder().encode(text);
  if (secret.length >= SECRET_BYTES_MIN) return secret;
  throw fail(`expected at least ${SECRET_BYTES_MIN} bytes, got ${secret.length}`);
}
