// A program for tests: locks the disk that its argument names, says "locked" or the error's code, and stays
// until somebody ends it.

import { NodeStorage } from "../../src/io/node_storage.ts";

const storage = new NodeStorage();
const disk = await storage.open(process.argv[2]!);
try {
  await storage.lock([disk]);
  console.log("locked");
  setInterval(() => {}, 1000);
} catch (error) {
  console.log((error as { code?: string }).code);
}
