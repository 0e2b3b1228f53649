// What the keys of the configuration mean for one another. Each rule adds faults that name the key to change;
// none of them looks at the disk.
//
//   geometry   1 <= data units <= 15, data units + parity <= members <= 24, and members and log large enough
//   paths      no path twice in the whole file, in whatever way it is written
//   time       a write waits longer than it takes to decide that the mirror is lost
//   listening  beyond loopback only with a secret; NBD, which has none, only when that is said
//   mirrors    a volume that starts as a mirror needs "listen" and has no mirror of its own; no two volumes
//              go to the same volume of the same node
import { DATA_UNITS_MAX, LOG_HALF_COUNT, MEMBERS_MAX } from "../../assembly/format.ts";
import { halfPath } from "../log/copies.ts";
import { HALF_BYTES_MAX } from "../log/location.ts";
import { geometryOf } from "../volume/config.ts";
import type { NodeConfig, VolumeEntry } from "./config.ts";
import type { ConfigFault } from "./config_schema.ts";
import { formatSize, isLoopback, parseHostPort, parseSocket, SOCKET_PATH_MAX } from "./units.ts";

/** A half holds its header and two of the largest entries; less could never take a write of full size. */
const LOG_BYTES_MIN = LOG_HALF_COUNT * 1024 ** 2 * 2;
const LOG_COPIES_MAX = 4;
const LOG_BYTES_MAX = LOG_HALF_COUNT * HALF_BYTES_MAX;

export function checkRules(config: NodeConfig, faults: ConfigFault[]): void {
  for (const [name, entry] of config.volumes) {
    const before = faults.length;
    checkGeometry(name, entry, faults);
    if (faults.length === before) checkSizes(name, entry, faults);
    checkRole(name, entry, config, faults);
    checkTimeouts(name, entry, faults);
  }
  checkPaths(config, faults);
  checkSockets(config, faults);
  checkListeners(config, faults);
  checkTargets(config, faults);
}

function checkGeometry(name: string, { volume }: VolumeEntry, faults: ConfigFault[]): void {
  const fault = (key: string, expected: string) => faults.push({ keys: ["volumes", name, key], expected });
  const { parity, dataUnits } = volume;
  const members = volume.members.length;
  const data = dataUnits ?? members - parity;
  if (members > MEMBERS_MAX) fault("members", `expected at most ${MEMBERS_MAX} members, got ${members}`);
  else if (members <= parity) fault("parity", `${members} members carry a parity of at most ${members - 1}`);
  else if (data + parity > members) {
    fault(
      "dataUnits",
      `${data} data units and a parity of ${parity} need ${data + parity} members, got ${members}`,
    );
  } else if (data > DATA_UNITS_MAX) {
    fault(
      "dataUnits",
      `a stripe has at most ${DATA_UNITS_MAX} data units: say how many, the rest are spares`,
    );
  }
  if (volume.log.length > LOG_COPIES_MAX) fault("log", `expected at most ${LOG_COPIES_MAX} copies`);
  if (volume.logBytes < LOG_BYTES_MIN) fault("logSize", `expected at least ${formatSize(LOG_BYTES_MIN)}`);
  if (volume.logBytes > LOG_BYTES_MAX) fault("logSize", `expected at most ${formatSize(LOG_BYTES_MAX)}`);
}

/** What the engine derives from it all: members too small for the maps, above all. */
function checkSizes(name: string, { volume }: VolumeEntry, faults: ConfigFault[]): void {
  try {
    geometryOf(volume);
  } catch (error) {
    const keys = ["volumes", name, ...(volume.memberBytes === undefined ? [] : ["memberSize"])];
    faults.push({ keys, expected: (error as Error).message });
  }
}

function checkRole(
  name: string,
  { role, mirror }: VolumeEntry,
  config: NodeConfig,
  faults: ConfigFault[],
): void {
  if (role === "source") return;
  if (config.listen === null) {
    faults.push({
      keys: ["listen"],
      expected: `this key is missing: the source of "${name}" connects to it`,
    });
  }
  if (mirror === null) return;
  const expected = 'a volume with "role": "mirror" has none: mirrors are not chained';
  faults.push({ keys: ["volumes", name, "mirror"], expected });
}

