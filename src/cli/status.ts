// mirrorvol status: what the running node says, as JSON or for people.
import { loadConfig } from "../node/config.ts";
import type { FailedStatus, NodeStatus, ServedStatus } from "../node/status.ts";
import { formatBytes } from "../node/units.ts";
import { askNode } from "./admin_client.ts";

type MirrorPart = NonNullable<ServedStatus["mirror"]>;
type SourcePart = NonNullable<ServedStatus["source"]>;

export async function status(command: {
  readonly config: string;
  readonly isJson: boolean;
}): Promise<number> {
  const config = loadConfig(command.config);
  const answer = (await askNode(config, "GET", "/status")) as NodeStatus;
  process.stdout.write(command.isJson ? `${JSON.stringify(answer, null, 2)}\n` : describeNode(answer));
  return 0;
}

function describeNode(node: NodeStatus): string {
  const listeners = Object.entries({ mirrors: node.listen, NBD: node.nbd, HTTP: node.http })
    .filter(([, address]) => address !== null)
    .map(([what, address]) => `${what} at ${address}`);
  const memory = `${formatBytes(node.memoryBytes)} of memory`;
  const head = [`${node.name}: process ${node.pid}`, memory, ...listeners].join(", ");
  return [head, ...node.volumes.map(describeVolume)].map((text) => `${text}\n`).join("\n");
}

function describeVolume(volume: ServedStatus | FailedStatus): string {
  const lines = "generation" in volume ? describeServed(volume) : [];
  const members = volume.members.map(({ path, state }) => `${path} (${state})`).join(", ");
  const state = volume.degraded && volume.state !== "failed" ? `${volume.state}, DEGRADED` : volume.state;
  const why = volume.reason === null ? "" : `: ${volume.reason}`;
  return [`${volume.name}: ${volume.role}, ${state}${why}`, ...lines, `members   ${members}`].join("\n  ");
}

function describeServed(volume: ServedStatus): string[] {
  const { generation, sequence, acknowledgedSequence } = volume;
  const { data, parity } = volume.geometry;
  const present = volume.presentGeometry;
  const isNarrow = present !== null && (present.data !== data || present.parity !== parity);
  const now = present === null ? "no new stripes" : `new stripes ${present.data} + ${present.parity}`;
  const size = `${formatBytes(volume.sizeBytes)}, ${formatBytes(volume.usedBytes)} used`;
  return [
    `size      ${size}; ${data} + ${parity}${isNarrow || present === null ? `, ${now}` : ""}`,
    `position  generation ${generation}, sequence ${sequence}, acknowledged ${acknowledgedSequence}`,
    `CP        ${volume.cp}, root hash ${volume.rootHash}`,
    `log       ${volume.log.map(({ path, state }) => `${path} (${state})`).join(", ")}`,
    ...(volume.mirror === undefined ? [] : [`mirror    ${describeMirror(volume.mirror)}`]),
    ...(volume.source === undefined ? [] : [`source    ${describeSource(volume.source)}`]),
  ];
}

function describeMirror({
  state,
  detail,
  acknowledgedSequence,
  ledger,
  aloneSince,
  wire,
}: MirrorPart): string {
  const lacks = ledger.entries === 0 ? [] : [`lacks ${ledger.entries} entries, ${formatBytes(ledger.bytes)}`];
  const alone = aloneSince === null ? [] : [`alone since sequence ${aloneSince}`];
  const sent = `${formatBytes(wire.sentBytes)} sent`;
  return [`${state} (${detail})`, `has ${acknowledgedSequence}`, ...lacks, ...alone, sent].join(", ");
}

function describeSource({ state, detail, source }: SourcePart): string {
  return source === null ? `${state} (${detail})` : `${state} (${detail}), ${source}`;
}
