// The small notations of the configuration file: sizes, durations and addresses.
//
//   size      "256MiB", "64KiB", "1GiB", "2TiB", "4096", 4096      whole numbers, powers of 1024
//   duration  "10s", "500ms", "2min", 10000                        a plain number is milliseconds
//   address   "127.0.0.1:8750", "[::1]:8750", "host:0"             port 0 lets the system choose
//   socket    "unix:/run/x.sock"                                   a Unix domain socket
//
// Every reader returns null for what it does not understand; the caller knows the key and says so.

import { isIP } from "node:net";

const SIZE_UNITS: Record<string, number> = {
  "": 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};
const DURATION_UNITS: Record<string, number> = { "": 1, ms: 1, s: 1000, min: 60_000, h: 3_600_000 };

/** Longest path that the kernel takes for a Unix domain socket, bytes. */
export const SOCKET_PATH_MAX = 107;

export function parseSize(value: unknown): number | null {
  return parseQuantity(value, /^(\d+)(|KiB|MiB|GiB|TiB)$/, SIZE_UNITS);
}

/** Milliseconds. */
export function parseDuration(value: unknown): number | null {
  return parseQuantity(value, /^(\d+)(|ms|s|min|h)$/, DURATION_UNITS);
}

function parseQuantity(value: unknown, pattern: RegExp, units: Record<string, number>): number | null {
  const match = pattern.exec(
    typeof value === "number" ? String(value) : typeof value === "string" ? value : "",
  );
  if (match === null) return null;
  const quantity = Number(match[1]) * units[match[2]!]!;
  return Number.isSafeInteger(quantity) ? quantity : null;
}

/** Bytes in the largest unit that divides them, as the configuration writes them. */
export function formatSize(bytes: number): string {
  const fits = Object.entries(SIZE_UNITS).filter(([, unit]) => bytes >= unit && bytes % unit === 0);
  const [name, unit] = fits.at(-1) ?? ["", 1];
  return `${bytes / unit}${name}`;
}

/** Bytes for people, rounded to three digits: "3.2 MiB". */
export function formatBytes(bytes: number): string {
  const fits = Object.entries(SIZE_UNITS).filter(([, unit]) => bytes >= unit);
  const [name, unit] = fits.at(-1) ?? ["", 1];
  const amount = bytes / unit;
  return `${unit === 1 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${name || "B"}`;
}

export interface HostPort {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

export function parseHostPort(address: string): HostPort | null {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(address);
  if (match === null) return null;
  const [, address6, name, digits] = match;
  const host = address6 ?? name!;
  // What consists of digits and dots is an IPv4 address or nothing: resolvers read "127.1" and "010.0.0.1" too.
  const isHost = address6 !== undefined ? isIP(host) === 6 : !/^[\d.]+$/.test(host) || isIP(host) === 4;
  const port = Number(digits);
  return isHost && port <= 65_535 ? { host, port } : null;
}

/** The path of "unix:/path", or null. */
export function parseSocket(address: string): string | null {
  return address.startsWith("unix:") && address.length > 5 ? address.slice(5) : null;
}

/** Only what can be reached from this machine alone counts; a name other than localhost may resolve to anything. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (host.startsWith("127.") && isIP(host) === 4);
}
