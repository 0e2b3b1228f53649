// A program of its own: the source's side of a pair, with an NBD server, as a node would have it; in addition
// it tells its parent when each consistency point ran, by the clock that both share.
//
//   parent -> {open: options}      the volume to open
//             {ask: "status"|"cp"} answered with {answer}
//   <- {ready: port}, {cp: interval}
//
// It ends when its parent is gone, or lets it go.

import { type OpenVolumeOptions, Volume } from "../../src/index.ts";
import { nodeWorld } from "../../src/io/node_world.ts";
import { serveNbd } from "../../src/nbd/server.ts";
import { nowMs } from "./clock.ts";

const send = (message: object) => void process.send!(message);

async function serve(options: OpenVolumeOptions): Promise<Volume> {
  const volume = await Volume.open(options);
  volume.addEventListener("consistencypoint", (event) => {
    const { ms } = (event as CustomEvent<{ ms: number }>).detail;
    const endMs = nowMs();
    send({ cp: { startMs: endMs - ms, endMs } });
  });
  const { streams, clock } = nodeWorld();
  const exports = {
    list: () => [volume.name],
    find: (name: string) => (name === volume.name ? volume : null),
  };
  const server = await serveNbd({ streams, clock, exports, address: "127.0.0.1:0" });
  send({ ready: Number(server.address.split(":").pop()) });
  return volume;
}

async function answer(volume: Volume, question: string): Promise<unknown> {
  if (question === "cp") return volume.consistencyPoint();
  return { ...volume.status(), memoryBytes: process.memoryUsage.rss() };
}

let opened: Promise<Volume> | null = null;
process.on("message", async (message: { open?: OpenVolumeOptions; ask?: string }) => {
  if (message.open !== undefined) opened = serve(message.open);
  const volume = await opened!;
  if (message.ask !== undefined) send({ answer: await answer(volume, message.ask) });
});
process.on("disconnect", () => process.exit());
