// The programs against the server alone: a device in memory, over TCP and over a Unix socket at once.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeStreams } from "../../src/io/node_stream.ts";
import { nodeClock } from "../../src/io/node_world.ts";
import { serveNbd } from "../../src/nbd/server.ts";
import { clientPrograms, EXPORT_BYTES } from "./client_programs.ts";
import { MemoryDevice } from "./memory_device.ts";
import { directoryOf } from "./served.ts";

clientPrograms("memory", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mirrorvol-nbd-"));
  const exports = directoryOf({ disk: new MemoryDevice(EXPORT_BYTES) });
  const serve = (address: string) =>
    serveNbd({ streams: new NodeStreams(), address, exports, clock: nodeClock });
  const tcp = await serve("127.0.0.1:0");
  const unix = await serve(`unix:${join(folder, "socket")}`);
  return {
    uris: [`nbd://${tcp.address}/disk`, `nbd+unix:///disk?socket=${join(folder, "socket")}`],
    close: async () => {
      await Promise.all([tcp.close(), unix.close()]);
      await rm(folder, { recursive: true, force: true });
    },
  };
});
