// The same programs against a volume of a real node, with its RAID, its log and its consistency points: over TCP,
// and over a Unix socket. Each test gets a fresh volume; afterwards the node must end in an orderly way.
import { join } from "node:path";
import { clientPrograms, EXPORT_BYTES, type ExportFactory } from "../nbd/client_programs.ts";
import { ProcessSide } from "../support/process_side.ts";
import { isThorough } from "../support/thorough.ts";

export const deadlineMs = 120_000;

function volume(nbd: (folder: string) => string): ExportFactory {
  return async () => {
    const side = await ProcessSide.create({ sizeBytes: EXPORT_BYTES, memberCount: 4, parity: 2 });
    try {
      side.configure({ nbd: nbd(side.folder) });
      await side.start();
    } catch (error) {
      await side.close();
      throw error;
    }
    const close = async () => {
      try {
        await side.stop();
      } finally {
        await side.close();
      }
    };
    return { uris: [side.uri, side.uri], close };
  };
}

clientPrograms(
  "a volume over TCP",
  volume(() => "127.0.0.1:0"),
);
clientPrograms(
  "a volume over a Unix socket",
  volume((folder) => `unix:${join(folder, "nbd")}`),
  // The server is the same over both kinds of sockets; test/nbd/clients.test.ts uses both with every program.
  isThorough ? undefined : ["nbdinfo", "nbdcopy"],
);
