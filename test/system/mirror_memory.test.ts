// What a mirrored volume costs the mirror's process: an index of its dirty blocks, not the bytes in its log.
import { readFileSync } from "node:fs";
import { assert, skip, suite } from "../support/harness.ts";
import { freePort } from "../support/process_pair.ts";
import { MIB, ProcessSide } from "../support/process_side.ts";

export const deadlineMs = 120_000;

const PIECE_BYTES = 256 * 1024;
const REGION_BYTES = 4 * MIB;
/** The garbage collectors of Node and Deno let that much pile up before they settle. */
const WARM_UP_MIB = 48;
const LOGGED_MIB = 96;
/** Their noise; the bytes logged meanwhile are twice as many. */
const GROWTH_MAX_MIB = 48;

function residentMib(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line![1]) / 1024;
}

/** Overwrites the same few blocks, so that the index does not grow. */
async function write(source: ProcessSide, mib: number): Promise<void> {
  const client = await source.connect();
  const data = new Uint8Array(PIECE_BYTES);
  for (let at = 0; at < mib * MIB; at += 4 * PIECE_BYTES) {
    const writes = [0, 1, 2, 3].map((i) => {
      const piece = data.slice().fill(1 + ((at / PIECE_BYTES + i) % 250));
      return client.write((at + i * PIECE_BYTES) % REGION_BYTES, piece);
    });
    await Promise.all(writes);
  }
  await client.disconnect();
}

const test = suite("memory of a mirror");

test("does not grow with the bytes in its log", async () => {
  if (process.platform !== "linux") skip("it reads /proc");
  const address = `127.0.0.1:${await freePort(5_000)}`;
  const volume = { log: ["log"], logSize: "640MiB", cpInterval: "1h" };
  const shape = { sizeBytes: 32 * MIB, memberCount: 2, parity: 1 };
  const mirror = await ProcessSide.create({
    ...shape,
    node: { listen: address },
    volume: { ...volume, role: "mirror" },
  });
  const source = await ProcessSide.create({
    ...shape,
    volume: { ...volume, mirror: { url: `ws://${address}`, onMirrorLoss: "stop" } },
  });
  try {
    await mirror.start();
    await source.start();
    await write(source, WARM_UP_MIB);
    const before = residentMib(mirror.process.pid);
    await write(source, LOGGED_MIB);
    const after = residentMib(mirror.process.pid);
    const { sequence, cp } = await mirror.status();
    assert.is(cp, 0, "everything is still in the log");
    assert.is(sequence, ((WARM_UP_MIB + LOGGED_MIB) * MIB) / PIECE_BYTES);
    console.log(
      `    ${before.toFixed(0)} MiB, ${after.toFixed(0)} MiB after ${LOGGED_MIB} MiB more in the log`,
    );
    assert.ok(after - before < GROWTH_MAX_MIB, `it grew by ${(after - before).toFixed(0)} MiB`);
  } finally {
    await source.close();
    await mirror.close();
  }
});

test.run();
