// A gateway that keeps sensor readings: it appends them to a journal on a mirrored volume, stops, opens the
// volume again and finds every reading; then the gateway is lost, the mirror is promoted, and they are all
// there too. Source and mirror run in this one process, to be easy to follow; on two machines nothing changes
// but the address.
//
//   node dist/examples/telemetry_gateway.js [READINGS]        deno run -A examples/telemetry_gateway.ts
import { join } from "node:path";
import { Mirror, Volume, type VolumeConfig } from "../src/index.ts";
import { type Reading, ReadingJournal } from "./support/reading_journal.ts";
import { useFolder } from "./support/temporary_folder.ts";

const SENSOR_COUNT = 8;
const BATCH_READINGS = 20;
const readingCount = Number(process.argv[2] ?? 2_000);

const folder = useFolder(undefined, "telemetry");

function volumeOptions(side: string, memberCount: number, parity: number): VolumeConfig {
  const at = (name: string) => join(folder.path, `${side}-${name}`);
  return {
    name: "telemetry",
    sizeBytes: 8 * 1024 ** 2,
    members: Array.from({ length: memberCount }, (_, i) => at(`member${i}`)),
    parity,
    log: [at("log")],
    logBytes: 8 * 1024 ** 2,
  };
}

function* measure(count: number): Iterable<Reading[]> {
  for (let first = 1; first <= count; first += BATCH_READINGS) {
    const length = Math.min(BATCH_READINGS, count - first + 1);
    yield Array.from({ length }, (_, i) => {
      const number = first + i;
      const sensor = number % SENSOR_COUNT;
      return { number, sensor, timeMs: Date.now(), value: 20 + Math.sin(number / 50) * (sensor + 1) };
    });
  }
}

async function verify(volume: Volume, expected: readonly Reading[], where: string): Promise<void> {
  const found = await (await ReadingJournal.open(volume)).readAll();
  const isSame = JSON.stringify(found) === JSON.stringify(expected);
  console.log(`${where}: ${found.length} readings, ${isSame ? "all as written" : "NOT as written"}`);
  if (!isSame) process.exitCode = 1;
}

const here = volumeOptions("gateway", 3, 1);
const there = volumeOptions("mirror", 2, 1);
await Volume.create(here);
await Volume.create({ ...there, role: "mirror" });

const mirror = await Mirror.serve({ listen: "127.0.0.1:0", volumes: [there] });
const source = { ...here, mirror: { url: `ws://${mirror.address}` } };
try {
  const written: Reading[] = [];
  const volume = await Volume.open(source);
  const journal = await ReadingJournal.open(volume);
  for (const batch of measure(readingCount)) {
    await journal.append(batch);
    written.push(...batch);
  }
  console.log(`${written.length} readings acknowledged, each on both sides`);
  await volume.close();

  const reopened = await Volume.open(source);
  await verify(reopened, written, "the gateway, opened again");
  await reopened.close();

  await verify(await mirror.promote(there.name), written, "the mirror, promoted");
} finally {
  await mirror.close();
  folder.remove();
}
