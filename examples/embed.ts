// A volume in your own process: no node, no configuration file, no server.
//
//   node dist/examples/embed.js            deno run -A examples/embed.ts            [FOLDER]
//
// Three members (two data units and one of parity: any one of them may be lost) and two log copies. With
// FOLDER the volume stays there, and the next run finds what this one wrote.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Volume, type VolumeConfig } from "../src/index.ts";
import { useFolder } from "./support/temporary_folder.ts";

const folder = useFolder(process.argv[2], "embed");
const options: VolumeConfig = {
  name: "notes",
  sizeBytes: 16 * 1024 ** 2,
  members: ["member0", "member1", "member2"].map((name) => join(folder.path, name)),
  parity: 1,
  log: ["log-a", "log-b"].map((name) => join(folder.path, name)),
  logBytes: 8 * 1024 ** 2,
};

if (!existsSync(options.members[0]!)) {
  await Volume.create(options);
  console.log(`created a volume of ${options.sizeBytes} bytes in ${folder.path}`);
}

const text = new TextEncoder().encode("written at any offset, in any length; durable when write() resolves");
const offset = 5_000;

const volume = await Volume.open(options);
volume.addEventListener("consistencypoint", (event) => {
  const { cp, blocks } = (event as CustomEvent<{ cp: number; blocks: number }>).detail;
  console.log(`consistency point ${cp}: ${blocks} blocks moved from the log to the members`);
});
await volume.write(offset, text);
await volume.consistencyPoint();
await volume.trim(1024 ** 2, 1024 ** 2);
await volume.close();

// Opened again, also after a crash, it holds whatever was acknowledged.
const again = await Volume.open(options);
const read = await again.read(offset, text.length);
await again.close();

console.log(`read back: "${new TextDecoder().decode(read)}"`);
folder.remove();
if (new TextDecoder().decode(read) !== new TextDecoder().decode(text)) process.exitCode = 1;
