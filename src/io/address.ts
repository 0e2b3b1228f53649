// Addresses as people write them: "host:port", with IPv6 in brackets: "[::1]:8750".

import { MirrorvolError } from "../kernel/errors.ts";

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const PORT_MAX = 65535;

/** Throws ERR_ADDRESS with the address and what is wrong with it. */
export function parseAddress(address: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.%\w]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(address);
  if (match === null)
    throw new MirrorvolError("ERR_ADDRESS", `"${address}" is no address of the form host:port`);
  const port = Number(match[3]);
  if (port > PORT_MAX) throw new MirrorvolError("ERR_ADDRESS", `"${address}": ${port} is no port`);
  return { host: (match[1] ?? match[2])!, port };
}

export function formatAddress({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Of a socket: IPv4 addresses that arrive as IPv6 are shown as what they are. */
export function formatPeer(host: string | undefined, port: number | undefined): string {
  if (host === undefined || port === undefined) return "unknown";
  return formatAddress({ host: host.replace(/^::ffff:(?=\d+\.)/, ""), port });
}