/** A write must outlive the decision about a lost mirror, or it fails where it could have gone on. */
function checkTimeouts(name: string, { mirror, writeTimeoutMs }: VolumeEntry, faults: ConfigFault[]): void {
  if (mirror === null || writeTimeoutMs > mirror.mirrorTimeoutMs) return;
  const expected = `expected more than mirror.mirrorTimeoutMs, which is ${mirror.mirrorTimeoutMs} ms`;
  faults.push({ keys: ["volumes", name, "writeTimeout"], expected });
}

function checkPaths(config: NodeConfig, faults: ConfigFault[]): void {
  const seen = new Map<string, string>();
  const see = (path: string | null, keys: (string | number)[], label: string) => {
    if (path === null) return;
    const before = seen.get(path);
    if (before !== undefined) faults.push({ keys, expected: `${path} is already used by ${before}` });
    else seen.set(path, label);
  };
  see(config.file, [], "this file itself");
  see(config.secretFile, ["secretFile"], "secretFile");
  see(config.admin, ["admin"], "admin");
  see(config.nbd === null ? null : parseSocket(config.nbd), ["nbd"], "nbd");
  for (const [name, { volume }] of config.volumes) {
    const at = (key: string, index: number) => `volumes.${name}.${key}[${index}]`;
    volume.members.forEach((path, index) => {
      see(path, ["volumes", name, "members", index], at("members", index));
    });
    volume.log.forEach((prefix, index) => {
      const files = Array.from({ length: LOG_HALF_COUNT }, (_, slot) => halfPath(prefix, slot));
      for (const path of [prefix, ...files]) see(path, ["volumes", name, "log", index], at("log", index));
    });
  }
}

function checkSockets(config: NodeConfig, faults: ConfigFault[]): void {
  const sockets = { admin: config.admin, nbd: config.nbd === null ? null : parseSocket(config.nbd) };
  for (const [key, path] of Object.entries(sockets)) {
    if (path === null || new TextEncoder().encode(path).length <= SOCKET_PATH_MAX) continue;
    const expected = `the socket ${path} is longer than the ${SOCKET_PATH_MAX} bytes that the system allows`;
    faults.push({ keys: [key], expected });
  }
}

function checkListeners(config: NodeConfig, faults: ConfigFault[]): void {
  const seen = new Map<string, string>();
  for (const key of ["listen", "http", "nbd"] as const) {
    const address = config[key];
    const parsed = address === null ? null : parseHostPort(address);
    if (parsed === null) continue;
    if (parsed.port !== 0 && seen.has(address!)) {
      faults.push({ keys: [key], expected: `${address} is already used by ${seen.get(address!)}` });
    }
    seen.set(address!, key);
    if (isLoopback(parsed.host)) continue;
    if (key !== "nbd" && config.secretFile === null) {
      faults.push({ keys: [key], expected: `${address} can be reached from other machines: set secretFile` });
    } else if (key === "nbd" && !config.nbdUnauthenticated) {
      const reason = `${address} can be reached from other machines, and NBD clients prove nothing`;
      faults.push({ keys: [key], expected: `${reason}: set nbdUnauthenticated to true if that is wanted` });
    }
  }
}

function checkTargets(config: NodeConfig, faults: ConfigFault[]): void {
  const seen = new Map<string, string>();
  for (const [name, { mirror }] of config.volumes) {
    if (mirror === null) continue;
    const target = `${new URL(mirror.url).host}/${mirror.volume}`;
    const before = seen.get(target);
    seen.set(target, name);
    if (before === undefined) continue;
    const expected = `"${before}" goes to the volume "${mirror.volume}" of ${mirror.url} already`;
    faults.push({ keys: ["volumes", name, "mirror"], expected });
  }
}
