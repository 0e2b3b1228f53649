// The source of a mirrored pair, as a program of its own: it counts, and each count is on both sides when it
// is printed. Start mirror.ts first, in another terminal.
//
//   node dist/examples/source.js [--url ws://127.0.0.1:8750] [--folder DIR] [--count N] [--interval MS]
import { parseArgs } from "node:util";
import { Volume } from "../src/index.ts";
import { DEFAULT_LISTEN, defaultFolder, prepare, readEntry, writeEntry } from "./support/pair_options.ts";

const { values } = parseArgs({
  options: {
    url: { type: "string", default: `ws://${DEFAULT_LISTEN}` },
    folder: { type: "string", default: defaultFolder("source") },
    count: { type: "string", default: "10" },
    interval: { type: "string", default: "200" },
  },
});

const options = await prepare("source", values.folder, { memberCount: 4, parity: 1 });
console.log(`source in ${values.folder}, mirrored to ${values.url}`);
const volume = await Volume.open({ ...options, mirror: { url: values.url, onMirrorLoss: "stop" } });
try {
  // Nothing is read or written before both sides have agreed on what was acknowledged.
  let count = (await readEntry(volume))?.count ?? 0;
  for (const last = count + Number(values.count); count < last; ) {
    count++;
    await writeEntry(volume, { count, writtenAt: new Date().toISOString() });
    console.log(`acknowledged ${count}`);
    await new Promise((resolve) => setTimeout(resolve, Number(values.interval)));
  }
} finally {
  await volume.close();
}
