// A program for tests: locks the disk that its argument names, says "locked" or the error's code, and stays
// until its stdin ends.

import { NodeStorage } from "../../src/io/node_storage.ts";

const storage = new NodeStorage();
const disk = await storage.open(process.argv[2]!);
try {
  await storage.lock([disk]);
  console.log("locked");
  process.stdin.resume().on("end", () => process.exit());
} catch (error) {
  console.log((error as { code?: string }).code);
}
