// The mirror of a pair, as a program of its own. It runs until Ctrl-C; then, or after the source was lost, the
// same program with --promote makes the volume a source and shows what it holds.
//
//   node dist/examples/mirror.js [--listen 127.0.0.1:8750] [--folder DIR]
//   node dist/examples/mirror.js --promote [--folder DIR]
import { parseArgs } from "node:util";
import { Mirror } from "../src/index.ts";
import { DEFAULT_LISTEN, defaultFolder, prepare, readEntry } from "./support/pair_options.ts";

const { values } = parseArgs({
  options: {
    listen: { type: "string" },
    folder: { type: "string", default: defaultFolder("mirror") },
    promote: { type: "boolean", default: false },
  },
});

const options = await prepare("mirror", values.folder, { memberCount: 4, parity: 2 });
const listen = values.listen ?? (values.promote ? "127.0.0.1:0" : DEFAULT_LISTEN);
const mirror = await Mirror.serve({ listen, volumes: [options] });
try {
  if (values.promote) {
    const volume = await mirror.promote(options.name);
    console.log(`promoted; the last acknowledged entry: ${JSON.stringify(await readEntry(volume))}`);
  } else {
    console.log(`mirror in ${values.folder}, listening at ${mirror.address}`);
    await new Promise((resolve) => process.once("SIGINT", resolve).once("SIGTERM", resolve));
  }
} finally {
  await mirror.close();
}
